"""Jobs over HTTP."""

import threading
import time

import pytest

from tests.app.searches.test_endpoints import TINY
from tests.conftest import Service


@pytest.fixture
def job(service: Service, digits: str) -> str:
    """The id of a queued search."""
    body = {"dataset_id": digits, "recipe": "quick", "overrides": TINY}
    job_id: str = service.post("/v1/searches", body)["items"][0]["id"]
    return job_id


def test_a_queued_job_is_cancelled_at_once_and_retried(service: Service, job: str) -> None:
    assert service.get(f"/v1/jobs/{job}")["status"] == "queued"
    assert service.post(f"/v1/jobs/{job}/cancel")["status"] == "cancelled"
    assert service.post(f"/v1/jobs/{job}/cancel")["status"] == "cancelled"  # again changes nothing
    assert service.run_jobs() == []
    retried = service.client.post(f"/v1/jobs/{job}/retry")
    assert (retried.status_code, retried.headers["Location"]) == (202, f"/v1/jobs/{job}")
    assert service.run_jobs()[0]["status"] == "succeeded"
    assert service.client.post(f"/v1/jobs/{job}/retry").status_code == 409
    assert service.client.post(f"/v1/jobs/{job}/cancel").status_code == 409


def test_a_running_job_stops_at_its_next_step(service: Service, digits: str) -> None:
    body = {"dataset_id": digits, "recipe": "quick", "overrides": {**TINY, "epochs": 1_000}}
    job_id = service.post("/v1/searches", body)["items"][0]["id"]
    worker = threading.Thread(target=service.run_jobs)
    worker.start()
    while service.get(f"/v1/jobs/{job_id}")["progress"] == 0:
        time.sleep(0.05)
    assert service.post(f"/v1/jobs/{job_id}/cancel")["cancel_requested"]
    worker.join()
    assert service.get(f"/v1/jobs/{job_id}")["status"] == "cancelled"


def test_a_job_asks_to_be_polled_until_it_is_over(service: Service, job: str) -> None:
    assert "Retry-After" in service.client.get(f"/v1/jobs/{job}").headers
    service.run_jobs()
    assert "Retry-After" not in service.client.get(f"/v1/jobs/{job}").headers


def test_events_come_as_pages_and_live(service: Service, job: str) -> None:
    service.run_jobs()
    first = service.get(f"/v1/jobs/{job}/events", limit=2)
    rest = service.get(f"/v1/jobs/{job}/events", cursor=first["next_cursor"])
    events = first["items"] + rest["items"]
    assert [event["type"] for event in events] == ["queued", "started", "progress", "progress", "succeeded"]
    assert rest["next_cursor"] is None
    progress = events[2]["data"]
    assert {"loss", "accuracy", "search_accuracy", "entropy", "skip_connections"} <= set(progress)
    live = service.client.get(
        f"/v1/jobs/{job}/events", headers={"Accept": "text/event-stream", "Last-Event-ID": "3"}
    )
    assert live.headers["content-type"].startswith("text/event-stream")
    assert [line for line in live.text.splitlines() if line.startswith(("id:", "event:"))] == [
        "event: progress",
        "id: 4",
        "event: succeeded",
        "id: 5",
    ]
    assert service.client.get(f"/v1/jobs/{job}/events", params={"cursor": "x"}).status_code == 422


def test_the_list_filters_by_kind_and_status(service: Service, job: str) -> None:
    assert [row["id"] for row in service.get("/v1/jobs", kind="search", status="queued")["items"]] == [job]
    assert service.get("/v1/jobs", kind="train")["items"] == []
    assert service.get("/v1/jobs", status="failed")["items"] == []


def test_a_queued_job_says_how_many_are_before_it(service: Service, digits: str) -> None:
    body = {"dataset_id": digits, "recipe": "quick", "overrides": TINY, "seeds": [1, 2, 3]}
    started = service.post("/v1/searches", body)["items"]
    assert [job["ahead"] for job in started] == [0, 1, 2]
    service.post(f"/v1/jobs/{started[0]['id']}/cancel")
    shown = {job["id"]: job["ahead"] for job in service.get("/v1/jobs")["items"]}
    assert [shown[job["id"]] for job in started] == [None, 0, 1]
    assert service.get(f"/v1/jobs/{started[2]['id']}")["ahead"] == 1
    assert all(job["eta_seconds"] is None for job in started)
