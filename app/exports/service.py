"""Genotypes for other places: a picture, a Python file, an ONNX model."""

import io
import json
import zipfile
from dataclasses import dataclass
from importlib import resources
from importlib.metadata import version

import safetensors.torch
import torch
from sqlalchemy.orm import Session

from app.artifacts import Artifacts
from app.datasets import service as datasets
from app.datasets.tables import Dataset
from app.evaluations import service as evaluations
from app.exports import picture as pictures
from app.exports.schemas import ExportIn
from app.genotypes import service
from app.genotypes.tables import Genotype
from app.problems import Conflict, InvalidRequest
from app.trainings import service as trainings
from app.trainings.tables import Training
from models.datasets.data import DataError, require_size
from models.exports.export import Card, module_source, onnx_bytes
from models.genotypes.search_space import SEARCH_SPACES
from models.genotypes.size import NetworkShape


@dataclass(frozen=True)
class Exported:
    """The network to export: its shape, and whose weights it has, if anyone's, with their card."""

    shape: NetworkShape
    auxiliary: bool = False
    weights_key: str | None = None
    card: Card | None = None


def picture(session: Session, genotype_id: str) -> bytes:
    """Both cells as SVG.

    Raises:
        NotFound: there is no such genotype.
    """
    row = service.get(session, genotype_id)
    return pictures.draw(service.discrete(row), SEARCH_SPACES[row.search_space], row.name or row.id)


def module(session: Session, genotype_id: str, asked: ExportIn) -> str:
    """The network as a standalone Python file.

    Raises:
        NotFound: there is no such genotype.
        InvalidRequest: a shape that does not go together, or a training of something else.
    """
    row = service.get(session, genotype_id)
    exported = _exported(session, row, asked)
    name = f"{row.name or row.id}, of the search space {row.search_space}"
    space = SEARCH_SPACES[row.search_space]
    return module_source(
        service.discrete(row), space, exported.shape, name, exported.auxiliary, exported.card
    )


def onnx(session: Session, genotype_id: str, asked: ExportIn, artifacts: Artifacts) -> bytes:
    """The network as ONNX, with trained weights or fresh ones of seed 0.

    Raises:
        NotFound: there is no such genotype.
        InvalidRequest: a shape that does not go together, or a training that has no weights.
    """
    row = service.get(session, genotype_id)
    exported = _exported(session, row, asked)
    if asked.training_id is not None and exported.weights_key is None:
        raise InvalidRequest.of("training_id", f"training {asked.training_id} has not ended well, so far")
    shape, space = exported.shape, SEARCH_SPACES[row.search_space]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = shape.network(service.discrete(row), space, exported.auxiliary)
    if exported.weights_key is not None:
        net.load_state_dict(safetensors.torch.load(artifacts.get(exported.weights_key)))
    return onnx_bytes(net, shape, exported.card)


def bundle(session: Session, training_id: str, artifacts: Artifacts) -> bytes:
    """All that someone needs who has only this, as a zip: ONNX, module, weights, card and `predict.py`.

    It is made once and kept.

    Raises:
        NotFound: there is no such training.
        Conflict: it has not ended well, is of a reference network, or is from before cards were kept.
    """
    training = trainings.get(session, training_id)
    if training.weights_key is None:
        raise Conflict(f"training {training_id} has no weights; its job is {training.job_id}")
    if training.genotype_id is None:
        raise Conflict(
            f"training {training_id} is of torchvision's {training.reference}; only genotypes are exported"
        )
    key = f"exports/{training_id}/model.zip"
    try:
        return artifacts.get(key)
    except FileNotFoundError:
        content = _bundle(session, training, training.weights_key, artifacts)
        artifacts.put(key, content)
        return content


def _bundle(session: Session, training: Training, weights_key: str, artifacts: Artifacts) -> bytes:
    assert training.genotype_id is not None
    asked = ExportIn(training_id=training.id)
    row = service.get(session, training.genotype_id)
    exported = _exported(session, row, asked)
    if exported.card is None:
        raise Conflict(f"training {training.id} is from before its normalisation was kept; train it again")
    card = {
        "classes": list(exported.card.classes),
        "channels": exported.shape.image_channels,
        "image_size": exported.shape.image_size,
        "input": "uint8 [batch, channels, image_size, image_size]",
        "mean": list(exported.card.mean),
        "deviation": list(exported.card.deviation),
        "genotype": row.genotype,
        "recipe": training.recipe,
        "settings": training.settings,
        "seed": training.seed,
        **exported.card.facts,
    }
    files = {
        "model.onnx": onnx(session, row.id, asked, artifacts),
        "module.py": module(session, row.id, asked).encode(),
        "weights.safetensors": artifacts.get(weights_key),
        "card.json": json.dumps(card, indent=1, ensure_ascii=False).encode(),
        "predict.py": resources.files("models.exports").joinpath("predict.py").read_bytes(),
    }
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def _exported(session: Session, row: Genotype, asked: ExportIn) -> Exported:
    if asked.training_id is None:
        shape = NetworkShape(**asked.model_dump(exclude={"training_id"}))
        try:
            require_size(shape.image_size, shape.cells, shape.stem)
        except DataError as error:
            raise InvalidRequest.of("image_size", str(error)) from None
        return Exported(shape)
    training = session.get(Training, asked.training_id)
    if training is None or training.genotype_id != row.id:
        raise InvalidRequest.of("training_id", f"there is no training {asked.training_id!r} of {row.id}")
    dataset, settings = datasets.get(session, training.dataset_id), training.settings
    shape = NetworkShape(
        dataset.channels,
        dataset.image_size,
        dataset.classes,
        settings["channels"],
        settings["cells"],
        settings["stem"],
    )
    return Exported(shape, settings["auxiliary"], training.weights_key, _card(session, training, dataset))


def _card(session: Session, training: Training, dataset: Dataset) -> Card | None:
    """The card of a trained network; `None` for one that has not ended, or from before cards were kept."""
    if training.normalisation is None:
        return None
    evaluation = evaluations.of_training(session, training.id)
    facts = {
        "dataset": dataset.name,
        "training_id": training.id,
        "made_by": f"vgae-nas {version('vgae-nas')}",
    }
    if dataset.digest is not None:
        facts["dataset_digest"] = dataset.digest
    if evaluation is not None and evaluation.last_test_accuracy is not None:
        facts["test_accuracy"] = f"{evaluation.last_test_accuracy:.4f}"
    mean, deviation = (training.normalisation[name] for name in ("mean", "deviation"))
    return Card(dataset.class_names, mean, deviation, facts)
