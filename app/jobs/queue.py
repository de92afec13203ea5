"""The one place that talks to the broker: it sends job ids."""

import logging
from functools import lru_cache
from pathlib import Path
from urllib.parse import urlsplit

from celery import Celery
from kombu.exceptions import OperationalError

logger = logging.getLogger(__name__)

TASK = "run"


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
    app.conf.update(
        task_ignore_result=True,
        task_acks_late=False,
        worker_prefetch_multiplier=1,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        task_publish_retry_policy={"max_retries": 1, "interval_start": 0.1},
    )
    return app


def send(broker_url: str, job_id: str) -> bool:
    """Sends a job's id to the workers; whether the broker took it.

    A broker that does not answer is no error: the job stays queued in the database, and the sweeper
    sends it when the broker is back.
    """
    try:
        celery_app(broker_url).send_task(TASK, args=[job_id])
        return True
    except (OperationalError, OSError) as error:
        logger.warning("job %s was not sent: %s", job_id, error)
        return False
