"""Real worker processes on both kinds of deployment: killed, stopped, and with a broker that forgets."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
import redis
from fastapi.testclient import TestClient

from app.jobs import queue
from app.jobs.tables import JobKind, Message
from app.main import create_app
from app.settings import Settings
from bench.servers import VGAE_NAS, listens
from tests.app.searches.test_endpoints import TINY
from tests.conftest import LONG, Service
from tests.serving import environment_of, migrate

SLOW = {**TINY, "epochs": 8, "channels": 16, "train_images": 256}
"""A search that takes several seconds."""

PATIENCE_SECONDS = 300
"""Without any progress, after which a test gives up."""

FAST_LEASES = {
    "lease_seconds": 3.0,
    "heartbeat_seconds": 0.2,
    "sweep_seconds": 0.5,
    "lost_message_seconds": 1.0,
}


EMBEDDED = pytest.mark.parametrize(
    "settings", ["embedded", pytest.param("production", marks=LONG)], indirect=True
)
PRODUCTION = pytest.mark.parametrize(
    "settings", ["production", pytest.param("embedded", marks=LONG)], indirect=True
)
"""The deployment on which a test runs each time; `make test-long` runs it on the other too."""


@pytest.fixture(params=["embedded", "production"])
def settings(request: pytest.FixtureRequest, tmp_path: Path, data_root: Path) -> Settings:
    """SQLite and a folder as broker, or PostgreSQL and Redis: they differ by URLs alone."""
    urls = {"database_url": request.getfixturevalue("sqlite_url")}
    if request.param == "production":
        urls = {
            "database_url": request.getfixturevalue("postgres_url"),
            "broker_url": request.getfixturevalue("redis_url"),
        }
    return Settings(home=tmp_path, data_root=data_root, **urls, **FAST_LEASES)


@pytest.fixture
def start_worker(settings: Settings, tmp_path: Path) -> Iterator[Callable[[], subprocess.Popen[bytes]]]:
    """Starts worker processes; whatever still lives at the end is killed."""
    names = [*FAST_LEASES, "home", "database_url", "broker_url", "artifacts_url", "data_root"]
    environment = {f"VGAE_NAS_{name.upper()}": str(getattr(settings, name)) for name in names}
    environment["VGAE_NAS_LOG_FORMAT"] = "json"
    started: list[subprocess.Popen[bytes]] = []

    def start() -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "worker.main"]
        with open(tmp_path / f"worker-{len(started)}.log", "wb") as log:
            process = subprocess.Popen(
                command, env={**os.environ, **environment, "OMP_NUM_THREADS": "1"}, stdout=log, stderr=log
            )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()


def search(service: Service, dataset_id: str, overrides: dict[str, Any]) -> str:
    body = {"dataset_id": dataset_id, "recipe": "quick", "overrides": overrides, "seeds": [1]}
    job_id: str = service.post("/v1/searches", body)["items"][0]["id"]
    return job_id


def wait_for(service: Service, job_id: str, there: Callable[[Any], bool]) -> Any:
    return reached(service.client, f"/v1/jobs/{job_id}", there)


def reached(client: httpx.Client, path: str, there: Callable[[Any], bool]) -> Any:
    """The job once it has come so far; gives up only when nothing of it has moved for long."""
    before, moved = None, time.monotonic()
    while time.monotonic() < moved + PATIENCE_SECONDS:
        job = client.get(path).json()
        if there(job):
            return job
        assert job["status"] not in ("failed", "cancelled"), job
        if job != before:
            before, moved = job, time.monotonic()
        time.sleep(0.05)
    raise AssertionError(f"nothing moved for {PATIENCE_SECONDS} s: {job}")


def succeeded(job: Any) -> bool:
    return bool(job["status"] == "succeeded")


def epochs(service: Service, job_id: str) -> list[int]:
    items = service.get(f"/v1/jobs/{job_id}/events", limit=500)["items"]
    return [event["data"]["epoch"] for event in items if event["type"] == "progress"]


def alphas(service: Service, job_id: str) -> Any:
    search_path = service.get(f"/v1/jobs/{job_id}")["links"]["search"]
    return service.get(search_path)["result"]["epochs"][-1]["alphas"]


@PRODUCTION
def test_a_killed_worker_loses_nothing_and_the_search_ends_as_if_never_stopped(
    service: Service, digits: str, start_worker: Callable[[], subprocess.Popen[bytes]]
) -> None:
    job_id = search(service, digits, SLOW)
    first = start_worker()
    wait_for(service, job_id, lambda job: job["progress"] >= 3 / 8)
    first.send_signal(signal.SIGKILL)
    first.wait()
    start_worker()
    job = wait_for(service, job_id, succeeded)
    assert job["attempt"] == 2
    seen = epochs(service, job_id)
    assert sorted(seen) == seen == list(range(1, 9))  # no epoch was done twice
    undisturbed = search(service, digits, SLOW)
    wait_for(service, undisturbed, succeeded)
    assert alphas(service, undisturbed) == alphas(service, job_id)


@PRODUCTION
def test_a_broker_that_forgets_everything_loses_no_job(
    service: Service, settings: Settings, digits: str, start_worker: Callable[[], subprocess.Popen[bytes]]
) -> None:
    jobs = [search(service, digits, TINY) for _ in range(3)]
    if settings.broker_url.startswith("redis"):
        redis.Redis.from_url(settings.broker_url).flushdb()
    else:
        for message in (settings.home / "broker" / "messages").iterdir():
            message.unlink()
    start_worker()
    for job_id in jobs:
        assert wait_for(service, job_id, succeeded)["attempt"] == 1


@EMBEDDED
def test_a_message_delivered_often_to_several_workers_runs_the_job_once(
    service: Service, settings: Settings, digits: str, start_worker: Callable[[], subprocess.Popen[bytes]]
) -> None:
    jobs = [search(service, digits, TINY) for _ in range(3)]
    for _ in range(4):
        for job_id in jobs:
            assert queue.send(settings.broker_url, Message(job_id, JobKind.SEARCH))
    start_worker(), start_worker()
    for job_id in jobs:
        wait_for(service, job_id, succeeded)
    time.sleep(2)  # the messages that are left
    for job_id in jobs:
        types = [event["type"] for event in service.get(f"/v1/jobs/{job_id}/events")["items"]]
        assert types == ["queued", "started", "progress", "progress", "succeeded"]


@PRODUCTION
def test_a_stopped_worker_gives_its_job_back_and_another_goes_on(
    service: Service, digits: str, start_worker: Callable[[], subprocess.Popen[bytes]], tmp_path: Path
) -> None:
    job_id = search(service, digits, SLOW)
    first = start_worker()
    wait_for(service, job_id, lambda job: job["progress"] >= 2 / 8)
    first.send_signal(signal.SIGTERM)
    assert first.wait(timeout=PATIENCE_SECONDS) == 0
    assert service.get(f"/v1/jobs/{job_id}")["status"] == "queued"
    second = start_worker()
    assert wait_for(service, job_id, succeeded)["attempt"] == 1
    second.send_signal(signal.SIGTERM)
    assert second.wait(timeout=PATIENCE_SECONDS) == 0  # and has written the last line of its log
    assert epochs(service, job_id) == list(range(1, 9))
    log = (tmp_path / "worker-1.log").read_text().splitlines()
    told = [json.loads(line) for line in log if line.startswith("{")]
    ours = [line["event"] for line in told if line.get("job_id") == job_id]
    assert any("starts" in event for event in ours)
    assert any("ends" in event for event in ours)


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., tuple[subprocess.Popen[bytes], str]]]:
    """Starts `vgae-nas serve` in the test's folder; gives the process and its address once it listens."""
    environment = environment_of(tmp_path)
    environment |= {f"VGAE_NAS_{name.upper()}": str(value) for name, value in FAST_LEASES.items()}
    servers: list[subprocess.Popen[bytes]] = []

    def start(*options: str) -> tuple[subprocess.Popen[bytes], str]:
        migrate(tmp_path)
        log = tmp_path / "serve.log"
        with log.open("wb") as out:
            server = subprocess.Popen(
                [VGAE_NAS, "serve", "--port", "0", *options], env=environment, stdout=out, stderr=out
            )
        servers.append(server)
        return server, listens(log, server)

    yield start
    for server in servers:
        for process in psutil.Process(server.pid).children() if server.poll() is None else []:
            process.kill()
        server.kill()
        server.wait()


def workers_of(server: "subprocess.Popen[bytes]") -> list[psutil.Process]:
    return [p for p in psutil.Process(server.pid).children() if "worker.main" in " ".join(p.cmdline())]


def test_serve_refuses_a_database_without_a_schema(tmp_path: Path) -> None:
    environment = {**os.environ, "VGAE_NAS_HOME": str(tmp_path)}
    refused = subprocess.run(
        [VGAE_NAS, "serve"], env=environment, capture_output=True, timeout=PATIENCE_SECONDS
    )
    assert refused.returncode == 1
    assert b"vgae-nas migrate" in refused.stderr


def test_serve_starts_a_server_and_its_workers_and_stops_all(
    serve: Callable[..., tuple[subprocess.Popen[bytes], str]],
) -> None:
    server, address = serve("--workers", "2")
    assert httpx.get(f"{address}/healthz", timeout=PATIENCE_SECONDS).json() == {"status": "ok"}
    assert httpx.get(f"{address}/readyz", timeout=PATIENCE_SECONDS).status_code == 200
    family = workers_of(server)
    assert len(family) == 2
    server.send_signal(signal.SIGTERM)
    assert server.wait(timeout=PATIENCE_SECONDS) == 0
    assert not psutil.wait_procs(family, timeout=5)[1]


def test_several_processes_answer_on_one_port_and_tell_their_figures_together(
    serve: Callable[..., tuple[subprocess.Popen[bytes], str]],
) -> None:
    server, url = serve("--workers", "0", "--api-workers", "2")
    transport = httpx.HTTPTransport(retries=20)  # the port is known before the processes listen
    with httpx.Client(base_url=url, timeout=PATIENCE_SECONDS, transport=transport) as client:
        client.get("/readyz").raise_for_status()
        asked = 0
        for _ in range(20):
            with httpx.Client(base_url=url, timeout=PATIENCE_SECONDS) as one:
                asked += one.get("/v1/jobs").status_code == 200
        line = 'http_requests_total{handler="/v1/jobs",method="GET",status="200"} '
        told = [text for text in client.get("/metrics").text.splitlines() if text.startswith(line)]
        assert [float(text.split()[-1]) for text in told] == [asked] == [20.0]
    children = psutil.Process(server.pid).children(recursive=True)
    assert len([child for child in children if "spawn_main" in " ".join(child.cmdline())]) == 2
    server.send_signal(signal.SIGTERM)
    assert server.wait(timeout=PATIENCE_SECONDS) == 0
    _, alive = psutil.wait_procs(children, timeout=PATIENCE_SECONDS)
    assert not [child for child in alive if child.status() != psutil.STATUS_ZOMBIE]


def test_a_worker_that_is_killed_under_serve_is_started_again_and_its_job_ends(
    serve: Callable[..., tuple[subprocess.Popen[bytes], str]],
) -> None:
    server, address = serve("--workers", "1")
    with httpx.Client(base_url=address, timeout=PATIENCE_SECONDS) as client:
        dataset_id = client.post("/v1/datasets", json={"name": "digits"}).json()["id"]
        body = {"dataset_id": dataset_id, "recipe": "quick", "overrides": SLOW, "seeds": [1]}
        path = client.post("/v1/searches", json=body).headers["Location"]
        reached(client, path, lambda job: job["progress"] >= 2 / 8)
        assert client.get("/readyz").json()["workers"] == 1
        (first,) = workers_of(server)
        first.kill()
        done = reached(client, path, lambda job: job["status"] == "succeeded")
        assert done["attempt"] == 2
        (second,) = workers_of(server)
        assert second.pid != first.pid


def test_a_queue_without_a_worker_is_told(
    serve: Callable[..., tuple[subprocess.Popen[bytes], str]],
) -> None:
    _, address = serve("--workers", "0")
    with httpx.Client(base_url=address, timeout=PATIENCE_SECONDS) as client:
        dataset_id = client.post("/v1/datasets", json={"name": "digits"}).json()["id"]
        body = {"dataset_id": dataset_id, "recipe": "quick", "overrides": TINY, "seeds": [1, 2, 3]}
        jobs = client.post("/v1/searches", json=body).json()["items"]
        ready = client.get("/readyz").json()
        assert (ready["status"], ready["workers"], ready["queued_jobs"]) == ("ok", 0, 3)
        assert "3 jobs of the kind 'search' wait and no worker" in ready["warnings"][0]
        assert [job["queue_position"] for job in jobs] == [0, 1, 2]


def test_a_server_without_a_broker_still_takes_jobs(settings: Settings) -> None:
    dead = settings.model_copy(update={"broker_url": "redis://127.0.0.1:1/0"})
    with TestClient(create_app(dead), base_url="http://localhost") as client:
        dataset_id = client.post("/v1/datasets", json={"name": "digits"}).json()["id"]
        body = {"dataset_id": dataset_id, "recipe": "quick", "overrides": TINY}
        answer = client.post("/v1/searches", json=body)
        assert answer.status_code == 202
        assert client.get(answer.headers["Location"]).json()["status"] == "queued"


@EMBEDDED
def test_an_experiment_outlives_a_killed_worker_and_is_shared_by_two(
    service: Service, digits: str, start_worker: Callable[[], subprocess.Popen[bytes]]
) -> None:
    genotypes = [row["id"] for row in service.post("/v1/genotypes/published")["items"]]
    body = {
        "dataset_ids": [digits],
        "recipe": "quick",
        "overrides": {"channels": 8, "cells": 2, "epochs": 4, "train_images": 256},
        "arms": [
            {"kind": "genotypes", "genotype_ids": genotypes[:3]},
            {"kind": "reference", "model": "mobilenet_v3_small"},
        ],
    }
    job = service.post("/v1/experiments", body)
    first = start_worker()
    wait_for(service, job["id"], lambda job: job["progress"] > 0)
    first.send_signal(signal.SIGKILL)
    first.wait()
    start_worker()
    start_worker()
    done = wait_for(service, job["id"], succeeded)
    assert done["result"] == {"succeeded": 4, "failed": 0, "cancelled": 0}
    assert [row["n"] for row in service.get(job["links"]["table"])["items"]] == [3, 1]


@PRODUCTION
def test_a_campaign_outlives_a_killed_worker_and_is_shared_by_two(
    service: Service, digits: str, start_worker: Callable[[], subprocess.Popen[bytes]]
) -> None:
    body = {
        "dataset_id": digits,
        "budget": {"trainings": 4},
        "recipe": "quick",
        "overrides": {"channels": 8, "cells": 2, "epochs": 3, "train_images": 256},
        "compare": "random",
    }
    job = service.post("/v1/campaigns", body)
    first = start_worker()
    wait_for(service, job["id"], lambda job: job["progress"] > 0)
    first.send_signal(signal.SIGKILL)
    first.wait()
    start_worker()
    start_worker()
    done = wait_for(service, job["id"], succeeded)
    items = service.get(job["links"]["table"])["items"]
    assert done["result"] == {"succeeded": len(items), "failed": 0, "cancelled": 0}
    for arm in ("ours", "random"):
        used = [row["trainings"] for row in items if row["arm"] == arm]
        assert 2.5 < used[-1] <= 4
    ids = {(row["arm"], row["genotype_id"], row["epochs"]) for row in items}
    assert len(ids) == len(items)  # nothing is trained twice
