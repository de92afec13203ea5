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


def needed(session: Session) -> set[str]:
    """The keys of all files that rows refer to."""
    columns = (Dataset.artifact_key, Training.weights_key, Export.key)
    keys = {key for column in columns for key in session.scalars(select(column).where(column.is_not(None)))}
    own = LatentSpace.job_id.is_not(None)  # the files of others ship with the service
    keys |= set(session.scalars(select(LatentSpace.artifact_key).where(own)))
    unfinished = Job.status != JobStatus.SUCCEEDED  # what failed or was cancelled can be retried
    checkpoints = select(Job.checkpoint_key).where(unfinished, Job.checkpoint_key.is_not(None))
    keys |= set(session.scalars(checkpoints))
    digests = session.scalars(select(Dataset.digest))
    profiles = {reading.profile_key(digest) for digest in digests if digest is not None}
    return {key for key in keys if key is not None} | profiles


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
