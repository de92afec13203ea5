"""Searches over HTTP, run by the worker's own code."""

from typing import Any

import pytest

from tests.conftest import ONE_DATABASE, Service

TINY = {"channels": 8, "cells": 2, "epochs": 2, "warmup_epochs": 1, "batch_size": 32, "train_images": 128}


def test_each_seed_is_a_job_that_ends_in_a_genotype(service: Service, digits: str) -> None:
    body = {"dataset_id": digits, "recipe": "quick", "overrides": TINY, "seeds": [1, 2]}
    answer = service.client.post("/v1/searches", json=body)
    assert answer.status_code == 202
    started = answer.json()["items"]
    cells = started[0]["links"]["search"] + "/cells.svg"
    assert service.client.get(cells).status_code == 409  # no epoch is behind it
    assert answer.headers["Location"] == f"/v1/jobs/{started[0]['id']}"
    assert answer.headers["Retry-After"]
    jobs = service.run_jobs()
    assert [job["status"] for job in jobs] == ["succeeded", "succeeded"], jobs
    assert "after epoch 2" in service.client.get(cells).text
    for job, seed in zip(jobs, (1, 2), strict=True):
        assert (job["progress"], job["attempt"]) == (1.0, 1)
        genotype = service.get(job["links"]["genotype"])
        assert (genotype["origin"], genotype["dataset_id"]) == ("searched", digits)
        assert genotype["continuous"] is not None
        assert genotype["evaluations"][0]["kind"] == "search"
        search = service.get(job["links"]["search"])
        assert (search["seed"], search["genotype_id"]) == (seed, genotype["id"])
        assert search["genotype"] is None  # not asked for
        expanded = service.get(job["links"]["search"], expand="genotype")["genotype"]
        assert expanded == {name: genotype[name] for name in expanded}
        assert search["settings"]["channels"] == 8
        assert [epoch["epoch"] for epoch in search["result"]["epochs"]] == [1, 2]
        assert len(search["result"]["epochs"][0]["alphas"]["normal"]) == 14
        assert search["result"]["device"] == "cpu"
        assert search["result"]["search_hours"] > 0
    listed = service.get("/v1/searches", expand="genotype")["items"]
    assert [row["genotype"]["id"] for row in listed] == [row["genotype_id"] for row in listed]
    assert service.client.get("/v1/searches?expand=dataset").status_code == 422
    assert service.get(f"/v1/datasets/{digits}/leaderboard")["items"] == []
    assert not list((service.settings.home / "artifacts" / "jobs").iterdir())  # no checkpoint is left behind


def test_random_search_needs_no_images(service: Service, published: list[str]) -> None:
    imagenet = next(row["id"] for row in service.get("/v1/datasets")["items"] if row["name"] == "imagenet")
    service.post("/v1/searches", {"dataset_id": imagenet, "method": "random", "seeds": [3]})
    (job,) = service.run_jobs()
    assert job["status"] == "succeeded", job
    genotype = service.get(job["links"]["genotype"])
    assert (genotype["origin"], genotype["evaluations"]) == ("random", [])


@pytest.mark.parametrize(
    ("change", "fields"),
    [
        ({"dataset_id": "ds_x"}, ["dataset_id"]),
        ({"recipe": "best"}, ["recipe"]),
        ({"search_space": "nasnet"}, ["search_space"]),
        ({"method": "evolution"}, ["method"]),
        ({"seeds": []}, ["seeds"]),
        ({"seeds": [1, 1]}, ["seeds"]),
        ({"seeds": [-1]}, ["seeds[0]"]),
        ({"overrides": {"epochs": 0}}, ["overrides.epochs"]),
        ({"overrides": {"epochs": "many"}}, ["overrides.epochs"]),
        ({"overrides": {"layers": 8}}, ["overrides.layers"]),
        ({"overrides": {"batch_size": 1000}}, ["dataset_id"]),
        ({"overrides": {"channels": 10}}, ["dataset_id"]),
        ({"overrides": {"max_params": 100_000}}, ["overrides.max_params"]),
        ({"overrides": {"max_skip_connections": -1}}, ["overrides.max_skip_connections"]),
    ],
)
@ONE_DATABASE
def test_a_bad_search_names_the_field_and_starts_nothing(
    service: Service, digits: str, change: dict[str, Any], fields: list[str]
) -> None:
    assert service.refused("/v1/searches", {"dataset_id": digits, "recipe": "quick", **change}) == fields
    assert service.get("/v1/jobs")["items"] == []


def test_a_loss_that_is_not_finite_fails_the_job_with_epoch_and_cause(service: Service, digits: str) -> None:
    overrides = {**TINY, "learning_rate": 10.0, "gradient_clip": 1000.0, "weight_decay": 0.99, "epochs": 30}
    overrides["momentum"] = 0.99
    service.post("/v1/searches", {"dataset_id": digits, "recipe": "quick", "overrides": overrides})
    (job,) = service.run_jobs()
    assert job["status"] == "failed", job
    assert job["error"]["type"] == "urn:vgae-nas:problem:job-failed"
    assert {error["field"] for error in job["error"]["errors"]} == {"epoch", "cause"}
