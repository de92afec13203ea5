"""How far data sets are from each other, measured once a pair."""

from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from app.artifacts import Artifacts
from app.database import Database, now
from app.datasets import service
from app.datasets.tables import Dataset, DatasetDistance, Source
from app.settings import Settings
from models.datasets.data import DataError
from models.datasets.similarity import SAMPLES, SEED, SIZE, Profile, distance, profile


@dataclass(frozen=True)
class Neighbor:
    """Another data set and how far it is; `None` with the reason where its images cannot be read."""

    dataset: Dataset
    distance: float | None
    reason: str | None = None


def neighbors(
    database: Database, dataset_id: str, settings: Settings, artifacts: Artifacts, field: str | None = None
) -> list[Neighbor]:
    """All other data sets with images, nearest first. What is not known yet is measured, and kept.

    Args:
        database, settings, artifacts: of the service.
        dataset_id: from which distances are measured.
        field: the field of a request's body that holds the id; `None` if it stands in the path.

    Raises:
        NotFound, InvalidRequest: there is no such data set, or its images are not here.
    """
    with database.session(reads_only=True) as session:
        dataset = service.get(session, dataset_id, field)
        service.require_images(dataset, field or "dataset_id")
        query = select(Dataset).where(Dataset.source != Source.FACTS, Dataset.id != dataset_id)
        others = list(session.scalars(query))
        distances = {
            row.second_id if row.first_id == dataset_id else row.first_id: row.distance
            for row in session.scalars(
                select(DatasetDistance).where(
                    (DatasetDistance.first_id == dataset_id) | (DatasetDistance.second_id == dataset_id)
                )
            )
        }
    measured = []
    for other in others:
        if other.id in distances:
            measured.append(Neighbor(other, distances[other.id]))
            continue
        try:
            measured.append(Neighbor(other, _measure(database, dataset, other, settings, artifacts)))
        except DataError as error:
            measured.append(Neighbor(other, None, str(error)))
    return sorted(measured, key=lambda n: (n.distance is None, n.distance, n.dataset.id))


def _measure(
    database: Database, one: Dataset, other: Dataset, settings: Settings, artifacts: Artifacts
) -> float:
    first, second = sorted((one, other), key=lambda dataset: dataset.id)
    value = distance(_profile(first, settings, artifacts), _profile(second, settings, artifacts))
    with database.session() as session:
        session.add(DatasetDistance(first_id=first.id, second_id=second.id, distance=value, created_at=now()))
        try:
            session.commit()
        except IntegrityError:  # measured by someone else meanwhile, or one of the two is gone
            session.rollback()
    return value


def _profile(dataset: Dataset, settings: Settings, artifacts: Artifacts) -> Profile:
    """A data set's profile, kept beside its images."""
    key = f"profiles/{dataset.id}/{SIZE}-{SAMPLES}-{SEED}.pt"
    try:
        stored = artifacts.get_tensors(key)
        return Profile(stored["features"].double(), stored["labels"])
    except FileNotFoundError:
        computed = profile(service.load(dataset, settings, artifacts))
        artifacts.put_tensors(key, {"features": computed.features.float(), "labels": computed.labels})
        return Profile(computed.features.float().double(), computed.labels)
