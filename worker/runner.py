"""Claim, heartbeat, checkpoint, cancel, finish: one path for every kind of job."""

import logging
import re
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from app import logs, owners
from app.artifacts import Artifacts
from app.database import Database
from app.jobs import parents, queue
from app.jobs import service as jobs
from app.jobs.tables import Job, JobKind
from app.metrics import JOB_SECONDS
from app.problems import JobFailed, Problem
from app.settings import Settings
from models.datasets.data import DataError
from models.errors import LatentError, NonFiniteLoss
from models.searches.limits import LimitError
from models.trainer import Trainer
from worker.pace import Pace
from worker.threads import Threads, restored

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
        self.message = job.message
        self.attempt, self.checkpoint_key = job.attempt, job.checkpoint_key
        self.database, self.artifacts, self.settings = database, artifacts, settings
        self.device = _device(settings.device)
        self.stopping = stopping
        self.cancelled, self.lost = threading.Event(), threading.Event()
        self.progress, self.step, self.pace = job.progress, "starting", Pace()
        self.threads = Threads(torch.get_num_threads() if self.device.type == "cpu" else 1)
        self._writing = threading.Lock()  # of progress, so that an older one does not follow a newer

    def epochs(
        self,
        trainer: Trainer,
        kept: Callable[[], dict[str, Any]] = dict,
        told: Callable[[], dict[str, Any]] = dict,
    ) -> "Trained":
        """Trains to the end, from the last checkpoint if there is one, with a checkpoint after each report.

        Args:
            trainer: at its start.
            kept: what the history keeps of a report beside its own fields.
            told: what the event of a report tells beside its own fields.
        """
        history: list[dict[str, Any]] = []
        seconds = 0.0
        state = self.load_checkpoint()
        if state is not None and "trainer" not in state:
            logger.warning("job %s: its checkpoint is of an earlier version; it starts anew", self.job_id)
        elif state is not None:
            trainer.load_state_dict(state["trainer"])
            history, seconds = state["history"], state["seconds"]
        while not trainer.done:
            began = time.monotonic()
            report = trainer.run(partial(self._between_steps, trainer)).as_dict()
            seconds += time.monotonic() - began
            history.append({**report, **kept()})
            self.report(
                trainer.progress,
                f"epoch {trainer.epoch} of {trainer.epochs}",
                {**report, **told()},
                {"trainer": trainer.state_dict(), "history": history, "seconds": seconds},
            )
        return Trained(history, seconds)

    def _between_steps(self, trainer: Trainer) -> None:
        self.check()
        self.progress, self.step = trainer.progress, f"epoch {trainer.epoch + 1} of {trainer.epochs}"
        self.pace.at(self.progress)
        if self.threads.tick():
            chosen = {"threads": self.threads.chosen, "step_seconds": self.threads.seconds}
            logger.info("job %s: %s", self.job_id, chosen)
            self.report(self.progress, self.step, chosen, type="threads")

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
        type: str = "progress",
    ) -> None:
        """Writes how far the job is, with an event and a checkpoint if given.

        The checkpoint's key is this lease's own, and the row points to it only while the lease is
        held: a worker that lost its lease cannot spoil its successor's.

        Args:
            progress: from 0 to 1.
            step: what was done, in a line.
            event: data of an event.
            checkpoint: tensors and plain values.
            type: of the event.
        """
        key = None
        if checkpoint is not None:
            key = f"jobs/{self.job_id}/{self.token}.pt"
            self.artifacts.put_tensors(key, checkpoint)
        noted = (type, event) if event is not None else None

        def write(session: Session) -> bool:
            return jobs.report(
                session,
                self.job_id,
                self.token,
                progress=progress,
                step=step,
                eta_at=self.pace.eta_at(),
                event=noted,
                checkpoint_key=key,
            )

        self.progress, self.step = progress, step
        with self._writing:
            held = self._patiently(write)
        if not held:
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

    def end(self, write: Callable[[Session], bool]) -> bool:
        """Ends the run by another of the service's changes; whether the lease was still held."""
        held = self._patiently(write)
        if not held:
            logger.warning("job %s: its lease was lost", self.job_id)
        return held

    def beat(self) -> None:
        """One heartbeat, which tells how far the job is; notes a lost lease or a requested cancel."""
        with self._writing, self.database.session() as session:
            requested = jobs.heartbeat(
                session,
                self.job_id,
                self.token,
                self.settings.lease_seconds,
                progress=self.progress,
                step=self.step,
                eta_at=self.pace.eta_at(),
            )
        if requested is None:
            self.lost.set()
        elif requested:
            self.cancelled.set()

    @contextmanager
    def heartbeat(self) -> Iterator[None]:
        """Beats in a thread of its own for as long as the context lasts."""
        over = threading.Event()

        def beat_until_over() -> None:
            while not over.wait(self.settings.heartbeat_seconds):
                try:
                    self.beat()
                except DBAPIError as error:  # the lease outlives some missed beats
                    logger.warning("job %s: a heartbeat failed (%s)", self.job_id, error.orig)

        heart = threading.Thread(target=beat_until_over, daemon=True)
        heart.start()
        try:
            yield
        finally:
            over.set()
            heart.join()

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


@dataclass(frozen=True)
class Trained:
    """A training that is at its end.

    Args:
        history: every report, in order.
        seconds: that it took, over all attempts.
    """

    history: list[dict[str, Any]]
    seconds: float


def execute(
    job: Job,
    kinds: Mapping[JobKind, Kind],
    database: Database,
    artifacts: Artifacts,
    settings: Settings,
    stopping: threading.Event,
) -> None:
    """Runs a job to its end, or until it is cancelled, lost or put back.

    Args:
        job: as claimed.
        kinds: what runs each kind.
        database, artifacts, settings: of the worker.
        stopping: set when the worker is asked to stop.
    """
    logs.bind(job_id=job.id, request_id=job.request_id)
    run = Run(job, database, artifacts, settings, stopping)
    logger.info("job %s (%s) starts, attempt %d", job.id, job.kind, job.attempt)
    began = time.monotonic()
    with run.heartbeat(), restored(), owners.acting(job.owner):
        _run_to_its_end(run, kinds[job.kind])
    with database.session(reads_only=True) as session:
        added, status = parents.added(session, job.id), jobs.get(session, job.id).status
    JOB_SECONDS.labels(job.kind, status).observe(time.monotonic() - began)
    for part in added:  # at once; what is sent twice is run once
        queue.send(settings.broker_url, part)
    logger.info("job %s (%s) ends after %.1f s", job.id, job.kind, time.monotonic() - began)
    logs.unbind()


def _run_to_its_end(run: Run, kind: Kind) -> None:
    job_id = run.job_id
    try:
        run.finish(kind(run))
    except LeaseLost:
        logger.warning("job %s: its lease was lost", job_id)
    except Cancelled:
        run.end(lambda session: jobs.finish_cancel(session, job_id, run.token))
    except Stopping:
        if run.end(lambda session: jobs.put_back(session, job_id, run.token, "its worker was stopped")):
            queue.send(run.settings.broker_url, run.message)  # an idle worker goes on with it at once
    except Exception as error:
        logger.error("job %s failed", job_id, exc_info=error)
        problem = _problem(error)
        run.end(lambda session: jobs.fail(session, job_id, run.token, problem))


def _problem(error: Exception) -> Problem:
    if isinstance(error, Problem):
        return error
    if isinstance(error, NonFiniteLoss):
        return JobFailed(str(error), [("epoch", str(error.epoch)), ("cause", error.cause)])
    if isinstance(error, DataError | LatentError | LimitError):
        return JobFailed(str(error))
    if isinstance(error, OSError):
        reason = error.strerror or without_paths(str(error))
        return JobFailed(f"a file could not be read or written: {reason}")
    if isinstance(error, torch.OutOfMemoryError):
        return JobFailed("the device's memory is full; try a smaller batch_size, or fewer channels or cells")
    last = traceback.extract_tb(error.__traceback__)[-1]
    return JobFailed(f"{type(error).__name__}: {without_paths(str(error))} (in {last.name})")


def without_paths(text: str) -> str:
    """A text in which each path of this machine is its last name alone: clients see it."""
    return re.sub(r"(?<![\w/:.])/(?:[^\s/'\":,;)]+/)+([^\s/'\":,;)]*)", r"\1", text)


def _transient(error: DBAPIError) -> bool:
    return error.connection_invalidated or type(error).__name__ == "OperationalError"


def _device(name: str) -> torch.device:
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)
