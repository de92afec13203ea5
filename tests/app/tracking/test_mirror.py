"""Jobs as runs of a real MLflow server: parameters, metrics by epoch, ends, and the exported model."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from mlflow import MlflowClient

from app.settings import Settings
from app.tracking import mirror
from app.tracking.mirror import Mirror
from bench.servers import free_port
from tests.conftest import ONE_DATABASE, Service
from tests.serving import PATIENCE_SECONDS

BRIEF = {"epochs": 3, "channels": 4, "cells": 2, "train_images": 96}


@pytest.fixture(scope="module")
def mlflow_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of an MLflow server of its own."""
    home = tmp_path_factory.mktemp("mlflow")
    url = f"http://127.0.0.1:{(port := free_port())}"
    command = [str(Path(sys.executable).parent / "mlflow"), "server", "--port", str(port), "--workers", "1"]
    command += [
        "--backend-store-uri",
        f"sqlite:///{home}/mlflow.db",
        "--artifacts-destination",
        str(home / "files"),
    ]
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    with open(home / "log", "wb") as log:
        server = subprocess.Popen(command, env=environment, stdout=log, stderr=log, cwd=home)
    patience = time.monotonic() + PATIENCE_SECONDS
    while True:
        assert server.poll() is None, (home / "log").read_text()
        assert time.monotonic() < patience, (home / "log").read_text()
        try:
            if httpx2.get(f"{url}/health", timeout=5).is_success:
                break
        except httpx2.TransportError:
            time.sleep(0.2)
    yield url
    server.terminate()
    server.wait(60)


@pytest.fixture
def settings(settings: Settings, mlflow_url: str, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """The service's own thread leaves the sending to the test."""
    monkeypatch.setattr(mirror, "POLL_SECONDS", 3_600.0)
    return settings.model_copy(update={"mlflow_url": mlflow_url})


@ONE_DATABASE
def test_jobs_are_runs_with_parameters_metrics_and_models(
    service: Service, settings: Settings, digits: str, published: list[str]
) -> None:
    sending = Mirror(service.database, settings, service.artifacts)
    client = MlflowClient(tracking_uri=settings.mlflow_url, registry_uri=settings.mlflow_url)

    def run(job_id: str) -> object:
        experiment = client.get_experiment_by_name(mirror.EXPERIMENT)
        (found,) = client.search_runs([experiment.experiment_id], f"tags.`vgae_nas.job_id` = '{job_id}'")
        return found

    body = {"dataset": "digits", "genotypes": published[:1], "recipe": "quick", "overrides": BRIEF}
    (job,) = service.post("/v1/trainings", body)["items"]
    assert sending.once() == 1
    waiting = run(job["id"])
    assert waiting.info.status == "RUNNING"  # type: ignore[attr-defined]
    service.run_jobs()
    assert sending.once() == 1
    assert sending.once() == 0
    done = run(job["id"])
    assert done.info.status == "FINISHED"  # type: ignore[attr-defined]
    told = done.data.params  # type: ignore[attr-defined]
    assert (told["dataset"], told["recipe"], told["epochs"], told["channels"]) == (
        "digits",
        "quick",
        "3",
        "4",
    )
    events = [e for e in service.get(f"/v1/jobs/{job['id']}/events")["items"] if e["type"] == "progress"]
    history = client.get_metric_history(done.info.run_id, "test_accuracy")  # type: ignore[attr-defined]
    by_epoch = {metric.step: metric.value for metric in history if metric.step}
    assert by_epoch == {event["data"]["epoch"]: event["data"]["test_accuracy"] for event in events}
    service.exported(f"{job['links']['training']}/model.zip")
    assert sending.once() == 1
    files = {file.path for file in client.list_artifacts(done.info.run_id, "model")}  # type: ignore[attr-defined]
    assert {"model/model.onnx", "model/MLmodel", "model/README.md"} <= files
    (version,) = client.search_model_versions("name = 'vgae-nas-digits'")
    assert version.run_id == done.info.run_id  # type: ignore[attr-defined]


@ONE_DATABASE
def test_a_search_and_a_cancelled_job_are_runs_too(service: Service, settings: Settings, digits: str) -> None:
    sending = Mirror(service.database, settings, service.artifacts)
    client = MlflowClient(tracking_uri=settings.mlflow_url)
    body = {"dataset": "digits", "recipe": "quick", "overrides": {"epochs": 2, "channels": 4, "cells": 3}}
    first, second = (service.post("/v1/searches", body)["items"][0]["id"] for _ in range(2))
    service.post(f"/v1/jobs/{second}/cancel")
    service.run_jobs()
    assert sending.once() == 2
    experiment = client.get_experiment_by_name(mirror.EXPERIMENT).experiment_id
    ends = {r.data.tags["vgae_nas.job_id"]: r.info.status for r in client.search_runs([experiment])}
    assert (ends[first], ends[second]) == ("FINISHED", "KILLED")


@ONE_DATABASE
def test_a_server_that_is_away_delays_nothing_and_gets_all_of_it_later(
    service: Service, settings: Settings, digits: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    body = {"dataset": "digits", "recipe": "quick", "overrides": {"epochs": 2, "channels": 4, "cells": 3}}
    away = settings.model_copy(update={"mlflow_url": f"http://127.0.0.1:{free_port()}"})
    nobody, sending = (Mirror(service.database, each, service.artifacts) for each in (away, settings))
    (job,) = service.post("/v1/searches", body)["items"]
    with pytest.raises(Exception, match="refused"):
        nobody.once()
    service.run_jobs()
    assert service.get(f"/v1/jobs/{job['id']}")["status"] == "succeeded"
    assert sending.once() == 1
