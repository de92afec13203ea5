"""Starting trainings, keeping their evaluations, and the leaderboard."""

from dataclasses import asdict
from typing import Any

from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from app.artifacts import Artifacts
from app.database import new_id, now
from app.datasets import service as datasets
from app.genotypes import service as genotypes
from app.genotypes.tables import Genotype
from app.jobs import service as jobs
from app.jobs.tables import Job
from app.problems import Conflict, InvalidRequest, NotFound
from app.recipes import resolve
from app.settings import Settings
from app.trainings.schemas import TrainingIn
from app.trainings.tables import Evaluation, Training
from models.data import DataError, require_size
from models.retrain import RECIPES

PREFIX = "tr"


def start(session: Session, request: TrainingIn, settings: Settings) -> list[Job]:
    """One training and one job for each genotype and seed.

    Raises:
        InvalidRequest: an unknown data set, genotype or recipe, images that are too small for it, or
            more jobs than one request may start.
    """
    dataset = datasets.get(session, request.dataset_id, "dataset_id")
    datasets.require_images(dataset, "dataset_id")
    recipe = resolve(RECIPES, request.recipe, request.overrides)
    try:
        require_size(dataset.image_size, recipe.cells)
    except DataError as error:
        raise InvalidRequest.of("dataset_id", f"{dataset.name!r}: {error}") from None
    count = len(request.genotype_ids) * len(request.seeds)
    if count > settings.max_jobs_per_request:
        raise InvalidRequest.of(
            "genotype_ids", f"would start {count} trainings; at most {settings.max_jobs_per_request} at once"
        )
    started = []
    for genotype in genotypes.get_many(session, request.genotype_ids, "genotype_ids"):
        for seed in request.seeds:
            training_id = new_id(PREFIX)
            links = {"training": f"/v1/trainings/{training_id}", "genotype": f"/v1/genotypes/{genotype.id}"}
            job = jobs.create(session, "train", {"training_id": training_id}, links)
            session.add(
                Training(
                    id=training_id,
                    job_id=job.id,
                    genotype_id=genotype.id,
                    dataset_id=dataset.id,
                    recipe=request.recipe,
                    settings=asdict(recipe),
                    seed=seed,
                    arm=request.arm,
                    created_at=now(),
                )
            )
            started.append(job)
    session.commit()
    return started


def get(session: Session, training_id: str) -> Training:
    """A training by id.

    Raises:
        NotFound: there is none.
    """
    training = session.get(Training, training_id)
    if training is None:
        raise NotFound(f"there is no training {training_id!r}")
    return training


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


def listing(dataset_id: str | None, genotype_id: str | None) -> Select[*tuple[Any, ...]]:
    """Trainings of a data set and genotype."""
    query = select(Training)
    if dataset_id is not None:
        query = query.where(Training.dataset_id == dataset_id)
    if genotype_id is not None:
        query = query.where(Training.genotype_id == genotype_id)
    return query


def leaderboard(
    session: Session, dataset_id: str, origin: str | None, arm: str | None, recipe: str | None
) -> Select[*tuple[Any, ...]]:
    """A data set's evaluations with their genotypes; a supernet's own accuracies are not among them.

    Raises:
        NotFound: there is no such data set.
    """
    datasets.get(session, dataset_id)
    query: Select[*tuple[Any, ...]] = select(Evaluation, Genotype.name, Genotype.origin).join(
        Genotype, Genotype.id == Evaluation.genotype_id
    )
    query = query.where(Evaluation.dataset_id == dataset_id, Evaluation.kind != "search")
    if origin is not None:
        query = query.where(Genotype.origin == origin)
    if arm is not None:
        query = query.where(Evaluation.arm == arm)
    if recipe is not None:
        query = query.where(Evaluation.recipe == recipe)
    return query


def finish(
    session: Session,
    training_id: str,
    history: list[dict[str, Any]],
    parameters: int,
    macs: int,
    seconds: float,
    weights_key: str,
) -> Evaluation:
    """Keeps a finished training's curve and evaluation, not yet committed.

    Args:
        session: of the transaction that ends the job.
        training_id: the training.
        history: its epochs.
        parameters, macs: of the trained network.
        seconds: of training.
        weights_key: of the network's weights.
    """
    training = get(session, training_id)
    training.history, training.weights_key = history, weights_key
    best = max(history, key=lambda epoch: float(epoch["test_accuracy"]))
    evaluation = Evaluation(
        id=new_id(genotypes.EVALUATION_PREFIX),
        genotype_id=training.genotype_id,
        dataset_id=training.dataset_id,
        kind="trained",
        training_id=training.id,
        recipe=training.recipe,
        settings=training.settings,
        seed=training.seed,
        arm=training.arm,
        test_accuracy=best["test_accuracy"],
        test_top5=best["test_top5"],
        last_test_accuracy=history[-1]["test_accuracy"],
        parameters=parameters,
        macs=macs,
        train_seconds=seconds,
        created_at=now(),
    )
    session.add(evaluation)
    return evaluation
