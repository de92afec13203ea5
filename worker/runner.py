"""Claim, heartbeat, checkpoint, cancel, finish: one path for every kind of job."""

import logging
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from typing import Any

import torch
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from app.artifacts import Artifacts
from app.database import Database
from app.jobs import service as jobs
from app.jobs.tables import Job
from app.problems import JobFailed, Problem
from app.settings import Settings
from models.data import DataError
from models.latent import LatentError
from models.limits import LimitError
from models.search import NonFiniteLoss

logger = logging.getLogger(__name__)

Finish = Callable[[Session], tuple[dict[str, Any], dict[str, str]]]
"""Writes what a job made in the given transaction; gives the job's result and links."""

Kind = Callable[["Run"], Finish]
"""Runs a job to its end; what it returns writes the outcome."""


class Cancelled(Exception):
    """A cancel was requested."""


class LeaseLost(Exception):
    """Another worker has the job; this one must leave everything as it is."""


class Stopping(Exception):
    """The worker is asked to stop; the job goes back to the queue."""


class Run:
    """One attempt at one job, as its kind sees it.

    Args:
        job: as claimed.
        database, artifacts, settings: of the worker.
        stopping: set when the worker is asked to stop.
    """

    def __init__(
        self,
        job: Job,
        database: Database,
        artifacts: Artifacts,
        settings: Settings,
        stopping: threading.Event,
    ) -> None:
        assert job.lease_token is not None
        self.job_id, self.token, self.params = job.id, job.lease_token, job.params
        self.attempt, self.checkpoint_key = job.attempt, job.checkpoint_key
        self.database, self.artifacts, self.settings = database, artifacts, settings
        self.device = _device(settings.device)
        self.stopping = stopping
        self.cancelled, self.lost = threading.Event(), threading.Event()

    def check(self) -> None:
        """Called between steps; raises when the run must end here."""
        if self.lost.is_set():
            raise LeaseLost
        if self.cancelled.is_set():
            raise Cancelled
        if self.stopping.is_set():
            raise Stopping

    def load_checkpoint(self) -> Any | None:
        """The last checkpoint of this or an earlier attempt, if there is one."""
        if self.checkpoint_key is None:
            return None
        try:
            return self.artifacts.get_tensors(self.checkpoint_key)
        except FileNotFoundError:
            logger.warning("job %s: its checkpoint is gone; it starts anew", self.job_id)
            return None

    def report(
        self,
        progress: float,
        step: str,
        event: Mapping[str, Any] | None = None,
        checkpoint: Any | None = None,
    ) -> None:
        """Writes how far the job is, with an event and a checkpoint if given.

        The checkpoint's key is this lease's own, and the row points to it only while the lease is
        held: a worker that lost its lease cannot spoil its successor's.

        Args:
            progress: from 0 to 1.
            step: what was done, in a line.
            event: data of a `progress` event.
            checkpoint: tensors and plain values.
        """
        key = None
        if checkpoint is not None:
            key = f"jobs/{self.job_id}/{self.token}.pt"
            self.artifacts.put_tensors(key, checkpoint)
        noted = ("progress", event) if event is not None else None

        def write(session: Session) -> bool:
            return jobs.report(
                session,
                self.job_id,
                self.token,
                progress=progress,
                step=step,
                event=noted,
                checkpoint_key=key,
            )

        if not self._patiently(write):
            raise LeaseLost
        self.checkpoint_key = key or self.checkpoint_key

    def finish(self, outcome: Finish) -> None:
        """Writes what the job made and ends it, in one transaction."""

        def write(session: Session) -> bool:
            if not jobs.hold(session, self.job_id, self.token):
                return False
            result, links = outcome(session)
            done = jobs.succeed(session, self.job_id, self.token, result, links)
            session.commit()
            return done

        if not self._patiently(write):
            raise LeaseLost
        self.artifacts.delete(f"jobs/{self.job_id}")

    def end(self, write: Callable[[Session], bool]) -> None:
        """Ends the run by another of the service's changes."""
        if not self._patiently(write):
            logger.warning("job %s: its lease was lost", self.job_id)

    def beat(self) -> None:
        """One heartbeat; notes a lost lease or a requested cancel."""
        with self.database.session() as session:
            requested = jobs.heartbeat(session, self.job_id, self.token, self.settings.lease_seconds)
        if requested is None:
            self.lost.set()
        elif requested:
            self.cancelled.set()

    def _patiently(self, write: Callable[[Session], bool]) -> bool:
        """Repeats a write while the database does not answer, up to a limit."""
        deadline = time.monotonic() + self.settings.patience_seconds
        while True:
            try:
                with self.database.session() as session:
                    return write(session)
            except DBAPIError as error:
                if not _transient(error) or time.monotonic() > deadline:
                    raise
                logger.warning("job %s: the database does not answer (%s)", self.job_id, error.orig)
                time.sleep(1.0)


def execute(
    job_id: str,
    kinds: Mapping[str, Kind],
    database: Database,
    artifacts: Artifacts,
    settings: Settings,
    stopping: threading.Event,
) -> None:
    """Runs a job if it is still to be run; a message delivered twice changes nothing.

    Args:
        job_id: from the message.
        kinds: what runs each kind.
        database, artifacts, settings: of the worker.
        stopping: set when the worker is asked to stop.
    """
    with database.session() as session:
        job = jobs.claim(session, job_id, settings.lease_seconds)
    if job is None:
        logger.info("job %s is not to be run", job_id)
        return
    run = Run(job, database, artifacts, settings, stopping)
    over = threading.Event()
    heart = threading.Thread(target=_heart, args=(run, over), daemon=True)
    heart.start()
    try:
        run.finish(kinds[job.kind](run))
    except LeaseLost:
        logger.warning("job %s: its lease was lost", job_id)
    except Cancelled:
        run.end(lambda session: jobs.finish_cancel(session, job_id, run.token))
    except Stopping:
        run.end(lambda session: jobs.put_back(session, job_id, run.token, "its worker was stopped"))
    except Exception as error:
        logger.error("job %s failed", job_id, exc_info=error)
        problem = _problem(error)
        run.end(lambda session: jobs.fail(session, job_id, run.token, problem))
    finally:
        over.set()
        heart.join()


def _heart(run: Run, over: threading.Event) -> None:
    while not over.wait(run.settings.heartbeat_seconds):
        try:
            run.beat()
        except DBAPIError as error:  # the lease outlives some missed beats
            logger.warning("job %s: a heartbeat failed (%s)", run.job_id, error.orig)


def _problem(error: Exception) -> Problem:
    if isinstance(error, Problem):
        return error
    if isinstance(error, NonFiniteLoss):
        return JobFailed(str(error), [("epoch", str(error.epoch)), ("cause", error.cause)])
    if isinstance(error, DataError | LatentError | LimitError):
        return JobFailed(str(error))
    if isinstance(error, OSError):
        return JobFailed(f"a file could not be read or written: {error.strerror or error}")
    if isinstance(error, torch.OutOfMemoryError):
        return JobFailed("the device's memory is full; try a smaller batch_size, or fewer channels or cells")
    last = traceback.extract_tb(error.__traceback__)[-1]
    return JobFailed(f"{type(error).__name__}: {error} (in {last.name})")


def _transient(error: DBAPIError) -> bool:
    return error.connection_invalidated or type(error).__name__ == "OperationalError"


def _device(name: str) -> torch.device:
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)
