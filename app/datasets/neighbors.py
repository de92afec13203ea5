"""How far data sets are from each other, measured once a pair."""

import time
from collections.abc import Callable, Collection
from dataclasses import dataclass

from sqlalchemy import or_, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from app.artifacts import Artifacts
from app.database import Database, now
from app.datasets import reading, service
from app.datasets.tables import Dataset, DatasetDistance, Source
from app.jobs import lengths
from app.jobs import service as jobs
from app.jobs.service import Ordered
from app.jobs.tables import JobKind
from app.settings import Settings
from models.datasets import ready_profiles
from models.datasets.data import DataError
from models.datasets.similarity import Profile, distance

AT_ONCE_SECONDS = 1.0
"""Seconds that a request spends on measuring; what is left then is for a worker."""


@dataclass(frozen=True)
class Neighbor:
    """Another data set and how far it is; `None` with the reason where its images cannot be read."""

    dataset: Dataset
    distance: float | None
    reason: str | None = None


@dataclass(frozen=True)
class Neighbors:
    """The data sets around one.

    Args:
        items: nearest first.
        pending: those whose distance is still to be measured.
    """

    items: list[Neighbor]
    pending: list[Dataset]


def neighbors(
    database: Database,
    dataset_id: str,
    settings: Settings,
    artifacts: Artifacts,
    field: str | None = None,
    among: Collection[str] | None = None,
) -> Neighbors:
    """Other data sets by their distance. What is not known yet is measured, and kept, within a second.

    Args:
        database, settings, artifacts: of the service.
        dataset_id: from which distances are measured.
        field: the field of a request's body that holds the id; `None` if it stands in the path.
        among: ids of the data sets that count; by default all that have images, or a profile that ships.

    Raises:
        NotFound, InvalidRequest: there is no such data set, or its images are not here.
    """
    return _measured(database, dataset_id, settings, artifacts, field, among, AT_ONCE_SECONDS, None)


def measure_all(
    database: Database,
    dataset_id: str,
    settings: Settings,
    artifacts: Artifacts,
    between: Callable[[int, int], None],
) -> int:
    """Measures all distances of a data set, however long it takes.

    Args:
        database, settings, artifacts: of the service.
        dataset_id: the data set.
        between: called before each distance with how many are done, and how many there are; what it raises
            ends the measuring, and loses nothing.

    Returns:
        how many distances are known.

    Raises:
        NotFound, InvalidRequest: as `neighbors`.
    """
    found = _measured(database, dataset_id, settings, artifacts, None, None, None, between)
    return sum(other.distance is not None for other in found.items)


def order(session: Session, dataset_id: str) -> Ordered:
    """The job that measures a data set's distances, committed."""
    dataset = service.get(session, dataset_id)
    if dataset.distances_job_id is not None:
        job = jobs.get(session, dataset.distances_job_id)
        if not job.status.is_final:
            return Ordered(job, is_new=False)
    links = {"neighbors": f"/v1/datasets/{dataset_id}/neighbors"}
    seconds = lengths.DISTANCES_SECONDS
    job = jobs.create(session, JobKind.DISTANCES, {"dataset_id": dataset_id}, links, seconds=seconds)
    dataset.distances_job_id = job.id
    session.commit()
    return Ordered(job, is_new=True)


def noise_distance(session: Session, dataset_id: str, artifacts: Artifacts) -> float | None:
    """The distance of a data set to noise of its own brightness, if it was kept.

    `models.datasets.similarity.without_structure` says what that noise is.
    """
    digest = service.get(session, dataset_id).digest
    return reading.load_noise_distance(digest, artifacts) if digest is not None else None


def _measured(
    database: Database,
    dataset_id: str,
    settings: Settings,
    artifacts: Artifacts,
    field: str | None,
    among: Collection[str] | None,
    seconds: float | None,
    between: Callable[[int, int], None] | None,
) -> Neighbors:
    with database.session(reads_only=True) as session:
        dataset = service.get(session, dataset_id, field)
        service.require_images(dataset, field or "dataset_id")
        others = _others(session, dataset_id, among)
        known = _known(session, dataset_id)
    profiles = _Profiles(settings, artifacts, may_read_images=seconds is None)
    began, items, pending = time.monotonic(), [], []
    for position, other in enumerate(others):
        if other.id in known:
            items.append(Neighbor(other, known[other.id]))
            continue
        if between is not None:
            between(position, len(others))
        if seconds is not None and time.monotonic() - began > seconds:
            pending.append(other)
            continue
        try:
            first, second = profiles.get(dataset), profiles.get(other)
        except DataError as error:
            items.append(Neighbor(other, None, str(error)))
            continue
        if first is None or second is None:
            pending.append(other)
        else:
            value = distance(first, second)
            _keep(database, dataset_id, other.id, value)
            items.append(Neighbor(other, value))
    items.sort(key=lambda n: (n.distance is None, n.distance, n.dataset.id))
    return Neighbors(items, pending)


def _others(session: Session, dataset_id: str, among: Collection[str] | None) -> list[Dataset]:
    has_profile = or_(Dataset.source != Source.FACTS, Dataset.name.in_(ready_profiles.NAMES))
    query = select(Dataset).where(has_profile, Dataset.id != dataset_id).order_by(Dataset.id)
    rows = session.scalars(query).all()
    return [row for row in rows if among is None or row.id in among]


def _known(session: Session, dataset_id: str) -> dict[str, float]:
    ours = (DatasetDistance.first_id == dataset_id) | (DatasetDistance.second_id == dataset_id)
    return {
        row.second_id if row.first_id == dataset_id else row.first_id: row.distance
        for row in session.scalars(select(DatasetDistance).where(ours))
    }


def _keep(database: Database, one: str, other: str, value: float) -> None:
    first, second = sorted((one, other))
    with database.session() as session:
        session.add(DatasetDistance(first_id=first, second_id=second, distance=value, created_at=now()))
        try:
            session.commit()
        except IntegrityError:  # measured by someone else meanwhile, or one of the two is gone
            session.rollback()


class _Profiles:
    """The profiles of data sets: those that ship, those that are kept, and if need be from images.

    Args:
        settings, artifacts: of the service.
        may_read_images: makes a profile that is not kept, which takes as long as reading all images.
    """

    def __init__(self, settings: Settings, artifacts: Artifacts, may_read_images: bool) -> None:
        self.settings, self.artifacts, self.may_read_images = settings, artifacts, may_read_images
        self._made: dict[str, Profile | None] = {}

    def get(self, dataset: Dataset) -> Profile | None:
        """A profile; `None` if images would have to be read and may not be.

        Raises:
            DataError: the images are no longer where they were.
        """
        if dataset.id not in self._made:
            self._made[dataset.id] = self._get(dataset)
        return self._made[dataset.id]

    def _get(self, dataset: Dataset) -> Profile | None:
        if dataset.source is Source.FACTS:
            return ready_profiles.load(dataset.name)
        kept = reading.load_profile(dataset.digest, self.artifacts) if dataset.digest is not None else None
        if kept is not None or not self.may_read_images:
            return kept
        return reading.keep_profile(service.load(dataset, self.settings, self.artifacts), self.artifacts)
