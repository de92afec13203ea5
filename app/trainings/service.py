"""Starting trainings, building them, and keeping what they measured."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from typing import Any

import torch
from sqlalchemy import Select, or_, select, update
from sqlalchemy.orm import Session
from torch import Tensor

from app import database, naming
from app.artifacts import Artifacts
from app.database import Base, Database, new_id, now
from app.datasets import service as datasets
from app.datasets.tables import Dataset
from app.evaluations import service as evaluations
from app.evaluations.schemas import EvaluationOut
from app.evaluations.tables import Evaluation, EvaluationKind
from app.genotypes import service as genotypes
from app.jobs import lengths, parents, workers
from app.jobs import service as jobs
from app.jobs.tables import Job, JobKind
from app.naming import Share
from app.overrides import choose
from app.problems import Conflict, InvalidRequest, NotFound
from app.settings import Settings
from app.trainings.schemas import TrainingIn, TrainingOut
from app.trainings.tables import Training
from models.datasets.data import DataError, require_size
from models.trainings import retrain
from models.trainings.reference import download_weights, load_weights
from models.trainings.retrain import RECIPES, TrainRecipe
from models.trainings.scores import Scores
from models.trainings.world import ALONE, World

PREFIX = "tr"

SHAPE = ("channels", "cells", "stem")
"""The fields of a recipe that a network in a genotype's source replaces."""


def relabel(session: Session, row: Base, job: Job, request: Share) -> None:
    """Changes what people call an experiment or a campaign, and who sees it: with its trainings.

    Args:
        session: of them.
        row: the experiment or the campaign.
        job: its own.
        request: the new labels.

    Raises:
        Conflict: the name is taken; or it is to be shared and is not over, or made from what is not shared.
    """
    if request.shared:
        naming.require_shared(session, row)
        _share(session, job)
    naming.relabel(session, row, request)


def _share(session: Session, job: Job) -> None:
    """Lets every key see a job of many trainings, and them with their data sets and architectures."""
    if not job.status.is_final:
        raise Conflict(f"job {job.id} is {job.status.value}; share what it trains when it is over")
    parts = select(Job.id).where(Job.parent_id == job.id)
    trained = session.scalars(select(Training).where(Training.job_id.in_(parts))).all()
    genotypes.share(session, [row.genotype_id for row in trained if row.genotype_id is not None])
    used = Dataset.id.in_({row.dataset_id for row in trained})
    of_it = or_(Job.id == job.id, Job.parent_id == job.id)
    for table, rows in ((Dataset, used), (Training, Training.job_id.in_(parts)), (Job, of_it)):
        session.execute(update(table).where(rows).values(owner=None))


def start(session: Session, request: TrainingIn, settings: Settings) -> list[Job]:
    """One training and one job for each genotype and seed.

    Raises:
        InvalidRequest: an unknown data set, genotype or recipe, images that are too small for it, or
            more jobs than one request may start.
    """
    dataset = datasets.get(session, request.dataset_id, "dataset_id")
    choice = choose(RECIPES, request, workers.has_gpu(session, settings))
    recipe = choice.recipe
    require_trainable(dataset, recipe, "dataset_id")
    most, started = settings.max_jobs_per_request, []
    _require_few(len(request.genotype_ids) * len(request.seeds), most)
    rows = genotypes.chosen(session, request, most)
    _require_few(len(rows) * len(request.seeds), most)
    recipes = [recipe] * len(rows)
    if request.network == "source":
        _require_free(request)
        recipes = [
            of_source(row.source, recipe, dataset, f"genotype_ids[{place}]") for place, row in enumerate(rows)
        ]
    for genotype, settled in zip(rows, recipes, strict=True):
        for seed in request.seeds:
            plan = Plan(dataset.id, choice.name, settled, seed, request.arm, genotype_id=genotype.id)
            started.append(create(session, plan, choice.warnings))
    session.commit()
    return started


def _require_few(count: int, most: int) -> None:
    """Raises `InvalidRequest` for more trainings than one request may start."""
    if count > most:
        raise InvalidRequest.of("genotype_ids", f"would start {count} trainings; at most {most} at once")


@dataclass(frozen=True)
class Plan:
    """A training to be made: of a genotype or of a reference network, on its own or as a part."""

    dataset_id: str
    recipe: str
    settings: TrainRecipe
    seed: int
    arm: str | None
    genotype_id: str | None = None
    reference: str | None = None
    pretrained: dict[str, Any] | None = None
    experiment_id: str | None = None
    parent_job_id: str | None = None
    brief: bool = False


def create(session: Session, plan: Plan, warnings: Sequence[str] = ()) -> Job:
    """A training and its job with what is to be told of it, not yet committed."""
    training_id = new_id(PREFIX)
    links = {"training": f"/v1/trainings/{training_id}"}
    if plan.genotype_id is not None:
        links["genotype"] = f"/v1/genotypes/{plan.genotype_id}"
    dataset, recipe = datasets.get(session, plan.dataset_id), plan.settings
    images = min(dataset.train_count, recipe.train_images or dataset.train_count)
    seconds = lengths.of_network(recipe.epochs, images, dataset.image_size, recipe.channels, recipe.cells)
    params = {"training_id": training_id}
    job = jobs.create(
        session, JobKind.TRAIN, params, links, plan.parent_job_id, seconds=seconds, warnings=warnings
    )
    session.add(
        Training(
            id=training_id,
            job_id=job.id,
            genotype_id=plan.genotype_id,
            reference=plan.reference,
            pretrained=plan.pretrained,
            dataset_id=plan.dataset_id,
            experiment_id=plan.experiment_id,
            recipe=plan.recipe,
            settings=asdict(plan.settings),
            seed=plan.seed,
            arm=plan.arm,
            brief=plan.brief,
            created_at=now(),
        )
    )
    return job


def of_source(source: Mapping[str, Any], recipe: TrainRecipe, dataset: Dataset, field: str) -> TrainRecipe:
    """The recipe with the channels, cells and stem of the network that a genotype was made for.

    Args:
        source: of the genotype.
        recipe: for all else.
        dataset: on which it is to be trained.
        field: of the request, that names the genotype.

    Raises:
        InvalidRequest: no network stands in the source, or one for other images.
    """
    network = source.get("network")
    if network is None:
        raise InvalidRequest.of(
            field, "was made for no network; give constraints with a network when it is generated, or train "
            "with the network of the recipe"
        )  # fmt: skip
    images = {name: network[name] for name in ("image_channels", "image_size", "classes")}
    found = {
        "image_channels": dataset.channels,
        "image_size": dataset.image_size,
        "classes": dataset.classes,
    }
    if images != found:
        raise InvalidRequest.of(field, f"was made for a network of {images}; {dataset.name!r} has {found}")
    return replace(recipe, **{name: network[name] for name in SHAPE})


def _require_free(request: TrainingIn) -> None:
    """Raises `InvalidRequest`, naming the field, for overrides of what genotypes' own networks say."""
    for name in SHAPE:
        if name in request.overrides:
            raise InvalidRequest.of(
                f"overrides.{name}", "does not go with the network of each genotype's source"
            )


def require_trainable(dataset: Dataset, recipe: TrainRecipe, field: str) -> None:
    """Refuses a data set without images, or with images too small for a recipe's cells.

    Raises:
        InvalidRequest: naming the field.
    """
    datasets.require_images(dataset, field)
    try:
        require_size(dataset.image_size, recipe.cells, recipe.stem)
    except DataError as error:
        raise InvalidRequest.of(field, f"{dataset.name!r}: {error}") from None


def get(session: Session, training_id: str) -> Training:
    """A training by id.

    Raises:
        NotFound: there is none.
    """
    training = session.get(Training, training_id)
    if training is None:
        raise NotFound(f"there is no training {training_id!r}")
    return training


def delete(session: Session, training_id: str, artifacts: Artifacts) -> None:
    """Removes a training that is over, with its evaluation, weights and job.

    Raises:
        NotFound: there is none.
        Conflict: it is not over, or is a part of an experiment or a campaign.
    """
    training = get(session, training_id)
    parent = jobs.get(session, training.job_id).parent_id
    if parent is not None:
        raise Conflict(f"training {training_id} is a part of job {parent}; remove what that is of first")
    key, evaluation = training.weights_key, evaluations.of_training(session, training_id)
    if evaluation is not None:
        session.delete(evaluation)
        session.flush()
    database.delete(session, training)
    parents.remove(session, training.job_id)
    session.commit()
    if key is not None:
        artifacts.delete(key)


def weights(session: Session, training_id: str, artifacts: Artifacts) -> bytes:
    """The weights of a trained network, as safetensors.

    Raises:
        NotFound: there is no such training.
        Conflict: it has not ended well yet.
    """
    training = get(session, training_id)
    if training.weights_key is None:
        raise Conflict(f"training {training_id} has no weights; its job is {training.job_id}")
    return artifacts.get(training.weights_key)


def facts(session: Session, training_id: str, test_accuracy: float | None) -> dict[str, str]:
    """The facts that go with a trained network wherever it is taken.

    Args:
        session: reads the training and its data set.
        training_id: the training.
        test_accuracy: percent, of the weights that go with them; `None` if it is not known.
    """
    training = get(session, training_id)
    dataset = datasets.get(session, training.dataset_id)
    known = {
        "training_id": training.id,
        "dataset": dataset.name,
        "dataset_digest": dataset.digest,
        "test_accuracy": f"{test_accuracy:.4f}" if test_accuracy is not None else None,
        "licence": dataset.licence or "not told; it is that of the images",
        "made_by": f"vgae-nas {version('vgae-nas')}",
    }
    return {name: value for name, value in known.items() if value is not None}


def shown(session: Session, rows: Sequence[Training], expand: str) -> list[TrainingOut]:
    """Trainings as clients see them, with what `expand` names beside their ids."""
    known: dict[str, Mapping[Any, Any]] = {"genotype": {}, "evaluation": {}}
    if "genotype" in expand:
        known["genotype"] = genotypes.shown(session, [row.genotype_id for row in rows])
    if "evaluation" in expand:
        measured = select(Evaluation).where(Evaluation.training_id.in_([row.id for row in rows]))
        known["evaluation"] = {
            row.training_id: EvaluationOut.model_validate(row) for row in session.scalars(measured)
        }
    names = [name for name in TrainingOut.model_fields if name not in known]
    return [
        TrainingOut(
            **{name: getattr(row, name) for name in names},
            genotype=known["genotype"].get(row.genotype_id),
            evaluation=known["evaluation"].get(row.id),
        )
        for row in rows
    ]


def listing(
    dataset_id: str | None, genotype_id: str | None, experiment_id: str | None
) -> Select[*tuple[Any, ...]]:
    """Trainings of a data set, genotype and experiment."""
    query = select(Training)
    if experiment_id is not None:
        query = query.where(Training.experiment_id == experiment_id)
    if dataset_id is not None:
        query = query.where(Training.dataset_id == dataset_id)
    if genotype_id is not None:
        query = query.where(Training.genotype_id == genotype_id)
    return query


def build(
    database: Database,
    artifacts: Artifacts,
    settings: Settings,
    training_id: str,
    device: torch.device,
    world: World = ALONE,
) -> retrain.Training:
    """A training as its row describes it, at its start.

    Args:
        database, artifacts, settings: of the service.
        training_id: the row.
        device: where it runs.
        world: of several processes that train together, which one this is.

    Raises:
        NotFound: there is no such training.
        DataError: the images are no longer where they were, or do not suit the recipe.
    """
    with database.session(reads_only=True) as session:
        row = get(session, training_id)
        dataset = datasets.get(session, row.dataset_id)
        genotype = genotypes.get(session, row.genotype_id) if row.genotype_id is not None else None
    images = datasets.load(dataset, settings, artifacts)
    recipe = TrainRecipe(**row.settings)
    if genotype is not None:
        network = retrain.of_genotype(genotypes.discrete(genotype), recipe)
    else:
        assert row.reference is not None
        network = retrain.of_reference(row.reference, _pretrained(row, settings))
    return retrain.Training(network, images, recipe, row.seed, device, world)


def _pretrained(training: Training, settings: Settings) -> Mapping[str, Tensor] | None:
    """The weights that a reference starts from, if it does not start from scratch.

    Raises:
        DataError: they are no longer where they were, or cannot be fetched.
    """
    assert training.reference is not None
    if training.pretrained is None:
        return None
    if "weights" in training.pretrained:
        return load_weights(datasets.below(settings.data_root, training.pretrained["weights"]))
    return download_weights(training.reference, settings.data_root / "weights")


def finish(
    session: Session,
    training_id: str,
    history: list[dict[str, Any]],
    parameters: int,
    macs: int,
    seconds: float,
    weights_key: str,
    normalisation: dict[str, list[float]],
    scores: Scores,
) -> Evaluation:
    """Keeps a finished training's curve and evaluation, not yet committed.

    Args:
        session: of the transaction that ends the job.
        training_id: the training.
        history: its epochs.
        parameters, macs: of the trained network.
        seconds: of training.
        weights_key: of the network's weights.
        normalisation: mean and deviation by channel.
        scores: by class, of the last epoch on the test split.
    """
    training = get(session, training_id)
    training.history, training.weights_key = history, weights_key
    training.normalisation = normalisation
    classes = datasets.get(session, training.dataset_id).class_names
    best = max(history, key=lambda epoch: float(epoch["test_accuracy"]))
    validated = [epoch for epoch in history if epoch.get("validation_accuracy") is not None]
    selected = max(validated, key=lambda epoch: float(epoch["validation_accuracy"]), default=None)
    search_space = None
    if training.genotype_id is not None:
        search_space = genotypes.get(session, training.genotype_id).search_space
    return evaluations.record(
        session,
        EvaluationKind.BRIEF if training.brief else EvaluationKind.TRAINED,
        training.dataset_id,
        best["test_accuracy"],
        search_space=search_space,
        genotype_id=training.genotype_id,
        reference=training.reference,
        training_id=training.id,
        recipe=training.recipe,
        settings=training.settings,
        seed=training.seed,
        arm=training.arm,
        test_top5=best["test_top5"],
        last_test_accuracy=history[-1]["test_accuracy"],
        validation_accuracy=selected["validation_accuracy"] if selected is not None else None,
        selected_test_accuracy=selected["test_accuracy"] if selected is not None else None,
        balanced_accuracy=scores.balanced_accuracy,
        macro_f1=scores.macro_f1,
        class_accuracies=dict(zip(classes, scores.class_accuracies, strict=True)),
        confusion=scores.confusion,
        parameters=parameters,
        macs=macs,
        train_seconds=seconds,
    )
