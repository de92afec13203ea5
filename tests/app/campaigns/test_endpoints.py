"""Campaigns over HTTP: rounds within a budget, sources, limits, targets, cancel and retry, refusals."""

import csv
import io
from typing import Any

import pytest
import torch

from app.campaigns import rounds
from app.datasets import service as datasets
from models.genotypes.genotype import described, random_tensor
from models.genotypes.search_space import DARTS
from models.genotypes.size import count_parameters
from tests.conftest import ONE_DATABASE, Service
from tests.models.datasets.test_sources import archive, small

TINY = {"channels": 4, "cells": 2, "epochs": 3, "batch_size": 64, "train_images": 150}


@pytest.fixture
def body(digits: str) -> dict[str, Any]:
    """A campaign of a few short trainings."""
    return {"dataset_id": digits, "budget": {"trainings": 4}, "recipe": "quick", "overrides": TINY}


def upload(service: Service, name: str) -> str:
    answer = service.client.post("/v1/datasets", files={"archive": archive(small())}, data={"name": name})
    assert answer.status_code == 201, answer.text
    dataset_id: str = answer.json()["id"]
    return dataset_id


@pytest.fixture
def judged(service: Service) -> str:
    """The id of another data set, on which twenty genotypes are known, the larger the better."""
    dataset_id = upload(service, "elsewhere")
    genotypes = random_tensor(20, DARTS, torch.Generator().manual_seed(7))
    sizes = count_parameters(genotypes, DARTS).double()
    accuracies = 90 + 5 * (sizes - sizes.mean()) / sizes.std().clamp(min=1) / 3
    forms = [form for form, _ in described(genotypes, DARTS)]
    for form, accuracy in zip(forms, accuracies.tolist(), strict=True):
        evaluation = {"dataset_id": dataset_id, "test_accuracy": round(accuracy, 4)}
        service.post("/v1/genotypes", {"genotype": form, "evaluation": evaluation})
    return dataset_id


def run(service: Service) -> list[Any]:
    """Runs jobs until none waits; all that were run."""
    ran: list[Any] = []
    while jobs := service.run_jobs():
        ran += jobs
    return ran


def test_a_campaign_uses_its_budget_and_tells_what_it_tried_and_why(
    service: Service, digits: str, body: dict[str, Any]
) -> None:
    job = service.post("/v1/campaigns", {**body, "compare": "random"})
    assert (job["kind"], job["status"]) == ("campaign", "running")
    ran = run(service)
    assert {part["status"] for part in ran} == {"succeeded"}, ran
    assert {part["parent_id"] for part in ran} == {job["id"]}
    trainings = [part for part in ran if part["kind"] == "train"]
    done = service.get(f"/v1/jobs/{job['id']}")
    assert (done["status"], done["progress"]) == ("succeeded", 1)
    assert done["result"] == {"succeeded": len(trainings), "failed": 0, "cancelled": 0}

    shown = service.get(job["links"]["campaign"])
    assert shown["epochs"] == [1, 3]
    assert shown["ended"] == {"ours": "its budget is used", "random": "its budget is used"}
    assert shown["source"] is None
    doubts = " ".join(shown["warnings"])
    assert "no data set is known well enough" in doubts
    assert "validation has 15 images" in doubts

    table = service.get(job["links"]["table"])
    assert len(table["items"]) == len(trainings)
    for arm in ("ours", "random"):
        rows = [row for row in table["items"] if row["arm"] == arm]
        assert 3 < rows[-1]["trainings"] <= 4
        assert sum(row["epochs"] for row in rows) / 3 == pytest.approx(rows[-1]["trainings"])
        assert [row["number"] for row in rows] == list(range(1, len(rows) + 1))  # one worker: in order
        brief = [row for row in rows if not row["whole"]]
        whole = [row for row in rows if row["whole"]]
        assert len({row["genotype_id"] for row in brief}) == len(brief)
        assert whole
        for row in whole:
            assert "among the best of those with 1 epoch" in row["why"]
            assert row["genotype_id"] in {other["genotype_id"] for other in brief}
        best = max(whole, key=lambda row: row["accuracy"])
        assert rows[-1]["best_accuracy"] == best["accuracy"]
        (told,) = (item for item in table["best"] if item["arm"] == arm)
        assert (told["genotype_id"], told["test_accuracy"]) == (best["genotype_id"], best["test_accuracy"])
    ours = [row for row in table["items"] if row["arm"] == "ours" and not row["whole"]]
    assert "the largest" in ours[0]["why"]
    assert "the least like" in ours[1]["why"]
    predicted = [row for row in ours if row["predicted_accuracy"] is not None]
    assert all("expected improvement" in row["why"] for row in predicted)
    assert predicted
    assert shown["best"] == table["best"]
    (verdict,) = table["verdicts"]
    assert (verdict["arm"], verdict["other"]) == ("ours", "random")

    # brief trainings are told apart: no leaderboard has them
    board = service.get(f"/v1/datasets/{digits}/leaderboard", limit=200)["items"]
    assert {entry["training_id"] for entry in board} == {
        row["training_id"] for row in table["items"] if row["whole"]
    }
    kinds = {
        part["links"]["training"].split("/")[-1]: service.get(part["links"]["evaluation"])["kind"]
        for part in trainings
    }
    assert all((kinds[row["training_id"]] == "trained") == row["whole"] for row in table["items"])


@ONE_DATABASE
def test_its_table_and_picture_come_in_every_form(service: Service, body: dict[str, Any]) -> None:
    links = service.post("/v1/campaigns", {**body, "rungs": 1, "budget": {"trainings": 2}})["links"]
    empty = service.client.get(links["picture"])
    assert empty.is_success
    run(service)
    items = service.get(links["table"])["items"]
    assert [row["whole"] for row in items] == [True, True]
    lines = list(
        csv.DictReader(io.StringIO(service.client.get(links["table"], params={"format": "csv"}).text))
    )
    assert [line["training_id"] for line in lines] == [row["training_id"] for row in items]
    markdown = service.client.get(links["table"], params={"format": "markdown"}).text
    assert f"{items[0]['test_accuracy']:.2f}" in markdown
    svg = service.client.get(links["picture"])
    assert svg.headers["content-type"] == "image/svg+xml"
    assert svg.content != empty.content
    png = service.client.get(links["picture"], params={"format": "png"})
    assert png.content.startswith(b"\x89PNG")
    (campaign,) = service.get("/v1/campaigns")["items"]
    assert campaign["id"] == links["campaign"].split("/")[-1]


@ONE_DATABASE
def test_what_is_known_elsewhere_tells_what_to_begin_with(
    service: Service, judged: str, body: dict[str, Any]
) -> None:
    request = {**body, "source_dataset_id": judged, "budget": {"trainings": 2}}
    links = service.post("/v1/campaigns", request)["links"]
    run(service)
    source = service.get(links["campaign"])["source"]
    assert (source["dataset_id"], source["genotypes"]) == (judged, 20)
    assert source["low"] > 0
    first = service.get(links["table"])["items"][0]
    assert "the best by what is known of 'elsewhere'" in first["why"]
    genotype = service.get(f"/v1/genotypes/{first['genotype_id']}")
    drawn = count_parameters(random_tensor(100, DARTS, torch.Generator().manual_seed(1)), DARTS)
    assert genotype["parameters"] > drawn.double().quantile(0.9)  # there the larger were the better


@ONE_DATABASE
def test_its_own_data_set_is_the_first_source(service: Service, digits: str, body: dict[str, Any]) -> None:
    genotypes = random_tensor(12, DARTS, torch.Generator().manual_seed(3))
    sizes = count_parameters(genotypes, DARTS).tolist()
    for (form, _), size in zip(described(genotypes, DARTS), sizes, strict=True):
        evaluation = {"dataset_id": digits, "test_accuracy": min(99.0, size / 100_000)}
        service.post("/v1/genotypes", {"genotype": form, "evaluation": evaluation})
    links = service.post("/v1/campaigns", body)["links"]
    shown = service.get(links["campaign"])
    assert shown["source"]["dataset_id"] == digits
    assert "12 evaluations on 'digits'" in " ".join(shown["warnings"])


@ONE_DATABASE
def test_a_network_as_large_as_a_budget_allows_is_what_is_trained(
    service: Service, body: dict[str, Any]
) -> None:
    limits = {"network": {"parameters": {"max": 60_000}, "cells": 2}, "depth": {"min": 3}}
    request = {**body, "constraints": limits, "budget": {"trainings": 2}, "rungs": 1, "compare": "random"}
    links = service.post("/v1/campaigns", request)["links"]
    run(service)
    items = service.get(links["table"])["items"]
    assert len(items) == 4
    for row in items:
        network = service.get(f"/v1/genotypes/{row['genotype_id']}")["source"]["network"]
        assert row["parameters"] == network["parameters"] <= 60_000
        settings = service.get(f"/v1/trainings/{row['training_id']}")["settings"]
        assert settings["channels"] == network["channels"]
    assert len({row["genotype_id"] for row in items}) == 4


@ONE_DATABASE
def test_a_target_that_is_reached_ends_it(service: Service, body: dict[str, Any]) -> None:
    request = {**body, "rungs": 1, "target": 1.0, "budget": {"trainings": 50}}
    job = service.post("/v1/campaigns", request)
    run(service)
    assert service.get(f"/v1/jobs/{job['id']}")["status"] == "succeeded"
    shown = service.get(job["links"]["campaign"])
    assert "the target is reached" in shown["ended"]["ours"]
    assert len(service.get(job["links"]["table"])["items"]) == 1
    assert shown["progress"] == 1


@ONE_DATABASE
def test_an_arm_that_is_over_is_told_so_while_the_other_goes_on(
    service: Service, body: dict[str, Any]
) -> None:
    job = service.post("/v1/campaigns", {**body, "compare": "random", "budget": {"trainings": 2}, "rungs": 1})
    path = job["links"]["campaign"]
    for _ in range(7):  # rounds and trainings in turn: three trainings have ended, the fourth waits
        service.run_jobs()
    states = {row["arm"]: row["status"] for row in service.get(job["links"]["table"])["items"]}
    assert states == {"ours": "succeeded", "random": "queued"}
    shown = service.get(path)
    assert shown["ended"] == {"ours": "its budget is used"}
    assert shown["progress"] == pytest.approx(0.75)


@ONE_DATABASE
def test_hours_are_a_budget_too(service: Service, body: dict[str, Any]) -> None:
    job = service.post("/v1/campaigns", {**body, "budget": {"hours": 1e-6}})
    run(service)
    shown = service.get(job["links"]["campaign"])
    assert (shown["status"], shown["ended"]["ours"]) == ("succeeded", "its budget is used")
    (row,) = service.get(job["links"]["table"])["items"]  # how long one takes was not known before
    assert row["hours"] > 1e-6


def test_a_cancelled_campaign_goes_on_where_it_was(service: Service, body: dict[str, Any]) -> None:
    job = service.post("/v1/campaigns", body)
    path = f"/v1/jobs/{job['id']}"
    for _ in range(4):  # two rounds, two trainings
        service.run_jobs()
    service.post(f"{path}/cancel")
    assert service.run_jobs() == []
    assert service.get(path)["status"] == "cancelled"
    tried = service.get(job["links"]["table"])["items"]
    assert [row["status"] for row in tried] == ["succeeded", "succeeded"]
    again = service.post(f"{path}/retry")
    assert again["status"] == "running"
    run(service)
    done = service.get(path)
    assert done["status"] == "succeeded"
    items = service.get(job["links"]["table"])["items"]
    assert items[:2] == tried
    assert 3 < items[-1]["trainings"] <= 4
    assert service.client.post(f"{path}/retry").status_code == 409


def test_a_round_that_looked_too_early_starts_nothing(service: Service, body: dict[str, Any]) -> None:
    job = service.post("/v1/campaigns", body)
    campaign_id = job["links"]["campaign"].split("/")[-1]
    service.run_jobs()
    stale = rounds.plan(service.database, campaign_id, service.settings, service.artifacts)
    service.run_jobs()  # the training ends, and orders a round
    with service.database.session() as session:
        assert rounds.store(session, campaign_id, "job_x", stale) == []
        session.commit()
    (waiting,) = service.get("/v1/jobs", status="queued")["items"]
    assert waiting["kind"] == "round"


@ONE_DATABASE
def test_a_campaign_whose_trainings_all_fail_fails_with_the_first_problem(
    service: Service, body: dict[str, Any]
) -> None:
    dataset_id = upload(service, "lost")
    job = service.post("/v1/campaigns", {**body, "dataset_id": dataset_id})
    with service.database.session(reads_only=True) as session:
        key = datasets.get(session, dataset_id).artifact_key
    assert key is not None
    service.artifacts.delete(key)
    failed = [part for part in run(service) if part["status"] == "failed"]
    done = service.get(f"/v1/jobs/{job['id']}")
    assert done["status"] == "failed"
    assert failed[0]["error"]["detail"] in done["error"]["detail"]
    assert len(failed) == 3
    assert service.get(job["links"]["campaign"])["ended"]["ours"] == "its first 3 trainings failed"
    assert len(service.get(job["links"]["table"])["failures"]) == 3


@ONE_DATABASE
@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"budget": {}}, "budget"),
        ({"budget": {"trainings": 0}}, "budget.trainings"),
        ({"budget": {"hours": 0}}, "budget.hours"),
        ({"budget": {"trainings": 5, "hours": 1}}, "budget"),
        ({"target": 100.5}, "target"),
        ({"target": 0}, "target"),
        ({"dataset_id": "ds_none"}, "dataset_id"),
        ({"latent_space_id": "lat_none"}, "latent_space_id"),
        ({"source_dataset_id": "ds_none"}, "source_dataset_id"),
        ({"recipe": "none"}, "recipe"),
        ({"overrides": {"epochs": 0}}, "overrides.epochs"),
        ({"compare": "evolution"}, "compare"),
        ({"constraints": {"parameters": {"max": 10}}}, "constraints.parameters"),
        ({"constraints": {"network": {"parameters": {"max": 10}}}}, "constraints.network.parameters.max"),
        ({"constraints": {"edits": {"max": 2}}}, "constraints.edits"),
        (
            {"constraints": {"network": {"parameters": {"max": 90_000}, "image_size": 64}}},
            "constraints.network",
        ),
        ({"constraints": {"operations": {"none": {"min": 99}}}}, "constraints.operations.none"),
        ({"rungs": 0}, "rungs"),
        ({"more": 1}, "more"),
    ],
)
def test_a_bad_request_is_refused_before_any_work(
    service: Service, body: dict[str, Any], change: dict[str, Any], field: str
) -> None:
    assert service.refused("/v1/campaigns", {**body, **change}) == [field]
    assert service.get("/v1/jobs")["items"] == []
    assert service.get("/v1/campaigns")["items"] == []


@ONE_DATABASE
def test_data_sets_that_cannot_be_trained_on_or_tell_nothing_are_refused(
    service: Service, digits: str, published: list[str], body: dict[str, Any]
) -> None:
    facts = next(row["id"] for row in service.get("/v1/datasets")["items"] if row["source"] == "facts")
    assert service.refused("/v1/campaigns", {**body, "dataset_id": facts}) == ["dataset_id"]
    assert service.refused("/v1/campaigns", {**body, "source_dataset_id": digits}) == ["source_dataset_id"]


@ONE_DATABASE
def test_what_is_not_there_is_not_found(service: Service) -> None:
    for path in ("", "/table", "/picture"):
        assert service.client.get(f"/v1/campaigns/camp_none{path}").status_code == 404
