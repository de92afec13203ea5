"""Owners: a key sees what it made and what is shared, everywhere, and nothing else."""

import re
from typing import Any

import pytest

from app.keys import guard, service
from app.keys.schemas import KeyIn
from tests.app.proposals.test_endpoints import photos
from tests.conftest import ONE_DATABASE, Service

BRIEF = {"epochs": 1, "channels": 4, "cells": 2, "train_images": 96}


class Caller:
    """A client with a key of its own."""

    def __init__(self, running: Service, name: str, scope: str = "write") -> None:
        with running.database.session() as session:
            _, text = service.create(session, KeyIn.model_validate({"name": name, "scope": scope}))
        self.client, self.headers = running.client, {"Authorization": f"Bearer {text}"}

    def get(self, path: str, status: int = 200, **params: Any) -> Any:
        answer = self.client.get(path, params=params, headers=self.headers)
        assert answer.status_code == status, answer.text
        return answer.json()

    def post(self, path: str, body: Any = None, status: int | None = None) -> Any:
        answer = self.client.post(path, json=body, headers=self.headers)
        assert answer.is_success if status is None else answer.status_code == status, answer.text
        return answer.json()

    def patch(self, path: str, body: Any) -> Any:
        answer = self.client.patch(path, json=body, headers=self.headers)
        assert answer.is_success, answer.text
        return answer.json()

    def ids(self, path: str, **params: Any) -> set[str]:
        return {row["id"] for row in self.get(path, **params)["items"]}


@pytest.fixture
def callers(service: Service, monkeypatch: pytest.MonkeyPatch) -> tuple[Caller, Caller, Caller]:
    """Two that write, and an admin; what is shared was there before."""
    monkeypatch.setattr(guard, "FRESH_SECONDS", 0.0)
    service.post("/v1/genotypes/published")
    service.post("/v1/datasets", {"name": "digits"})
    return Caller(service, "anna"), Caller(service, "ben"), Caller(service, "root", "admin")


def everything(anna: Caller, service: Service) -> dict[str, str]:
    """One of each thing, made by Anna; their ids."""
    genotype = anna.get("/v1/genotypes/DARTS-V2")["text"]
    reported = {"dataset": "digits", "test_accuracy": 97.0}
    own = anna.post("/v1/genotypes", {"text": genotype, "name": "anna's", "evaluation": reported})
    proposal = anna.post("/v1/proposals", {"dataset": "digits", "count": 1, "overrides": BRIEF})
    search = anna.post("/v1/searches", {"dataset": "digits", "method": "random"})["items"][0]
    space = anna.post(
        "/v1/latent-spaces", {"members": {"origin": "published"}, "overrides": {"max_epochs": 1}}
    )
    experiment = anna.post("/v1/experiments", {"proposal": proposal["id"]})
    campaign = anna.post(
        "/v1/campaigns",
        {"dataset": "digits", "budget": {"trainings": 1}, "overrides": BRIEF, "recipe": "quick"},
    )
    hook = anna.post("/v1/webhooks", {"url": "https://example.org/x"})
    service.client.headers.update(anna.headers)
    for _ in range(5):
        service.run_jobs()
    training = anna.get("/v1/trainings", experiment=experiment["links"]["experiment"].rsplit("/", 1)[-1])
    evaluation = anna.get(f"/v1/genotypes/{own['id']}")["evaluations"][0]
    service.client.headers.pop("Authorization")
    return {
        "genotypes": own["id"],
        "proposals": proposal["id"],
        "jobs": search["id"],
        "searches": search["links"]["search"].rsplit("/", 1)[-1],
        "latent-spaces": space["links"]["latent_space"].rsplit("/", 1)[-1],
        "experiments": experiment["links"]["experiment"].rsplit("/", 1)[-1],
        "campaigns": campaign["links"]["campaign"].rsplit("/", 1)[-1],
        "trainings": training["items"][0]["id"],
        "evaluations": evaluation["id"],
        "webhooks": hook["id"],
    }


def test_what_a_key_made_is_seen_by_it_and_by_admins_alone(
    service: Service, callers: tuple[Caller, Caller, Caller]
) -> None:
    anna, ben, root = callers
    made = everything(anna, service)
    shared = {kind: ben.ids(f"/v1/{kind}") for kind in made if kind != "evaluations"}
    for kind, own in made.items():
        path = f"/v1/{kind}/{own}"
        assert anna.get(path)["id"] == root.get(path)["id"] == own
        ben.get(path, status=404)
        if kind != "evaluations":
            assert own in anna.ids(f"/v1/{kind}")
            assert own not in shared[kind]
    assert ben.ids("/v1/jobs") == set()
    assert all(row["shared"] for row in ben.get("/v1/genotypes")["items"])
    document = ben.get("/openapi.json")
    for path, methods in document["paths"].items():  # and whatever lies below them
        for kind, own in made.items():
            if path.startswith(f"/v1/{kind}/{{") and "get" in methods and path.count("{") == 1:
                answer = ben.client.get(re.sub(r"\{\w+\}", own, path), headers=ben.headers)
                assert answer.status_code == 404, path
    for path in (f"/v1/jobs/{made['jobs']}/cancel", f"/v1/jobs/{made['jobs']}/retry"):
        ben.post(path, status=404)
    for kind in ("genotypes", "proposals", "latent-spaces", "experiments", "trainings", "searches", "jobs"):
        gone = ben.client.delete(f"/v1/{kind}/{made[kind]}", headers=ben.headers)
        assert gone.status_code == 404, kind
    assert anna.get(f"/v1/genotypes/{made['genotypes']}")["shared"] is False
    ben.get("/v1/genotypes/anna's", status=404)


@ONE_DATABASE
def test_what_is_not_seen_counts_for_nothing(
    service: Service, callers: tuple[Caller, Caller, Caller]
) -> None:
    anna, ben, _ = callers
    text = anna.get("/v1/genotypes/DARTS-V2")["text"]
    reported = {"dataset": "digits", "test_accuracy": 97.0}
    own = anna.post("/v1/genotypes", {"text": text, "evaluation": reported})["id"]
    assert anna.post("/v1/proposals", {"dataset": "digits", "count": 1})["start"]["kind"] == "own"
    assert ben.post("/v1/proposals", {"dataset": "digits", "count": 1})["start"]["kind"] == "nearest"
    assert len(anna.get("/v1/datasets/digits/leaderboard")["items"]) == 1
    assert ben.get("/v1/datasets/digits/leaderboard")["items"] == []
    near = {"near": {"genotype_id": own}}
    ready = ben.get("/v1/latent-spaces")["items"][-1]
    ben.post(f"/v1/latent-spaces/{ready['id']}/generate", near, status=422)
    first = anna.get(f"/v1/latent-spaces/{ready['id']}")
    second = ben.get(f"/v1/latent-spaces/{ready['id']}")
    assert set(first["genotype_ids"]) - set(second["genotype_ids"]) == {own}
    anna.post(f"/v1/latent-spaces/{ready['id']}/generate", near)
    drawn = ben.post(f"/v1/latent-spaces/{ready['id']}/generate", {"random": "uniform", "count": 2})
    assert all(not item["shared"] for item in drawn["items"])


def test_what_is_shared_is_seen_by_all(service: Service, callers: tuple[Caller, Caller, Caller]) -> None:
    anna, ben, root = callers
    text = anna.get("/v1/genotypes/DARTS-V2")["text"]
    reported = {"dataset": "digits", "test_accuracy": 97.0}
    own = anna.post("/v1/genotypes", {"text": text, "name": "ours", "evaluation": reported})["id"]
    assert anna.patch("/v1/genotypes/ours", {"shared": True})["shared"]
    assert ben.get("/v1/genotypes/ours")["id"] == own
    assert len(ben.get("/v1/datasets/digits/leaderboard")["items"]) == 1
    assert root.post("/v1/genotypes", {"text": text})["shared"]
    taken = ben.client.patch("/v1/genotypes/ours", json={"shared": False}, headers=ben.headers)
    assert taken.status_code == 422  # what is shared stays so: nobody takes it from the others


def test_what_is_shared_comes_with_what_it_consists_of(
    service: Service, callers: tuple[Caller, Caller, Caller]
) -> None:
    anna, ben, _ = callers
    service.client.headers.update(anna.headers)
    photos(service)
    text = anna.get("/v1/genotypes/DARTS-V2")["text"]
    own = anna.post("/v1/genotypes", {"text": text})["id"]
    members = {"genotypes": [own, "PC-DARTS-CIFAR"], "overrides": {"max_epochs": 1}, "name": "two"}
    anna.post("/v1/latent-spaces", members)
    service.run_jobs()
    service.client.headers.pop("Authorization")
    anna.post("/v1/proposals", {"dataset": "photos", "count": 1, "space": "two", "name": "one"})
    refused = anna.client.patch("/v1/proposals/one", json={"shared": True}, headers=anna.headers)
    assert refused.status_code == 409
    assert anna.patch("/v1/latent-spaces/two", {"shared": True})["shared"]
    assert own in ben.get("/v1/latent-spaces/two")["genotype_ids"]
    ben.post("/v1/latent-spaces/two/generate", {"random": "uniform"})
    assert anna.patch("/v1/proposals/one", {"shared": True})["shared"]
    assert ben.get("/v1/proposals/one")["dataset"] == "photos"
    assert ben.get("/v1/proposals")["items"][0]["items"][0]["genotype"]


@ONE_DATABASE
def test_what_was_trained_side_by_side_is_shared_when_it_is_over(
    service: Service, callers: tuple[Caller, Caller, Caller]
) -> None:
    anna, ben, _ = callers
    waiting = anna.post("/v1/campaigns", {"dataset": "digits", "budget": {"trainings": 1}, "recipe": "quick"})
    refused = anna.client.patch(waiting["links"]["campaign"], json={"shared": True}, headers=anna.headers)
    assert refused.status_code == 409
    assert "when it is over" in refused.json()["detail"]
    anna.post(f"/v1/jobs/{waiting['id']}/cancel", {})
    made = everything(anna, service)
    for kind in ("experiments", "campaigns"):
        path = f"/v1/{kind}/{made[kind]}"
        assert anna.patch(path, {"shared": True, "note": "for all"})["note"] == "for all"
        assert ben.get(path)["shared"]
        assert ben.get(f"/v1/jobs/{ben.get(path)['job_id']}")["status"] == "succeeded"
        table = ben.get(f"{path}/table", format="json")
        assert table
    trained = ben.get("/v1/trainings")["items"]
    assert len(trained) == len(anna.get("/v1/trainings")["items"])
    assert {row["genotype_id"] for row in trained} <= ben.ids("/v1/genotypes")
    assert made["proposals"] not in ben.ids("/v1/proposals")


@ONE_DATABASE
def test_images_are_their_owners_and_known_data_sets_everybodys(
    service: Service, callers: tuple[Caller, Caller, Caller]
) -> None:
    anna, ben, _ = callers
    service.client.headers.update(anna.headers)
    own = photos(service)
    service.client.headers.pop("Authorization")
    assert anna.get("/v1/datasets/photos")["id"] == own
    ben.get("/v1/datasets/photos", status=404)
    ben.post("/v1/proposals", {"dataset": "photos"}, status=422)
    assert {row["name"] for row in ben.get("/v1/datasets")["items"]} >= {"digits", "cifar10"}
    neighbours = ben.get("/v1/datasets/digits/neighbors")["items"]
    assert "photos" not in {row["name"] for row in neighbours}
