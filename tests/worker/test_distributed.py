"""Trainings in several processes: gloo on the CPU, started by torchrun under the job."""

from dataclasses import replace
from pathlib import Path
from threading import Event
from typing import Any

import pytest
import torch

from app.settings import Settings
from models.datasets.sources import load_digits
from models.genotypes.published import PUBLISHED
from models.trainings.retrain import RECIPES, Training, of_genotype
from tests.conftest import Service
from worker.main import KINDS

TINY = {"channels": 8, "cells": 2, "epochs": 3, "train_images": 512, "batch_size": 64, "learning_rate": 0.02}


@pytest.fixture
def settings(tmp_path: Path, sqlite_url: str, data_root: Path) -> Settings:
    """One database will do: what the processes share with the service is tested on both elsewhere."""
    return Settings(home=tmp_path, database_url=sqlite_url, data_root=data_root, heartbeat_seconds=0.05)


def start(service: Service, dataset_id: str, **overrides: Any) -> Any:
    genotype = service.post("/v1/genotypes/published")["items"][0]["id"]
    body = {
        "dataset_id": dataset_id,
        "genotype_ids": [genotype],
        "recipe": "quick",
        "overrides": {**TINY, **overrides},
    }
    return service.post("/v1/trainings", body)["items"][0]


def test_two_processes_train_as_one_with_the_doubled_batch(service: Service, digits: str) -> None:
    job = start(service, digits, processes=2)
    (done,) = service.run_jobs()
    assert done["status"] == "succeeded", done
    history = service.get(job["links"]["training"])["history"]
    recipe = replace(RECIPES["quick"], **TINY)
    build = of_genotype(PUBLISHED[0].genotype, recipe)
    alone = Training(build, load_digits(), recipe, 2024, torch.device("cpu"))
    expected = [alone.run(lambda: None) for _ in range(3)]
    # float32 rounds the two sums apart, and the steps let it grow; test_world.py compares in float64
    for found, one in zip(history, expected, strict=True):
        assert found["loss"] == pytest.approx(one.loss, rel=0.03)
        assert found["test_accuracy"] == pytest.approx(one.test_accuracy, abs=4)
    assert history[-1]["loss"] < history[0]["loss"]


def test_weights_that_lead_nowhere_hold_no_process_up(service: Service, digits: str) -> None:
    # the convolution into node 1 has no edge that goes on
    cell = {"search_space": "nas-bench-201", "text": "212111"}
    genotype = service.post("/v1/genotypes", cell)["id"]
    overrides = {**TINY, "processes": 2, "epochs": 2}
    body = {"dataset_id": digits, "genotype_ids": [genotype], "recipe": "quick", "overrides": overrides}
    service.post("/v1/trainings", body)
    (done,) = service.run_jobs()
    assert done["status"] == "succeeded", done


def test_a_failure_in_the_processes_fails_the_job_with_its_cause(service: Service, digits: str) -> None:
    # a step multiplies every weight by about -9, which no float32 bears for long
    start(service, digits, processes=2, learning_rate=10.0, weight_decay=0.99, gradient_clip=1000.0, epochs=9)
    (done,) = service.run_jobs()
    assert done["status"] == "failed"
    assert "the training loss is not finite" in done["error"]["detail"]
    assert [error["field"] for error in done["error"]["errors"]] == ["epoch", "cause"]


def test_a_stopped_worker_stops_the_processes_and_the_next_goes_on(service: Service, digits: str) -> None:
    job = start(service, digits, processes=2, epochs=6)
    stopping = Event()

    def stop_after_two(run: Any) -> Any:
        report = run.report

        def reporting(*arguments: Any) -> None:
            report(*arguments)
            if arguments[0] >= 2 / 6:
                stopping.set()

        run.report = reporting
        return KINDS["train"](run)

    service.run_job(job["id"], {"train": stop_after_two}, stopping)
    assert service.get(f"/v1/jobs/{job['id']}")["status"] == "queued"
    (done,) = service.run_jobs()
    assert done["status"] == "succeeded", done
    history = service.get(job["links"]["training"])["history"]
    assert [epoch["epoch"] for epoch in history] == [1, 2, 3, 4, 5, 6]
