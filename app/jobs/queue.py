"""The one place that talks to the broker: it sends job ids, each into the queue of its kind."""

import logging
import threading
from collections.abc import Sequence
from functools import cache, lru_cache
from pathlib import Path
from queue import Empty, Full, Queue
from urllib.parse import urlsplit

from celery import Celery
from kombu.exceptions import OperationalError
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from app.jobs.tables import JobKind, Message

logger = logging.getLogger(__name__)

TASK = "run"

BROKER_SECONDS = 5.0
"""Time in which a broker must answer; one that hangs is taken for one that is away."""

ANSWER_SECONDS = 1.0
"""Time in which a broker must answer whoever asks whether it is there."""

MOST_WAITING = 10_000
"""Ids that wait to be sent; what is more is sent by the sweeper, as what a broker did not take."""


@lru_cache
def celery_app(broker_url: str) -> Celery:
    """The Celery application of a broker.

    Messages are acknowledged early and results are not kept: the job's row holds the truth, and a
    lost message is sent again by the sweeper.
    """
    app = Celery("vgae-nas", broker=broker_url)
    if broker_url.startswith("filesystem://"):
        folder = Path(urlsplit(broker_url).path)
        for name in ("messages", "control"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        app.conf.broker_url = "filesystem://"
        app.conf.broker_transport_options = {
            "data_folder_in": str(folder / "messages"),
            "data_folder_out": str(folder / "messages"),
            "control_folder": str(folder / "control"),
        }
    elif broker_url.startswith("redis"):
        app.conf.broker_transport_options = {
            "socket_timeout": BROKER_SECONDS,
            "socket_connect_timeout": BROKER_SECONDS,
            "health_check_interval": 30,
        }
    app.conf.update(
        broker_connection_timeout=BROKER_SECONDS,
        task_ignore_result=True,
        task_acks_late=False,
        worker_prefetch_multiplier=1,
        worker_hijack_root_logger=False,  # the log is `app.logs`'s
        worker_redirect_stdouts=False,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        task_publish_retry_policy={"max_retries": 1, "interval_start": 0.1},
    )
    return app


def answers(broker_url: str) -> bool:
    """Whether the broker answers within a moment; one of files always does."""
    if not broker_url.startswith("redis"):
        return True
    try:
        return bool(_redis(broker_url).ping())
    except RedisError as error:
        logger.warning("the broker does not answer (%s)", error)
        return False


@cache
def _redis(broker_url: str) -> Redis:
    return Redis.from_url(
        broker_url,
        socket_timeout=ANSWER_SECONDS,
        socket_connect_timeout=ANSWER_SECONDS,
        retry=Retry(NoBackoff(), 0),
    )


def name(kind: JobKind) -> str:
    """The name of a kind's queue."""
    return f"jobs.{kind}"


def send(broker_url: str, message: Message) -> bool:
    """Sends a job's id to the workers of its kind; whether the broker took it.

    A broker that does not answer is no error: the job stays queued in the database, and the sweeper
    sends it when the broker is back.
    """
    try:
        celery_app(broker_url).send_task(TASK, args=[message.job_id], queue=name(message.kind))
        return True
    except (OperationalError, OSError) as error:
        logger.warning("job %s was not sent: %s", message.job_id, error)
        return False


class Sender:
    """Sends ids in a thread of its own, so that no request waits for a broker.

    While the broker does not take one, those behind it are left to the sweeper.

    Args:
        broker_url: of the broker.
    """

    def __init__(self, broker_url: str) -> None:
        self.broker_url = broker_url
        self._waiting: Queue[Message | None] = Queue(MOST_WAITING)
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()

    def send(self, messages: Sequence[Message]) -> None:
        """Takes what is to be sent for committed jobs, and returns at once."""
        with self._starting:
            if self._thread is None:
                self._thread = threading.Thread(target=self._send_until_closed, daemon=True)
                self._thread.start()
        for message in messages:
            try:
                self._waiting.put_nowait(message)
            except Full:
                logger.warning("job %s is left to the sweeper: too many wait to be sent", message.job_id)

    def close(self) -> None:
        """Sends what waits, unless the broker is away, and stops."""
        if self._thread is not None:
            self._waiting.put(None)
            self._thread.join(2 * BROKER_SECONDS)

    def _send_until_closed(self) -> None:
        while (message := self._waiting.get()) is not None:
            if not send(self.broker_url, message) and self._forget():
                return

    def _forget(self) -> bool:
        """Leaves what waits to the sweeper; whether the end is among it."""
        try:
            while self._waiting.get_nowait() is not None:
                pass
        except Empty:
            return False
        return True
