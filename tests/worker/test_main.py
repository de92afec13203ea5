"""A worker process: it waits for the database, takes its kinds, and runs what is due first."""

import threading
import time
from typing import Any

import pytest

from app import database
from app.jobs import queue
from app.jobs.tables import JobKind
from app.settings import Settings
from tests.app.searches.test_endpoints import TINY
from tests.app.test_outages import Proxy, proxied_postgres
from tests.app.test_supervisor import until
from tests.conftest import ONE_DATABASE, Service
from worker import main
from worker.main import Worker

__all__ = ["proxied_postgres"]


def test_a_worker_that_starts_while_the_database_is_away_waits(
    proxied_postgres: tuple[Proxy, str],
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    proxy, url = proxied_postgres
    monkeypatch.setattr(main, "RETRY_SECONDS", 0.05)
    entered: list[str] = []
    proxy.freeze()
    away = settings.model_copy(update={"database_url": url})
    thread = threading.Thread(target=lambda: entered.append(Worker(away).id), daemon=True)
    thread.start()
    time.sleep(2.5 * database.CONNECT_SECONDS)
    assert thread.is_alive()
    proxy.thaw()
    thread.join(300)
    assert len(entered) == 1


@ONE_DATABASE
def test_a_kind_that_there_is_not_is_refused(settings: Settings) -> None:
    with pytest.raises(ValueError, match="'serch'; kinds are search, fit"):
        Worker(settings.model_copy(update={"kinds": ("export", "serch")}))


def all_are_sent(sent: list[Any], count: int) -> None:
    """Waits for the thread that sends what was asked for, then forgets that."""
    until(lambda: len(sent) == count)
    sent.clear()


def test_what_is_due_first_is_run_and_the_other_sent_again(
    service: Service, digits: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[Any] = []
    monkeypatch.setattr(queue, "send", lambda _url, message: sent.append(message) or True)
    common = {"dataset_id": digits, "recipe": "quick"}
    long, short = (
        service.post("/v1/searches", {**common, **more})["items"][0]["id"]
        for more in ({"overrides": TINY}, {"method": "random"})
    )
    all_are_sent(sent, 2)
    worker = Worker(service.settings)
    worker.run_job(long)
    assert service.get(f"/v1/jobs/{short}")["status"] == "succeeded"
    assert service.get(f"/v1/jobs/{long}")["status"] == "queued"
    assert [(message.job_id, message.kind) for message in sent] == [(long, JobKind.SEARCH)]
    worker.run_job(short)  # its own message, which comes later
    assert service.get(f"/v1/jobs/{long}")["status"] == "queued"
    worker.run_job(long)
    assert service.get(f"/v1/jobs/{long}")["status"] == "succeeded"
    assert len(sent) == 1
    worker.leave()


def test_a_worker_leaves_other_kinds_alone_and_a_kind_without_a_worker_is_told(
    service: Service, digits: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[Any] = []
    monkeypatch.setattr(queue, "send", lambda _url, message: sent.append(message) or True)
    body = {"dataset_id": digits, "recipe": "quick", "method": "random"}
    job = service.post("/v1/searches", body)["items"][0]
    impatient = {"kinds": ("export", "fit"), "lost_message_seconds": 0.01}
    worker = Worker(service.settings.model_copy(update=impatient))
    time.sleep(0.1)
    all_are_sent(sent, 1)
    worker.sweep()
    worker.run_job(job["id"])
    assert sent == []
    assert service.get(f"/v1/jobs/{job['id']}")["status"] == "queued"
    ready = service.get("/readyz")
    assert ready["workers"] == 1
    assert "1 jobs of the kind 'search' wait" in ready["warnings"][0]
    other = Worker(service.settings)
    assert service.get("/readyz")["warnings"] == []
    for each in (worker, other):
        each.leave()
