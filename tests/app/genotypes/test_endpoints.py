"""Genotypes over HTTP."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from models.genotypes.published import PUBLISHED
from models.genotypes.text import to_text
from tests.conftest import ONE_DATABASE, Service
from tests.models.genotypes.test_genotype import continuous

DARTS_V2 = PUBLISHED[1].genotype


def test_the_search_space_is_described(service: Service) -> None:
    darts, bench, _ = service.get("/v1/search-spaces")["items"]
    assert (darts["name"], darts["nodes"], len(darts["operations"])) == ("darts", 14, 8)
    assert (darts["cells"], darts["predecessors"], darts["none"]) == (["normal", "reduce"], 2, False)
    assert (darts["join"], darts["output"], darts["gamma"]) == ("concatenate", "apart", 0.1)
    assert (bench["name"], bench["nodes"], bench["edges_per_cell"]) == ("nas-bench-201", 4, 6)
    assert (bench["cells"], bench["predecessors"], bench["none"]) == (["cell"], "all", True)
    assert (bench["inputs"], bench["intermediates"], bench["join"], bench["output"]) == (1, 2, "sum", "last")


@pytest.mark.parametrize(
    "form", [{"genotype": DARTS_V2.as_dict()}, {"text": to_text(DARTS_V2)}], ids=["json", "text"]
)
def test_a_genotype_is_registered_in_any_discrete_form(service: Service, form: dict[str, Any]) -> None:
    row = service.post("/v1/genotypes", {**form, "name": "mine"})
    assert row["digest"] == DARTS_V2.digest()
    assert row["parameters"] == 3_349_342
    full = service.get(f"/v1/genotypes/{row['id']}")
    assert full["text"] == to_text(DARTS_V2)
    assert full["genotype"] == DARTS_V2.as_dict()
    assert (full["origin"], full["evaluations"]) == ("registered", [])


def test_a_continuous_genotype_keeps_its_weights(service: Service) -> None:
    row = service.post("/v1/genotypes", {"continuous": continuous(0.9)})
    full = service.get(f"/v1/genotypes/{row['id']}")
    assert full["continuous"]["normal"][0][4] == pytest.approx(0.9)
    assert {operation for operation, _ in full["genotype"]["normal"]} == {"sep_conv_3x3"}


def test_an_evaluation_comes_with_the_genotype(service: Service, digits: str) -> None:
    evaluation = {"dataset_id": digits, "test_accuracy": 98.5, "recipe": "mine"}
    row = service.post("/v1/genotypes", {"text": to_text(DARTS_V2), "evaluation": evaluation})
    (kept,) = service.get(f"/v1/genotypes/{row['id']}")["evaluations"]
    assert (kept["test_accuracy"], kept["kind"], kept["recipe"]) == (98.5, "reported", "mine")
    (top,) = service.get(f"/v1/datasets/{digits}/leaderboard")["items"]
    assert top["genotype_id"] == row["id"]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({}, "body"),
        ({"text": "x", "genotype": {}}, "body"),
        ({"text": "Genotype()"}, "text.normal"),
        ({"text": "import os"}, "text"),
        ({"genotype": {"normal": [], "reduce": []}}, "genotype.normal"),
        (
            {"genotype": {**DARTS_V2.as_dict(), "normal": [["conv", 0], *DARTS_V2.as_dict()["normal"][1:]]}},
            "genotype.normal[0]",
        ),
        (
            {"genotype": {**DARTS_V2.as_dict(), "reduce": [["skip_connect", 9]] * 8}},
            "genotype.reduce[0]",
        ),
        (
            {"genotype": {**DARTS_V2.as_dict(), "reduce": [["skip_connect", 0]] * 8}},
            "genotype.reduce[1]",
        ),
        ({"continuous": {**continuous(0.5), "normal": []}}, "continuous.normal"),
        ({"text": to_text(DARTS_V2), "search_space": "nasnet"}, "search_space"),
        ({"text": to_text(DARTS_V2), "dataset_id": "ds_x"}, "dataset_id"),
        (
            {"text": to_text(DARTS_V2), "evaluation": {"dataset_id": "ds_x", "test_accuracy": 50}},
            "evaluation.dataset_id",
        ),
        (
            {"text": to_text(DARTS_V2), "evaluation": {"dataset_id": "ds_x", "test_accuracy": 101}},
            "evaluation.test_accuracy",
        ),
    ],
)
@ONE_DATABASE
def test_a_bad_genotype_names_the_field_and_is_not_kept(
    service: Service, change: dict[str, Any], field: str
) -> None:
    assert service.refused("/v1/genotypes", change) == [field]
    assert service.get("/v1/genotypes")["items"] == []


def test_a_batch_is_kept_whole_or_not_at_all(service: Service) -> None:
    good = [{"genotype": p.genotype.as_dict()} for p in PUBLISHED[:3]]
    assert service.refused("/v1/genotypes/batch", {"items": [*good, {"text": "x"}]}) == ["items[3].text"]
    assert service.get("/v1/genotypes")["items"] == []
    kept = service.post("/v1/genotypes/batch", {"items": good})["items"]
    assert [row["digest"] for row in kept] == [p.genotype.digest() for p in PUBLISHED[:3]]


def test_the_published_ones_come_by_one_call_and_only_once(service: Service) -> None:
    first = service.post("/v1/genotypes/published")["items"]
    assert len(first) == len(PUBLISHED) >= 10
    assert [row["id"] for row in service.post("/v1/genotypes/published")["items"]] == [r["id"] for r in first]
    assert all(len(row["source"]["paper"]) > 20 for row in first)
    datasets = {row["name"]: row["id"] for row in service.get("/v1/datasets")["items"]}
    board = service.get(f"/v1/datasets/{datasets['imagenet']}/leaderboard")["items"]
    assert board[0]["test_accuracy"] == 76.3
    assert [row["test_accuracy"] for row in board] == sorted(
        (r["test_accuracy"] for r in board), reverse=True
    )


def test_eight_who_ask_for_the_published_ones_at_once_get_the_same(service: Service) -> None:
    with ThreadPoolExecutor(8) as pool:
        asked = [pool.submit(service.client.post, "/v1/genotypes/published") for _ in range(8)]
    answers = [one.result() for one in asked]
    assert {answer.status_code for answer in answers} == {201}, [answer.text for answer in answers]
    ids = {tuple(row["id"] for row in answer.json()["items"]) for answer in answers}
    assert len(ids) == 1
    assert len(service.get("/v1/genotypes", limit=500)["items"]) == len(PUBLISHED)


def test_what_goes_while_it_is_referred_to_is_a_conflict(service: Service, digits: str) -> None:
    body = {"dataset_id": digits, "recipe": "quick"}
    with ThreadPoolExecutor(8) as pool:
        gone = [pool.submit(service.client.delete, f"/v1/datasets/{digits}")]
        gone += [pool.submit(service.client.post, "/v1/searches", json=body) for _ in range(7)]
    answers = [one.result() for one in gone]
    assert all(answer.status_code in (202, 204, 404, 409, 422) for answer in answers)


def test_the_list_filters(service: Service, published: list[str]) -> None:
    cifar10 = next(row["id"] for row in service.get("/v1/datasets")["items"] if row["name"] == "cifar10")

    def names(**query: Any) -> set[str]:
        return {row["name"] for row in service.get("/v1/genotypes", limit=500, **query)["items"]}

    assert names(origin="searched") == set()
    assert len(names(origin="published")) == len(published)
    assert names(dataset_id=cifar10, min_accuracy=97.5) == {"P-DARTS", "DrNAS-CIFAR", "CDARTS"}
    assert names(max_parameters=2_700_000) == {"SNAS-mild"}
    assert names(min_parameters=4_000_000) == {"DrNAS-CIFAR", "DrNAS-ImageNet"}


def test_the_list_pages_through_all(service: Service, published: list[str]) -> None:
    seen, cursor = [], {}
    while True:
        page = service.get("/v1/genotypes", limit=5, **cursor)
        seen += [row["id"] for row in page["items"]]
        if page["next_cursor"] is None:
            break
        cursor = {"cursor": page["next_cursor"]}
    assert seen == sorted(published, reverse=True)


def test_a_genotype_goes_unless_something_needs_it(service: Service, published: list[str]) -> None:
    assert service.client.delete(f"/v1/genotypes/{published[0]}").status_code == 204
    assert service.client.get(f"/v1/genotypes/{published[0]}").status_code == 404
    service.post("/v1/latent-spaces", {"genotype_ids": published[1:3]})
    refused = service.client.delete(f"/v1/genotypes/{published[1]}")
    assert refused.status_code == 409
    assert "latent space" in refused.json()["detail"]


@pytest.mark.parametrize("accuracy", [0.9731, 1.0, 0.001])
def test_an_accuracy_that_looks_like_a_fraction_is_refused(
    service: Service, digits: str, accuracy: float
) -> None:
    evaluation = {"dataset_id": digits, "test_accuracy": accuracy}
    body = {"genotype": PUBLISHED[0].genotype.as_dict(), "evaluation": evaluation}
    answer = service.client.post("/v1/genotypes", json=body)
    assert answer.status_code == 422
    (error,) = answer.json()["errors"]
    assert error["field"] == "evaluation.test_accuracy"
    assert "looks like a fraction" in error["detail"]
    assert service.get("/v1/genotypes")["items"] == []
