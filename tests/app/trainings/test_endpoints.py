"""Trainings and leaderboards over HTTP."""

import resource
from typing import Any

import pytest

from app.artifacts import Artifacts
from tests.conftest import ONE_DATABASE, Service

TINY = {"channels": 4, "cells": 2, "epochs": 2, "batch_size": 64, "train_images": 200}


def test_each_genotype_and_seed_is_a_job_that_ends_on_the_leaderboard(
    service: Service, digits: str, published: list[str]
) -> None:
    body = {
        "dataset_id": digits,
        "genotype_ids": published[:2],
        "recipe": "quick",
        "overrides": TINY,
        "seeds": [1, 2],
        "arm": "published",
    }
    assert len(service.post("/v1/trainings", body)["items"]) == 4
    jobs = service.run_jobs()
    assert {job["status"] for job in jobs} == {"succeeded"}, jobs
    board = service.get(f"/v1/datasets/{digits}/leaderboard")["items"]
    accuracies = [row["test_accuracy"] for row in board]
    assert accuracies == sorted(accuracies, reverse=True)
    assert {(row["genotype_id"], row["seed"]) for row in board} == {
        (g, s) for g in published[:2] for s in (1, 2)
    }
    row = board[0]
    assert (row["arm"], row["recipe"], row["origin"], row["kind"]) == (
        "published",
        "quick",
        "published",
        "trained",
    )
    assert row["parameters"] > 0
    assert row["macs"] > 0
    assert row["train_seconds"] > 0
    training = service.get(f"/v1/trainings/{row['training_id']}")
    assert [epoch["epoch"] for epoch in training["history"]] == [1, 2]
    assert row["test_accuracy"] == max(epoch["test_accuracy"] for epoch in training["history"])
    assert row["last_test_accuracy"] == training["history"][-1]["test_accuracy"]
    assert training["settings"] == row["settings"]
    both = service.get(f"/v1/trainings/{row['training_id']}", expand="genotype,evaluation")
    assert (training["genotype"], training["evaluation"]) == (None, None)  # not asked for
    assert (both["genotype"]["id"], both["evaluation"]["id"]) == (row["genotype_id"], row["id"])
    first = service.get(f"/v1/datasets/{digits}/leaderboard", limit=3)
    rest = service.get(f"/v1/datasets/{digits}/leaderboard", limit=3, cursor=first["next_cursor"])
    assert [r["id"] for r in first["items"] + rest["items"]] == [r["id"] for r in board]
    assert service.get(f"/v1/datasets/{digits}/leaderboard", arm="other")["items"] == []


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"dataset_id": "ds_x"}, "dataset_id"),
        ({"genotype_ids": []}, "genotype_ids"),
        ({"genotype_ids": ["gen_x"]}, "genotype_ids[0]"),
        ({"recipe": "best"}, "recipe"),
        ({"overrides": {"cells": 0}}, "overrides.cells"),
        ({"overrides": {"drop_path": 1}}, "overrides.drop_path"),
        ({"overrides": {"flip": "perhaps"}}, "overrides.flip"),
    ],
)
@ONE_DATABASE
def test_a_bad_training_names_the_field_and_starts_nothing(
    service: Service, digits: str, published: list[str], change: dict[str, Any], field: str
) -> None:
    body = {"dataset_id": digits, "genotype_ids": published[:1], "recipe": "quick", **change}
    assert service.refused("/v1/trainings", body) == [field]
    assert service.get("/v1/jobs")["items"] == []


def test_a_full_disk_fails_the_job_and_leaves_the_last_checkpoint_whole(
    service: Service, digits: str, published: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    overrides = {**TINY, "channels": 48, "epochs": 3, "cells": 3}  # a checkpoint of some megabytes
    body = {"dataset_id": digits, "genotype_ids": published[:1], "recipe": "quick", "overrides": overrides}
    service.post("/v1/trainings", body)
    limits, put = resource.getrlimit(resource.RLIMIT_FSIZE), Artifacts.put_tensors
    written = []

    def put_on_a_disk_that_fills_up(self: Artifacts, key: str, value: Any) -> None:
        if len(written) == 1:  # from now on the system refuses to let a file grow over a megabyte
            resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, limits[1]))
        try:
            put(self, key, value)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        written.append(len(self.get(key)))

    monkeypatch.setattr(Artifacts, "put_tensors", put_on_a_disk_that_fills_up)
    (job,) = service.run_jobs()
    monkeypatch.undo()
    assert written[0] > 1 << 20
    assert (job["status"], len(written)) == ("failed", 1)
    assert "could not be read or written" in job["error"]["detail"]
    assert list(service.settings.home.rglob("*.part")) == []
    assert service.post(f"/v1/jobs/{job['id']}/retry")["status"] == "queued"
    (again,) = service.run_jobs()
    assert again["status"] == "succeeded", again
    events = service.get(f"/v1/jobs/{job['id']}/events")["items"]
    assert [event["data"]["epoch"] for event in events if event["type"] == "progress"] == [1, 2, 3]


def test_an_unfinished_training_has_no_weights(service: Service, digits: str, published: list[str]) -> None:
    body = {"dataset_id": digits, "genotype_ids": published[:1], "recipe": "quick", "overrides": TINY}
    training = service.post("/v1/trainings", body)["items"][0]["links"]["training"]
    answer = service.client.get(f"{training}/weights.safetensors")
    assert answer.status_code == 409
    assert service.client.get("/v1/trainings/tr_x/weights.safetensors").status_code == 404
