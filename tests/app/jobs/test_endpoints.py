"""Jobs over HTTP."""

import threading
import time

import pytest

from app.jobs import workers
from app.jobs.tables import JobKind
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
    assert [job["queue_position"] for job in started] == [0, 1, 2]
    service.post(f"/v1/jobs/{started[0]['id']}/cancel")
    shown = {job["id"]: job["queue_position"] for job in service.get("/v1/jobs")["items"]}
    assert [shown[job["id"]] for job in started] == [None, 0, 1]
    assert service.get(f"/v1/jobs/{started[2]['id']}")["queue_position"] == 1
    assert all(job["eta_seconds"] is None for job in started)


def test_a_get_waits_for_the_end_and_no_longer(service: Service, job: str) -> None:
    began = time.monotonic()
    assert service.get(f"/v1/jobs/{job}", wait=0.3)["status"] == "queued"
    assert time.monotonic() - began >= 0.3
    worker = threading.Thread(target=service.run_job, args=(job,))
    worker.start()
    assert service.get(f"/v1/jobs/{job}", wait=60)["status"] == "succeeded"
    worker.join()
    assert service.get(f"/v1/jobs/{job}", wait=60)["status"] == "succeeded"  # over already: at once
    assert service.client.get("/v1/jobs/job_none?wait=60").status_code == 404
    assert service.client.get(f"/v1/jobs/{job}?wait=61").status_code == 422


def test_a_job_tells_what_was_chosen_and_how_long_it_may_take(service: Service, digits: str) -> None:
    (job,) = service.post("/v1/searches", {"dataset": "digits"})["items"]
    assert job["warnings"] == ["recipe 'quick' was taken, as the request names none and no worker has a GPU"]
    assert job["estimated_seconds"] > 0
    assert service.get(job["links"]["search"])["recipe"] == "quick"
    body = {"dataset": "digits", "recipe": "quick", "overrides": {"epochs": 2, "warmup_epochs": 2}}
    (job,) = service.post("/v1/searches", body)["items"]
    assert "as good as random" in job["warnings"][0]
    assert service.get(f"/v1/jobs/{job['id']}")["warnings"] == job["warnings"]


def test_the_default_recipe_is_that_of_a_gpu_where_a_worker_has_one(service: Service, digits: str) -> None:
    with service.database.session() as session:
        workers.stay(session, workers.enter(session, [JobKind.SEARCH]), gpu_memory=1)
    (job,) = service.post("/v1/searches", {"dataset": "digits"})["items"]
    assert "a worker has a GPU" in job["warnings"][0]
    assert service.get(job["links"]["search"])["recipe"] == "paper-small"
