"""Genotypes for other places: a picture, a Python file, an ONNX model."""

import hashlib
import io
import json
import zipfile
from contextlib import suppress
from dataclasses import dataclass, fields
from importlib import resources
from importlib.metadata import version
from typing import Any, Literal
from urllib.parse import urlencode

import safetensors.torch
import torch
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from app.artifacts import Artifacts
from app.database import now
from app.datasets import service as datasets
from app.datasets.tables import Dataset
from app.evaluations import service as evaluations
from app.exports import picture as pictures
from app.exports.schemas import ExportIn
from app.exports.tables import Export
from app.genotypes import service
from app.genotypes.tables import Genotype, Origin
from app.jobs import lengths
from app.jobs import service as jobs
from app.jobs.service import Ordered
from app.jobs.tables import JobEvent, JobKind, JobStatus
from app.problems import Conflict, InvalidRequest
from app.searches import service as searches
from app.trainings import service as trainings
from app.trainings.tables import Training
from models.datasets.data import DataError, require_size
from models.exports.card import model_card
from models.exports.export import Card, module_source, onnx_bytes
from models.genotypes.genotype import from_dict, to_tensor
from models.genotypes.search_space import SEARCH_SPACES
from models.genotypes.size import NetworkShape, count_macs, count_parameters

_ORIGINS = {
    Origin.SEARCHED: "found by an architecture search",
    Origin.PUBLISHED: "published",
    Origin.REGISTERED: "registered by a user",
    Origin.GENERATED: "decoded from a latent space near a known architecture",
    Origin.RANDOM: "drawn at random",
}


@dataclass(frozen=True)
class Order:
    """A file that is to be made.

    Args:
        file: which one.
        genotype_id: of whose network.
        asked: the network's shape, or whose training it is.
    """

    file: Literal["model.onnx", "model.zip"]
    genotype_id: str
    asked: ExportIn

    @property
    def key(self) -> str:
        """The key in the file store: equal for equal files; another version of the service makes its own."""
        shape = self.asked.model_dump(exclude={"training_id"})
        digest = hashlib.sha256(json.dumps(shape, sort_keys=True).encode()).hexdigest()[:16]
        of = self.asked.training_id or f"{self.genotype_id}-{digest}"
        return f"exports/{of}/{version('vgae-nas')}/{self.file}"

    def as_dict(self) -> dict[str, Any]:
        """The order as plain values, the parameters of its job."""
        asked = self.asked.model_dump(exclude_unset=True)
        return {"file": self.file, "genotype_id": self.genotype_id, "asked": asked}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Order":
        """The order of a job's parameters."""
        return cls(values["file"], values["genotype_id"], ExportIn(**values["asked"]))


@dataclass(frozen=True)
class Exported:
    """The network to export: its shape, and whose weights it has, if anyone's, with their card."""

    shape: NetworkShape
    auxiliary: bool = False
    weights_key: str | None = None
    card: Card | None = None


def picture(session: Session, genotype_id: str, beside: str | None = None) -> bytes:
    """Both cells as SVG; what another genotype, `beside`, does not have is marked.

    Raises:
        NotFound: there is no such genotype.
        InvalidRequest: there is no such other, or it is of another search space.
    """
    row = service.get(session, genotype_id)
    other = None if beside is None else service.get(session, beside, "beside")
    if other is not None and other.search_space != row.search_space:
        raise InvalidRequest.of(
            "beside", f"is of {other.search_space!r}, and this one of {row.search_space!r}"
        )
    compared = None if other is None else service.discrete(other)
    return pictures.draw(service.discrete(row), row.name or row.id, compared)


def searched_picture(session: Session, search_id: str) -> bytes:
    """The cells that a search would choose by its last epoch so far, as SVG.

    Raises:
        NotFound: there is no such search.
        Conflict: it has no epoch behind it.
    """
    search = searches.get(session, search_id)
    query = select(JobEvent.data).where(JobEvent.job_id == search.job_id, JobEvent.type == "progress")
    for data in session.scalars(query.order_by(JobEvent.number.desc()).limit(5)):
        if "genotype" in data:
            cells = from_dict(data["genotype"], SEARCH_SPACES[search.search_space])
            return pictures.draw(cells, f"after epoch {data['epoch']}")
    raise Conflict(f"search {search_id} has no epoch behind it; ask again later")


def module(session: Session, genotype_id: str, asked: ExportIn) -> str:
    """The network as a standalone Python file.

    Raises:
        NotFound: there is no such genotype.
        InvalidRequest: a shape that does not go together, or a training of something else.
    """
    row = service.get(session, genotype_id)
    exported = _exported(session, row, asked)
    name = f"{row.name or row.id}, of the search space {row.search_space}"
    return module_source(service.discrete(row), exported.shape, name, exported.auxiliary, exported.card)


def onnx(session: Session, genotype_id: str, asked: ExportIn, artifacts: Artifacts) -> bytes | Ordered:
    """The network as ONNX, with trained weights or fresh ones of seed 0; or the job that makes the file.

    Raises:
        NotFound: there is no such genotype.
        InvalidRequest: a shape that does not go together, or a training that has no weights.
        Conflict: the job that was to make it failed.
    """
    row = service.get(session, genotype_id)
    exported = _exported(session, row, asked)
    if asked.training_id is not None and exported.weights_key is None:
        raise InvalidRequest.of("training_id", f"training {asked.training_id} has not ended well, so far")
    query = asked.model_dump(exclude_unset=True)
    link = f"/v1/genotypes/{row.id}/model.onnx"
    link = f"{link}?{urlencode(query)}" if query else link
    return _file(session, Order("model.onnx", row.id, asked), link, artifacts)


def bundle(session: Session, training_id: str, artifacts: Artifacts) -> bytes | Ordered:
    """All that someone needs who has only this, as a zip; or the job that makes the file.

    Raises:
        NotFound: there is no such training.
        Conflict: it has not ended well, is of a reference network, or is from before cards were kept; or
            the job that was to make the file failed.
    """
    training = trainings.get(session, training_id)
    if training.weights_key is None:
        raise Conflict(f"training {training_id} has no weights; its job is {training.job_id}")
    if training.genotype_id is None:
        raise Conflict(
            f"training {training_id} is of torchvision's {training.reference}; only genotypes are exported"
        )
    if training.normalisation is None:
        raise Conflict(f"training {training_id} is from before its normalisation was kept; train it again")
    order = Order("model.zip", training.genotype_id, ExportIn(training_id=training_id))
    return _file(session, order, f"/v1/trainings/{training_id}/model.zip", artifacts)


def make(session: Session, order: Order, artifacts: Artifacts) -> bytes:
    """Makes the file of an order; takes seconds to minutes.

    Raises:
        NotFound: the genotype is gone.
    """
    if order.file == "model.onnx":
        return _onnx(session, order, artifacts)
    return _bundle(session, order, artifacts)


def _file(session: Session, order: Order, link: str, artifacts: Artifacts) -> bytes | Ordered:
    """The kept file of an order; or its job, which is made if there is none that will make the file."""
    key = order.key
    with suppress(FileNotFoundError):
        return artifacts.get(key)
    export = session.get(Export, key)
    job = jobs.get(session, export.job_id) if export is not None else None
    if job is not None and job.status is JobStatus.FAILED:
        reason = (job.error or {}).get("detail", "no reason is known")
        raise Conflict(f"the export failed ({reason}); try again by POST /v1/jobs/{job.id}/retry")
    if job is not None and not job.status.is_final:
        return Ordered(job, is_new=False)
    seconds = lengths.EXPORT_SECONDS
    job = jobs.create(session, JobKind.EXPORT, order.as_dict(), {"file": link}, seconds=seconds)
    export = export or Export(key=key, genotype_id=order.genotype_id)
    export.job_id, export.created_at = job.id, now()
    session.add(export)
    try:
        session.commit()
    except IntegrityError:  # another request ordered the same file meanwhile
        session.rollback()
        return _file(session, order, link, artifacts)
    return Ordered(job, is_new=True)


def _onnx(session: Session, order: Order, artifacts: Artifacts) -> bytes:
    row = service.get(session, order.genotype_id)
    exported = _exported(session, row, order.asked)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = exported.shape.network(service.discrete(row), exported.auxiliary)
    if exported.weights_key is not None:
        net.load_state_dict(safetensors.torch.load(artifacts.get(exported.weights_key)))
    return onnx_bytes(net, exported.shape, exported.card)


def _bundle(session: Session, order: Order, artifacts: Artifacts) -> bytes:
    assert order.asked.training_id is not None
    training = trainings.get(session, order.asked.training_id)
    row = service.get(session, order.genotype_id)
    exported, dataset = _exported(session, row, order.asked), datasets.get(session, training.dataset_id)
    assert exported.card is not None
    assert training.weights_key is not None
    card = {
        "classes": list(exported.card.classes),
        "channels": exported.shape.image_channels,
        "image_size": exported.shape.image_size,
        "input": "uint8 [batch, channels, image_size, image_size]",
        "mean": list(exported.card.mean),
        "deviation": list(exported.card.deviation),
        "value_range": (dataset.account or {}).get("value_range"),
        "genotype": row.genotype,
        "recipe": training.recipe,
        "settings": training.settings,
        "seed": training.seed,
        **exported.card.facts,
    }
    parameters, macs = _size(row, exported.shape)
    files = {
        "README.md": model_card(card, parameters, macs, _ORIGINS[row.origin]).encode(),
        "model.onnx": _onnx(session, order, artifacts),
        "module.py": module(session, row.id, order.asked).encode(),
        "weights.safetensors": artifacts.get(training.weights_key),
        "card.json": json.dumps(card, indent=1, ensure_ascii=False).encode(),
        "predict.py": resources.files("models.exports").joinpath("predict.py").read_bytes(),
    }
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def _size(row: Genotype, shape: NetworkShape) -> tuple[int, int]:
    """Parameters and multiply-accumulates of a genotype's network, without an auxiliary head."""
    space = service.space_of(row.search_space)
    genotype = to_tensor([service.discrete(row)], space)
    return int(count_parameters(genotype, space, shape)), int(count_macs(genotype, space, shape))


def _exported(session: Session, row: Genotype, asked: ExportIn) -> Exported:
    if asked.training_id is None:
        shape = _of_source(row) if asked.of_source else asked.shape(service.space_of(row.search_space))
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
        settings["channels"],
        settings["cells"],
        dataset.channels,
        dataset.image_size,
        dataset.classes,
        settings["stem"],
    )
    return Exported(shape, settings["auxiliary"], training.weights_key, _card(session, training, dataset))


def _of_source(row: Genotype) -> NetworkShape:
    network = row.source.get("network")
    if network is None:
        raise InvalidRequest.of("of_source", f"{row.id} was made for no network; give its shape instead")
    return NetworkShape(**{field.name: network[field.name] for field in fields(NetworkShape)})


def _card(session: Session, training: Training, dataset: Dataset) -> Card | None:
    """The card of a trained network; `None` for one that has not ended, or from before cards were kept."""
    if training.normalisation is None:
        return None
    evaluation = evaluations.of_training(session, training.id)
    facts = trainings.facts(session, training.id, evaluation.last_test_accuracy if evaluation else None)
    mean, deviation = (training.normalisation[name] for name in ("mean", "deviation"))
    return Card(dataset.class_names, mean, deviation, facts)
