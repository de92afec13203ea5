"""The Celery entry point: `python -m worker.main`, any number of them.

Each process runs one job at a time (pool `solo`), so that a job has the whole device and no fork
meets torch's threads. A second thread sweeps for lost jobs.
"""

import logging
import signal
import sys
import threading
from contextlib import suppress
from datetime import timedelta
from typing import Any

from celery import Celery
from celery.signals import worker_shutting_down
from sqlalchemy.exc import DBAPIError

from app import tables as tables  # so that the metadata knows every table
from app.artifacts import Artifacts
from app.database import Database, now
from app.jobs import queue, workers
from app.jobs import service as jobs
from app.jobs.tables import JobKind
from app.settings import Settings, get_settings
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


PATIENCE = 6
"""How much longer than a request a worker waits for a statement, as it writes more at once."""


class Worker:
    """One worker process.

    Args:
        settings: of the service.

    Raises:
        SchemaError: the database's schema is not at head.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.database = Database(settings.database_url, PATIENCE * settings.answer_seconds)
        self.database.require_head()
        self.artifacts = Artifacts(settings.artifacts_url)
        self.stopping, self.busy = threading.Event(), threading.Event()
        with self.database.session() as session:
            self.id = workers.enter(session)

    def run_job(self, job_id: str) -> None:
        """Runs one job from its message."""
        if self.stopping.is_set():
            return  # the sweeper of another worker sends it again
        self.busy.set()
        try:
            execute(job_id, KINDS, self.database, self.artifacts, self.settings, self.stopping)
        finally:
            memory.give_back()
            self.busy.clear()

    def sweep(self) -> None:
        """Sends again what was put back, and what waits although this worker is idle.

        An idle worker takes every message there is, so a job that stays queued beside it has lost its
        own. A busy one cannot tell, and leaves those to others.
        """
        began = now()
        with self.database.session() as session:
            workers.stay(session, self.id)
            lost = jobs.expire(session, self.settings.max_attempts, began)
            if not self.busy.is_set():
                patience = timedelta(seconds=self.settings.lost_message_seconds)
                lost += jobs.unsent(session, now() - patience, RESENT_AT_ONCE)
        for job_id in lost:
            logger.warning("job %s is sent again", job_id)
            if not queue.send(self.settings.broker_url, job_id):
                return  # the broker is away; a later sweep sends the others

    def leave(self) -> None:
        """Says that this worker has stopped."""
        with suppress(DBAPIError), self.database.session() as session:
            workers.leave(session, self.id)

    def sweep_until_stopped(self) -> None:
        """Sweeps for as long as the process lives."""
        while not self.stopping.wait(self.settings.sweep_seconds):
            try:
                self.sweep()
            except DBAPIError as error:
                logger.warning("a sweep failed (%s)", error.orig)


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
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    memory.keep_freed()
    worker, celery = build(get_settings())
    threading.Thread(target=worker.sweep_until_stopped, daemon=True).start()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    options = [
        "--pool=solo",
        "--loglevel=INFO",
        "--without-gossip",
        "--without-mingle",
        "--without-heartbeat",
    ]
    try:
        celery.worker_main(["worker", *options])
    finally:
        worker.leave()
    sys.exit(0)


if __name__ == "__main__":
    main()
