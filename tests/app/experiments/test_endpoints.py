"""Experiments over HTTP: arms, tables, cancel, retry, and what is refused."""

import csv
import io
import itertools
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import pytest
import torch
import torchvision.models

from app.settings import Settings
from models.genotypes.published import PUBLISHED
from tests.conftest import ONE_DATABASE, Service
from tests.models.datasets.test_sources import archive, small

RESNET = {"kind": "reference", "model": "resnet18"}
TINY = {"channels": 4, "cells": 2, "epochs": 2, "batch_size": 64, "train_images": 150}


@pytest.fixture
def body(service: Service, digits: str, latent_space: str, published: list[str]) -> dict[str, Any]:
    """An experiment of every kind of arm."""
    evaluation = {"dataset_id": digits, "test_accuracy": 90.0}
    genotype = PUBLISHED[2].genotype.as_dict()
    service.post("/v1/genotypes", {"genotype": genotype, "evaluation": evaluation})
    return {
        "dataset_ids": [digits],
        "latent_space_id": latent_space.split("/")[-1],
        "recipe": "quick",
        "overrides": TINY,
        "arms": [
            {"kind": "random", "count": 2, "seed": 1},
            {"kind": "near", "dataset_id": digits, "gamma": 0.1, "count": 2},
            {"kind": "genotypes", "genotype_ids": published[:1], "name": "published"},
            {"kind": "reference", "model": "mobilenet_v3_small"},
        ],
    }


def test_one_request_trains_every_arm_and_answers_with_the_paper_table(
    service: Service, digits: str, body: dict[str, Any]
) -> None:
    job = service.post("/v1/experiments", body)
    assert (job["kind"], job["status"]) == ("experiment", "running")
    trainings = service.run_jobs()
    assert len(trainings) == 6
    assert {part["status"] for part in trainings} == {"succeeded"}, trainings
    assert {part["parent_id"] for part in trainings} == {job["id"]}
    done = service.get(f"/v1/jobs/{job['id']}")
    assert (done["status"], done["progress"]) == ("succeeded", 1)
    assert done["result"] == {"succeeded": 6, "failed": 0, "cancelled": 0}
    shown = service.get(job["links"]["experiment"])
    assert [arm["name"] for arm in shown["arms"]] == [
        "random", "near digits 0.1", "published", "mobilenet_v3_small",
    ]  # fmt: skip
    table = service.get(job["links"]["table"])
    board = service.get(f"/v1/datasets/{digits}/leaderboard")["items"]
    for row, arm in zip(table["items"], shown["arms"], strict=True):
        ours = [entry for entry in board if entry["arm"] == arm["name"]]
        accuracies = [entry["test_accuracy"] for entry in ours]
        assert (row["arm"], row["n"], row["failed"], row["open"]) == (arm["name"], len(ours), 0, 0)
        assert row["best_accuracy"] == max(accuracies)
        assert row["mean_accuracy"] == pytest.approx(mean(accuracies))
        assert row["mean_params"] == pytest.approx(mean(entry["parameters"] for entry in ours))
        if len(ours) > 1:
            assert row["sd_accuracy"] == pytest.approx(stdev(accuracies))
        assert row["mean_selected_accuracy"] <= row["best_accuracy"]
    assert [row["search_hours"] for row in table["items"]] == [0, 0, None, 0]
    assert (table["failures"], table["front"]) == ([], None)
    markdown = service.client.get(job["links"]["table"], params={"format": "markdown"}).text
    assert markdown.count("\n") == 6 + 1 + 2 + 6  # the arms, and every pair of them
    pairs = [(verdict["arm"], verdict["other"]) for verdict in table["verdicts"]]
    assert pairs == [
        (arm, other) for other, arm in itertools.combinations([row["arm"] for row in table["items"]], 2)
    ]
    told = table["verdicts"][0]
    assert told["difference"] == pytest.approx(
        table["items"][1]["mean_accuracy"] - table["items"][0]["mean_accuracy"]
    )
    assert told["interval"][0] < told["difference"] < told["interval"][1]
    alone = table["verdicts"][-1]  # of two arms with one training each
    assert (alone["verdict"], alone["interval"], alone["trainings_needed"]) == ("cannot tell", None, None)
    assert "| near digits 0.1 | digits | 2 |" in markdown
    rows = list(
        csv.DictReader(io.StringIO(service.client.get(job["links"]["table"], params={"format": "csv"}).text))
    )
    assert [row["arm"] for row in rows] == [row["arm"] for row in table["items"]]
    assert rows[1]["verdicts"].split(" ")[0] in ("better", "worse", "cannot")
    picture = service.client.get(f"{job['links']['experiment']}/picture", params={"format": "png"})
    assert picture.content.startswith(b"\x89PNG")
    assert service.get("/v1/experiments")["items"][0]["id"] == shown["id"]


def test_the_leaderboard_marks_the_front_and_sorts(
    service: Service, digits: str, body: dict[str, Any]
) -> None:
    service.post("/v1/experiments", body)
    service.run_jobs()
    path = f"/v1/datasets/{digits}/leaderboard"
    rows = [row for row in service.get(path)["items"] if row["parameters"] is not None]
    for row in rows:
        beaten = any(
            other["test_accuracy"] >= row["test_accuracy"]
            and other["parameters"] <= row["parameters"]
            and (other["test_accuracy"], other["parameters"]) != (row["test_accuracy"], row["parameters"])
            for other in rows
        )
        assert row["pareto"] == (not beaten)
    sizes = [row["parameters"] for row in service.get(path, sort="parameters")["items"]]
    known = [size for size in sizes if size is not None]
    assert known == sorted(known)
    assert sizes[len(known) :] == [None] * (len(sizes) - len(known))
    first = service.get(path, sort="parameters", limit=2)
    rest = service.get(path, sort="parameters", limit=100, cursor=first["next_cursor"])
    assert [row["parameters"] for row in first["items"] + rest["items"]] == sizes
    (reference,) = service.get(path, origin="reference")["items"]
    assert (reference["reference"], reference["genotype_id"]) == ("mobilenet_v3_small", None)
    training = service.get(f"/v1/trainings/{reference['training_id']}")
    assert (training["reference"], training["arm"]) == ("mobilenet_v3_small", "mobilenet_v3_small")


@ONE_DATABASE
def test_two_data_sets_give_the_front_of_their_trade_off(
    service: Service, digits: str, latent_space: str, body: dict[str, Any]
) -> None:
    cifar10 = next(row["id"] for row in service.get("/v1/datasets")["items"] if row["name"] == "cifar10")
    arm = {"kind": "between", "dataset_ids": [digits, cifar10], "steps": 3, "count": 3}
    small_set = upload(service)
    body |= {"dataset_ids": [digits, small_set], "arms": [arm]}
    job = service.post("/v1/experiments", body)
    assert len(service.run_jobs()) == 6
    table = service.get(job["links"]["table"])
    assert len(table["front"]) == 3
    assert [point["weights"] for point in table["front"]] == [[1, 0], [0.5, 0.5], [0, 1]]
    pairs = [(point["first_accuracy"], point["second_accuracy"]) for point in table["front"]]
    for point, (a, b) in zip(table["front"], pairs, strict=True):
        assert point["pareto"] == (not any(x >= a and y >= b and (x, y) != (a, b) for x, y in pairs))
    svg = service.client.get(f"{job['links']['experiment']}/picture")
    assert b"<svg" in svg.content


def test_copies_of_one_architecture_are_trained_from_seeds_of_their_own(
    service: Service, digits: str, body: dict[str, Any]
) -> None:
    body["arms"] = [{"kind": "near", "dataset_id": digits, "gamma": 0.0, "count": 3}]
    body["seeds"] = [5, 7]
    job = service.post("/v1/experiments", body)
    shown = service.get(job["links"]["experiment"])
    made = [service.get(f"/v1/genotypes/{i}") for i in shown["arms"][0]["genotype_ids"]]
    assert len(made) == 3
    assert len({genotype["digest"] for genotype in made}) == 1
    service.run_jobs()
    board = service.get(f"/v1/datasets/{digits}/leaderboard")["items"]
    seeds = sorted(row["seed"] for row in board if row["arm"] == "near digits 0")
    assert seeds == [5, 7, 8, 10, 11, 13]
    (row,) = service.get(job["links"]["table"])["items"]
    assert row["n"] == 6
    assert row["sd_accuracy"] > 0


@ONE_DATABASE
def test_a_failed_training_is_shown_and_not_fatal(service: Service, body: dict[str, Any]) -> None:
    body["overrides"] = {**TINY, "learning_rate": 10.0, "gradient_clip": 1000.0, "epochs": 3}
    body["arms"] = [body["arms"][2], {"kind": "reference", "model": "resnet18"}]
    job = service.post("/v1/experiments", body)
    parts = service.run_jobs()
    failed = [part for part in parts if part["status"] == "failed"]
    table = service.get(job["links"]["table"])
    assert len(table["failures"]) == len(failed)
    assert sum(row["failed"] for row in table["items"]) == len(failed)
    done = service.get(f"/v1/jobs/{job['id']}")
    assert done["status"] == ("failed" if len(failed) == len(parts) else "succeeded")
    for failure in table["failures"]:
        assert "epoch" in failure["error"]["detail"]


def test_cancel_stops_all_of_it_and_retry_goes_on(service: Service, body: dict[str, Any]) -> None:
    job = service.post("/v1/experiments", body)
    cancelled = service.post(f"/v1/jobs/{job['id']}/cancel")
    assert cancelled["status"] == "cancelled"
    parts = service.get("/v1/jobs", kind="train")["items"]
    assert {part["status"] for part in parts} == {"cancelled"}
    assert service.run_jobs() == []
    again = service.post(f"/v1/jobs/{job['id']}/retry")
    assert again["status"] == "running"
    assert len(service.run_jobs()) == 6
    assert service.get(f"/v1/jobs/{job['id']}")["status"] == "succeeded"
    assert service.client.post(f"/v1/jobs/{job['id']}/retry").status_code == 409


BAD: list[tuple[dict[str, Any], str]] = [
    ({"dataset_ids": ["ds_x"]}, "dataset_ids[0]"),
    ({"dataset_ids": []}, "dataset_ids"),
    ({"latent_space_id": "lat_x"}, "latent_space_id"),
    ({"recipe": "best"}, "recipe"),
    ({"overrides": {"channels": "wide"}}, "overrides.channels"),
    ({"overrides": {"cutout": -1}}, "overrides.cutout"),
    ({"arms": []}, "arms"),
    ({"arms": [{"kind": "best"}]}, "arms[0]"),
    ({"arms": [{"kind": "random", "count": 0}]}, "arms[0].random.count"),
    ({"arms": [{"kind": "random", "count": 1000}] * 2}, "arms[1].name"),
    ({"arms": [{"kind": "random", "count": 501}], "seeds": [1, 2]}, "arms"),
    ({"arms": [{"kind": "random"}, {"kind": "near", "dataset_id": "ds_x"}]}, "arms[1].dataset_id"),
    ({"arms": [{"kind": "genotypes", "genotype_ids": ["gen_x"]}]}, "arms[0].genotype_ids[0]"),
    ({"arms": [{"kind": "reference", "model": "resnet5"}]}, "arms[0].reference.model"),
    ({"arms": [{**RESNET, "pretrained": True}]}, "arms[0].reference"),
    ({"arms": [{**RESNET, "weights": "w.pth"}]}, "arms[0].reference"),
    ({"arms": [{**RESNET, "pretrained": True, "weights": "none.pth"}]}, "arms[0].weights"),
    ({"arms": [{**RESNET, "pretrained": True, "weights": "../w.pth"}]}, "arms[0].weights"),
    ({"arms": [{**RESNET, "recipe": "quicker"}]}, "arms[0].recipe"),
    ({"arms": [{**RESNET, "recipe": "quick", "overrides": {"epochs": 0}}]}, "arms[0].overrides.epochs"),
]


@ONE_DATABASE
def test_a_bad_experiment_names_the_field_and_stores_nothing(service: Service, body: dict[str, Any]) -> None:
    facts = next(row["id"] for row in service.get("/v1/datasets")["items"] if row["source"] == "facts")
    digits = body["dataset_ids"][0]
    between = {"kind": "between", "dataset_ids": [digits, digits]}
    cases = [
        *BAD,
        ({"dataset_ids": [facts]}, "dataset_ids[0]"),
        ({"dataset_ids": [digits, digits]}, "dataset_ids"),
        ({"arms": [{"kind": "random"}, between]}, "arms[1]"),
        ({"arms": [{**between, "dataset_ids": [digits, facts], "weights": [0, 0]}]}, "arms[0]"),
    ]
    for change, field in cases:
        assert service.refused("/v1/experiments", {**body, **change}) == [field], change
    assert service.get("/v1/experiments")["items"] == []
    assert service.get("/v1/genotypes", origin="random")["items"] == []
    assert service.get("/v1/jobs", kind="train")["items"] == []


def test_what_is_not_there_is_not_found(service: Service) -> None:
    for path in ("", "/table", "/picture"):
        assert service.client.get(f"/v1/experiments/exp_x{path}").status_code == 404


def upload(service: Service) -> str:
    answer = service.client.post("/v1/datasets", files={"archive": archive(small())}, data={"name": "small"})
    dataset_id: str = answer.json()["id"]
    return dataset_id


@ONE_DATABASE
def test_a_pretrained_reference_is_fine_tuned_from_a_file_beside_the_others(
    settings: Settings, service: Service, digits: str, published: list[str], tmp_path: Path
) -> None:
    service.settings.data_root = tmp_path
    torch.manual_seed(0)
    grown = torchvision.models.get_model("mobilenet_v3_small", weights=None)
    torch.save(grown.state_dict(), tmp_path / "mobilenet.pth")
    torch.save(torchvision.models.get_model("resnet18", weights=None).state_dict(), tmp_path / "resnet.pth")
    (tmp_path / "page.pth").write_text("<html>")
    arm = {"kind": "reference", "model": "mobilenet_v3_small", "pretrained": True}
    own = {"overrides": {"epochs": 1, "train_images": 64, "batch_size": 32}}
    names = ("mobilenet.pth", "resnet.pth", "page.pth")
    arms = [{**arm, **own, "weights": name, "name": name} for name in names]
    body = {
        "dataset_ids": [digits],
        "recipe": "quick",
        "overrides": TINY,
        "arms": [*arms, {"kind": "genotypes", "genotype_ids": published[:1]}],
    }
    job = service.post("/v1/experiments", body)
    parts = {service.get(part["links"]["training"])["arm"]: part for part in service.run_jobs()}
    assert {name: part["status"] for name, part in parts.items()} == {
        "mobilenet.pth": "succeeded",
        "resnet.pth": "failed",
        "page.pth": "failed",
        "genotypes": "succeeded",
    }
    assert "not those of torchvision's mobilenet_v3_small" in parts["resnet.pth"]["error"]["detail"]
    assert "'page.pth' cannot be read" in parts["page.pth"]["error"]["detail"]
    training = service.get(parts["mobilenet.pth"]["links"]["training"])
    assert (training["recipe"], training["pretrained"]) == ("fine-tune", {"weights": "mobilenet.pth"})
    assert (training["settings"]["epochs"], training["settings"]["learning_rate"]) == (1, 0.005)
    assert service.get(parts["genotypes"]["links"]["training"])["recipe"] == "quick"
    rows = {row["arm"]: row for row in service.get(job["links"]["table"])["items"]}
    assert rows["mobilenet.pth"]["n"] == rows["genotypes"]["n"] == 1


@ONE_DATABASE
def test_names_of_arms_are_text_wherever_they_are_shown(
    service: Service, digits: str, published: list[str]
) -> None:
    names = ["$x_$", '=HYPERLINK("x")', "two\nlines | a bar"]
    arms = [{"kind": "genotypes", "genotype_ids": published[:1], "name": name} for name in names]
    small_set = service.client.post("/v1/datasets", files={"archive": archive(small())}, data={"name": "s"})
    for dataset_ids in ([digits], [digits, small_set.json()["id"]]):
        body = {"dataset_ids": dataset_ids, "recipe": "quick", "overrides": TINY, "arms": arms}
        links = service.post("/v1/experiments", body)["links"]
        assert service.client.get(f"{links['experiment']}/picture").status_code == 200
        markdown = service.client.get(links["table"], params={"format": "markdown"}).text
        assert r"| two lines \| a bar |" in markdown
        text = service.client.get(links["table"], params={"format": "csv"}).text
        shown = [row["arm"] for row in csv.DictReader(io.StringIO(text))]
        assert shown[:3] == ["$x_$", '\'=HYPERLINK("x")', "two\nlines | a bar"] or len(dataset_ids) == 2
