"""Files that nothing refers to: those of a process that was killed between a file and its row."""

import logging
from datetime import timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.artifacts import Artifacts
from app.database import Database, now
from app.datasets import reading
from app.datasets.tables import Dataset
from app.exports.tables import Export
from app.jobs.tables import Job, JobStatus
from app.latent_spaces.tables import LatentSpace
from app.trainings.tables import Training

logger = logging.getLogger(__name__)


def required(session: Session) -> set[str]:
    """The keys of files that must be there, since a row that is done refers to them."""
    made = select(Export.key).join(Job, Job.id == Export.job_id).where(Job.status == JobStatus.SUCCEEDED)
    unfinished = Job.status != JobStatus.SUCCEEDED  # what failed or was cancelled can be retried
    queries = (
        select(Dataset.artifact_key),
        select(Training.weights_key),
        # the files of others ship with the service
        select(LatentSpace.artifact_key).where(LatentSpace.job_id.is_not(None)),
        select(Job.checkpoint_key).where(unfinished),
        made,
    )
    return {key for query in queries for key in session.scalars(query) if key is not None}


def needed(session: Session) -> set[str]:
    """The same, and the keys of files that may come, or are made again when they are asked for."""
    digests = session.scalars(select(Dataset.digest).where(Dataset.digest.is_not(None)))
    profiles = {reading.profile_key(str(digest)) for digest in digests}
    return required(session) | set(session.scalars(select(Export.key))) | profiles


def orphans(database: Database, artifacts: Artifacts, age: timedelta) -> list[str]:
    """The keys of files that no row refers to and that are older than an age, which a writer may take.

    Args:
        database: asked after the files are listed, so that a row that was written meanwhile counts.
        artifacts: the file store.
        age: since a file was last written.
    """
    oldest = now() - age
    old = [key for key, written in artifacts.files() if written < oldest]
    with database.session(reads_only=True) as session:
        known = needed(session)
    return sorted(set(old) - known)


def remove_orphans(database: Database, artifacts: Artifacts, age: timedelta) -> list[str]:
    """Removes such files; their keys."""
    removed = orphans(database, artifacts, age)
    for key in removed:
        artifacts.delete(key)
        logger.warning("file %s is removed: nothing refers to it", key)
    return removed
