"""Everything can be removed once it is over, unless something needs it; what was measured stays."""

from datetime import timedelta

import pytest

from app.upkeep.check import findings
from tests.conftest import ONE_DATABASE, Service

BRIEF = {"epochs": 1, "channels": 4, "cells": 2, "train_images": 96}


@pytest.fixture(autouse=True)
def nothing_is_wrong_afterwards(service: Service) -> object:
    """Looks at all rows and files when the test is over."""
    yield
    lease = service.settings.lease_seconds
    assert list(findings(service.database, service.artifacts, lease, timedelta(0))) == []


def removed(service: Service, path: str) -> int:
    return service.client.delete(path).status_code


def test_a_search_goes_with_its_job_and_leaves_its_genotype(service: Service, digits: str) -> None:
    body = {"dataset": "digits", "method": "random", "recipe": "quick"}
    (job,) = service.post("/v1/searches", body)["items"]
    assert removed(service, job["links"]["search"]) == 409  # it waits for a worker
    assert removed(service, f"/v1/jobs/{job['id']}") == 409
    service.run_jobs()
    found = service.get(job["links"]["search"])["genotype_id"]
    assert removed(service, f"/v1/genotypes/{found}") == 409
    assert removed(service, f"/v1/jobs/{job['id']}") == 409
    assert removed(service, job["links"]["search"]) == 204
    assert service.client.get(f"/v1/jobs/{job['id']}").status_code == 404
    assert service.get(f"/v1/genotypes/{found}")["origin"] == "random"
    assert removed(service, f"/v1/genotypes/{found}") == 204


@ONE_DATABASE
def test_a_training_goes_with_its_evaluation_and_weights(
    service: Service, digits: str, published: list[str]
) -> None:
    body = {"dataset": "digits", "genotypes": published[:1], "recipe": "quick", "overrides": BRIEF}
    (job,) = service.post("/v1/trainings", body)["items"]
    path = job["links"]["training"]
    assert removed(service, path) == 409
    service.run_jobs()
    evaluation = next(e for e in service.get(job["links"]["genotype"])["evaluations"] if e["training_id"])
    assert removed(service, f"/v1/evaluations/{evaluation['id']}") == 409
    files = len(list(service.artifacts.files()))
    assert removed(service, path) == 204
    assert len(list(service.artifacts.files())) == files - 1
    assert service.client.get(f"/v1/evaluations/{evaluation['id']}").status_code == 404
    assert removed(service, path) == 404


@ONE_DATABASE
def test_a_reported_result_is_removed_alone(service: Service, published: list[str]) -> None:
    row = service.get(f"/v1/genotypes/{published[0]}")
    first = row["evaluations"][0]
    assert removed(service, f"/v1/evaluations/{first['id']}") == 204
    assert len(service.get(f"/v1/genotypes/{published[0]}")["evaluations"]) == len(row["evaluations"]) - 1


@ONE_DATABASE
def test_an_experiment_leaves_its_trainings_each_on_its_own(
    service: Service, digits: str, published: list[str]
) -> None:
    arms = [{"kind": "genotypes", "genotypes": published[:2]}]
    body = {"datasets": ["digits"], "recipe": "quick", "overrides": BRIEF, "arms": arms, "name": "two"}
    job = service.post("/v1/experiments", body)
    assert removed(service, "/v1/experiments/two") == 409
    service.run_jobs()
    trainings = service.get("/v1/trainings")["items"]
    assert removed(service, f"/v1/trainings/{trainings[0]['id']}") == 409
    assert removed(service, "/v1/experiments/two") == 204
    assert service.client.get(f"/v1/jobs/{job['id']}").status_code == 404
    left = service.get("/v1/trainings")["items"]
    assert [(row["id"], row["experiment_id"]) for row in left] == [(row["id"], None) for row in trainings]
    assert removed(service, f"/v1/trainings/{left[0]['id']}") == 204


@ONE_DATABASE
def test_a_campaign_goes_with_its_rounds(service: Service, digits: str, published: list[str]) -> None:
    body = {
        "dataset": "digits",
        "budget": {"trainings": 1},
        "recipe": "quick",
        "rungs": 1,
        "overrides": BRIEF,
    }
    job = service.post("/v1/campaigns", body)
    for _ in range(4):
        service.run_jobs()
    assert service.get(f"/v1/jobs/{job['id']}")["status"] == "succeeded"
    assert removed(service, job["links"]["campaign"]) == 204
    assert [row["kind"] for row in service.get("/v1/jobs")["items"]] == ["train"]


def test_a_latent_space_goes_unless_something_was_made_from_it(service: Service, latent_space: str) -> None:
    (ready,) = [row for row in service.get("/v1/latent-spaces")["items"] if row["shipped"]][-1:]
    assert removed(service, f"/v1/latent-spaces/{ready['id']}") == 409
    made = service.post(f"{latent_space}/generate", {"random": "uniform"})["items"]
    assert removed(service, latent_space) == 409
    assert removed(service, f"/v1/genotypes/{made[0]['id']}") == 204
    assert removed(service, latent_space) == 204
    assert service.client.get(latent_space).status_code == 404
