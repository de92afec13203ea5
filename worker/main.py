"""The Celery entry point: `python -m worker.main`, any number of them.

Each process runs one job at a time (pool `solo`), so that a job has the whole device and no fork
meets torch's threads. A second thread sweeps for lost jobs.
"""

import logging
import signal
import sys
import threading
import time
from collections.abc import Collection
from contextlib import suppress
from datetime import timedelta
from typing import Any

from celery import Celery
from celery.signals import worker_shutting_down
from prometheus_client import start_http_server
from sqlalchemy.exc import DBAPIError, OperationalError

from app import logs
from app import tables as tables  # so that the metadata knows every table
from app.artifacts import Artifacts
from app.database import Database, SchemaError, now
from app.jobs import queue, workers
from app.jobs import service as jobs
from app.jobs.tables import Job, JobKind
from app.metrics import LEASES_LOST
from app.settings import Settings, get_settings
from app.upkeep.files import remove_orphans
from worker import distances, export, fit, memory, round, search, train
from worker.runner import Kind, execute

logger = logging.getLogger(__name__)

KINDS: dict[JobKind, Kind] = {
    JobKind.SEARCH: search.run,
    JobKind.FIT: fit.run,
    JobKind.TRAIN: train.run,
    JobKind.EXPORT: export.run,
    JobKind.DISTANCES: distances.run,
    JobKind.ROUND: round.run,
}

RESENT_AT_ONCE = 20
"""Lost messages that one sweep sends again."""

RETRY_SECONDS = 2.0
"""Seconds between two attempts to reach the database at the start."""

PATIENCE = 6
"""How much longer than a request a worker waits for a statement, as it writes more at once."""


class Worker:
    """One worker process. While the database is away it waits.

    Args:
        settings: of the service.

    Raises:
        SchemaError: the database's schema is not at head.
        ValueError: a kind of jobs that there is not.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings, self.kinds = settings, _kinds(settings.kinds)
        self.database = Database(settings.database_url, PATIENCE * settings.answer_seconds)
        self.artifacts = Artifacts(settings.artifacts_url)
        self.stopping, self.busy = threading.Event(), threading.Event()
        self.id = self._enter()

    def _enter(self) -> str:
        while True:
            try:
                self.database.require_head()
                with self.database.session() as session:
                    return workers.enter(session, self.kinds)
            except OperationalError as error:
                logger.warning("the database does not answer; the worker waits (%s)", error.orig)
                time.sleep(RETRY_SECONDS)

    def run_job(self, job_id: str) -> None:
        """Runs the job that is due first, now that the message of one has come."""
        if self.stopping.is_set():
            return  # the sweeper of another worker sends it again
        self.busy.set()
        try:
            job = self._claim(job_id)
            if job is None:
                logger.info("job %s is not to be run", job_id)
                return
            execute(job, self.kinds, self.database, self.artifacts, self.settings, self.stopping)
        finally:
            memory.give_back()
            self.busy.clear()

    def _claim(self, job_id: str) -> Job | None:
        """Takes the job that is due first, and sends the message again if that is another's."""
        while True:
            with self.database.session() as session:
                due = jobs.first(session, job_id, self.kinds)
                job = None if due is None else jobs.claim(session, due, self.settings.lease_seconds)
                if due is None or job is not None:
                    break
        if job is not None and job.id != job_id:
            with self.database.session(reads_only=True) as session:
                message = jobs.get(session, job_id).message
            queue.send(self.settings.broker_url, message)
        return job

    def sweep(self) -> None:
        """Sends again what was put back, and what waits although this worker is idle.

        An idle worker takes every message there is, so a job that stays queued beside it has lost its
        own. A busy one cannot tell, and leaves those to others.
        """
        began = now()
        with self.database.session() as session:
            workers.stay(session, self.id, memory.of_gpu())
            lost = jobs.expire(session, self.settings.max_attempts, began)
            expired = len(lost)
            if not self.busy.is_set():
                patience = timedelta(seconds=self.settings.lost_message_seconds)
                lost += jobs.unsent(session, self.kinds, now() - patience, RESENT_AT_ONCE)
        for message in lost[:expired]:
            LEASES_LOST.labels(message.kind).inc()
        for message in lost:
            logger.warning("job %s is sent again", message.job_id)
            if not queue.send(self.settings.broker_url, message):
                return  # the broker is away; a later sweep sends the others

    def leave(self) -> None:
        """Says that this worker has stopped."""
        with suppress(DBAPIError), self.database.session() as session:
            workers.leave(session, self.id)

    def tidy_until_stopped(self) -> None:
        """Removes files that nothing refers to, now and then, for as long as the process lives."""
        age = self.settings.orphan_seconds
        while not self.stopping.wait(age / 4):
            try:
                remove_orphans(self.database, self.artifacts, timedelta(seconds=age))
            except (DBAPIError, OSError) as error:
                logger.warning("files could not be tidied (%s)", error)

    def sweep_until_stopped(self) -> None:
        """Sweeps for as long as the process lives."""
        while not self.stopping.wait(self.settings.sweep_seconds):
            try:
                self.sweep()
            except DBAPIError as error:
                logger.warning("a sweep failed (%s)", error.orig)


def _kinds(names: Collection[str]) -> dict[JobKind, Kind]:
    unknown = sorted(set(names) - set(KINDS))
    if unknown:
        raise ValueError(f"there are no jobs of the kind {unknown[0]!r}; kinds are {', '.join(KINDS)}")
    return {kind: run for kind, run in KINDS.items() if not names or kind in names}


def build(settings: Settings) -> tuple[Worker, Celery]:
    """A worker and the Celery application that feeds it."""
    worker = Worker(settings)
    celery = queue.celery_app(settings.broker_url)

    @celery.task(name=queue.TASK)  # type: ignore[untyped-decorator]
    def run(job_id: str) -> None:
        worker.run_job(job_id)

    @worker_shutting_down.connect(weak=False)  # type: ignore[untyped-decorator]
    def stop(**_: Any) -> None:
        worker.stopping.set()

    return worker, celery


def main() -> None:
    """Runs until a signal; SIGTERM puts the job in hand back to the queue first."""
    settings = get_settings()
    logs.configure(settings.log_format, settings.log_level)
    memory.keep_freed()
    if settings.metrics_port:
        start_http_server(settings.metrics_port)
    try:
        worker, celery = build(settings)
    except (SchemaError, ValueError) as error:
        sys.exit(str(error))
    for task in (worker.sweep_until_stopped, worker.tidy_until_stopped):
        threading.Thread(target=task, daemon=True).start()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    options = [
        "--pool=solo",
        f"--queues={','.join(queue.name(kind) for kind in worker.kinds)}",
        f"--loglevel={settings.log_level}",
        "--without-gossip",
        "--without-mingle",
        "--without-heartbeat",
    ]
    try:
        celery.worker_main(["--quiet", "worker", *options])
    finally:
        worker.leave()
    sys.exit(0)


if __name__ == "__main__":
    main()
