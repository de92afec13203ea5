"""Ranked generation over HTTP: by what is known of a data set, by size, and refused without either."""

from collections.abc import Callable, Sequence
from typing import Any
from zlib import crc32

import pytest
import torch

from models.genotypes.genotype import from_tensor, random_tensor
from models.genotypes.search_space import DARTS
from tests.app.generation.test_endpoints import edits_by_hand, upload
from tests.conftest import ONE_DATABASE, Service

PATH = "/v1/latent-spaces/generate"
FORMS = [
    genotype.as_dict()
    for genotype in from_tensor(random_tensor(60, DARTS, torch.Generator().manual_seed(8)), DARTS)
]


def separable(form: dict[str, Any]) -> float:
    """A made accuracy in percent: by the separable convolutions of the normal cell."""
    return 90 + sum(operation.startswith("sep_conv") for operation, _ in form["normal"])


def evaluate(
    service: Service,
    dataset_id: str,
    forms: Sequence[dict[str, Any]] = FORMS,
    accuracy: Callable[[dict[str, Any]], float] = separable,
    **evaluation: Any,
) -> None:
    """Registers genotypes with their accuracies on a data set."""
    items = [
        {
            "genotype": form,
            "evaluation": {"dataset_id": dataset_id, "test_accuracy": accuracy(form), **evaluation},
        }
        for form in forms
    ]
    service.post("/v1/genotypes/batch", {"items": items})


def drawn(service: Service, dataset_id: str, **asked: Any) -> Any:
    """Ten architectures near the best point of a data set."""
    return service.post(PATH, {"near": {"dataset_id": dataset_id}, "count": 10, "seed": 3, **asked})


def test_ranked_architectures_are_better_and_differ_from_each_other(service: Service, digits: str) -> None:
    evaluate(service, digits)
    plain = drawn(service, digits, gamma=0.2)
    ranked = drawn(service, digits, gamma=0.2, rank={"by": "accuracy"})
    truth, before = ([separable(item["genotype"]) for item in one["items"]] for one in (ranked, plain))
    assert len(truth) == 10
    assert sum(truth) > sum(before) + 10
    told = ranked["ranked"]
    assert (told["by"], told["dataset_id"], told["drawn"]) == ("accuracy", digits, 500)
    assert told["agreement"]["genotypes"] == 60
    assert 0.5 < told["agreement"]["low"] < told["agreement"]["spearman"] <= told["agreement"]["high"]
    predicted = [item["source"]["predicted_accuracy"] for item in ranked["items"]]
    assert predicted == sorted(predicted, reverse=True)
    for item, accuracy in zip(ranked["items"], truth, strict=True):
        away = abs(item["source"]["predicted_accuracy"] - accuracy)
        assert away < 4 * item["source"]["predicted_deviation"] + 0.5
    forms = [item["genotype"] for item in ranked["items"]]
    assert all(edits_by_hand(a, b) >= 2 for a in forms for b in forms if a is not b)
    stored = service.get(f"/v1/genotypes/{ranked['items'][0]['id']}")["source"]["ranked"]
    assert stored == {name: value for name, value in told.items() if value is not None} | {
        "draw": 500,
        "apart": 2,
    }
    assert (
        drawn(service, digits, gamma=0.2, rank={"by": "accuracy"})["items"][3]["digest"]
        == (ranked["items"][3]["digest"])
    )
    assert plain["ranked"] is None


@ONE_DATABASE
def test_what_accuracy_ranks_is_drawn_by_deviations_unless_gamma_is_asked_for(
    service: Service, digits: str
) -> None:
    evaluate(service, digits)
    by_accuracy = {"rank": {"by": "accuracy", "draw": 50}}
    for asked, gamma, deviations in (
        ({}, 0.1, None),
        ({"rank": {"by": "parameters", "draw": 50}}, 0.1, None),
        (by_accuracy, None, 2.5),
        (by_accuracy | {"gamma": 0.3}, 0.3, None),
        (by_accuracy | {"deviations": 2}, None, 2.0),
        ({"deviations": 3}, None, 3.0),
    ):
        answer = drawn(service, digits, **asked)
        assert (answer["gamma"], answer["deviations"]) == (gamma, deviations)
        source = answer["items"][0]["source"]
        assert (source["gamma"], source.get("deviations")) == (gamma, deviations)
        assert len(source["direction"]) == 14 * 10
        assert answer["edits"]["max"] >= 2


def test_a_space_of_members_alone_is_ranked_near_by_gamma(
    service: Service, digits: str, latent_space: str
) -> None:
    evaluate(service, digits)
    near = {"near": {"dataset_id": digits}, "rank": {"by": "accuracy", "draw": 5}}
    answer = service.post(f"{latent_space}/generate", near)
    assert (answer["gamma"], answer["deviations"]) == (0.1, None)


@ONE_DATABASE
def test_the_best_as_they_are_need_not_lie_apart(service: Service, digits: str) -> None:
    evaluate(service, digits)
    together = drawn(service, digits, count=40, rank={"by": "accuracy", "apart": 0, "draw": 400})
    apart = drawn(service, digits, count=40, rank={"by": "accuracy", "apart": 6, "draw": 400})
    assert len(together["items"]) == 40
    assert together["note"] is None
    assert len(apart["items"]) < 40
    assert f"only {len(apart['items'])} of 40 found" in apart["note"]
    assert "no more of them differ in 6 edits" in apart["note"]
    mean = [
        sum(item["source"]["predicted_accuracy"] for item in one["items"]) / len(one["items"])
        for one in (together, apart)
    ]
    assert mean[0] > mean[1]


@ONE_DATABASE
def test_of_nothing_within_the_limits_nothing_is_ranked(service: Service, digits: str) -> None:
    evaluate(service, digits)
    for by in ("accuracy", "parameters"):
        none = drawn(service, digits, gamma=0, rank={"by": by}, constraints={"edits": {"min": 1}})
        assert (none["items"], none["ranked"]["drawn"]) == ([], 0)
        assert none["note"].startswith("only 0 of 10 found")


@ONE_DATABASE
def test_sizes_order_architectures_either_way(service: Service, published: list[str]) -> None:
    near = {"near": {"genotype_id": published[0]}, "gamma": 0.2, "count": 5}
    for by in ("parameters", "macs"):
        small = service.post(PATH, {**near, "rank": {"by": by}})
        large = service.post(PATH, {**near, "rank": {"by": by, "order": "largest"}})
        sizes = [[item[by] for item in one["items"]] for one in (small, large)]
        assert sizes[0] == sorted(sizes[0])
        assert sizes[1] == sorted(sizes[1], reverse=True)
        assert max(sizes[0]) < min(sizes[1])
        assert (small["ranked"]["by"], small["ranked"]["order"]) == (by, "smallest")
        assert small["ranked"]["agreement"] is None
        assert "predicted_accuracy" not in small["items"][0]["source"]
    network = {"channels": 16, "cells": 8, "image_size": 28, "image_channels": 1}
    limits = {"parameters": {"min": 200_000}, "network": network}
    kept = service.post(PATH, {**near, "constraints": limits, "rank": {"by": "parameters"}})
    sizes_kept = [item["source"]["network"]["parameters"] for item in kept["items"]]
    assert sizes_kept == sorted(sizes_kept)
    assert sizes_kept[0] >= 200_000


@pytest.mark.parametrize(
    ("known", "accuracy", "reason"),
    [
        ([], separable, "0 genotypes were evaluated"),
        (FORMS[:7], separable, "7 genotypes were evaluated; an order takes 8"),
        (FORMS[:20], lambda form: 90.0, "all 20 evaluated genotypes have one accuracy"),
        (FORMS[:20], lambda form: 90 + crc32(str(form).encode()) % 97 / 97, "which may be none"),
    ],
    ids=["nothing", "few", "one", "noise"],
)
@ONE_DATABASE
def test_an_order_that_nothing_tells_is_refused_and_size_offered(
    service: Service,
    digits: str,
    published: list[str],
    known: list[dict[str, Any]],
    accuracy: Callable[[dict[str, Any]], float],
    reason: str,
) -> None:
    if known:
        evaluate(service, digits, known, accuracy)
    body = {"near": {"genotype_id": published[0]}, "rank": {"by": "accuracy", "dataset_id": digits}}
    answer = service.client.post(PATH, json=body)
    assert answer.status_code == 422, answer.text
    (error,) = answer.json()["errors"]
    assert error["field"] == "rank.by"
    assert reason in error["detail"]
    assert "rank by 'parameters' or 'macs'" in error["detail"]
    assert service.get("/v1/genotypes", origin="generated")["items"] == []


@ONE_DATABASE
def test_an_own_data_set_ranks_as_soon_as_enough_is_known_of_it(service: Service) -> None:
    near, far = upload(service, "near", "RGB"), upload(service, "far", "RGB")
    evaluate(service, far)
    body = {"for_dataset": near, "count": 3, "rank": {"by": "accuracy", "draw": 100}}
    answer = service.post(PATH, body)
    assert answer["ranked"]["dataset_id"] == far
    assert any("'near' tells no order by accuracy: 0 genotypes" in warning for warning in answer["warnings"])
    # an order for another data set than that of the evaluations, and said to be
    assert answer["ranked"]["model"].endswith("without sizes, averaged with ridge on operations")
    assert any("are predicted as on 'far'" in warning for warning in answer["warnings"])
    evaluate(service, near, FORMS[:30], recipe="quick", seed=1)
    answer = service.post(PATH, body)
    assert answer["ranked"]["dataset_id"] == near
    assert answer["ranked"]["agreement"]["genotypes"] == 30
    assert "averaged" not in answer["ranked"]["model"]
    assert not any("order" in warning for warning in answer["warnings"])
    evaluate(service, near, FORMS[30:40], recipe="paper-small")
    answer = service.post(PATH, body)
    assert answer["ranked"]["agreement"]["genotypes"] == 40
    assert any("2 recipes ('quick', 'paper-small')" in warning for warning in answer["warnings"])


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"rank": {"by": "accuracy", "draw": 2}}, "rank.draw"),
        ({"rank": {"by": "accuracy", "draw": 10_001}}, "rank.draw"),
        ({"rank": {"by": "accuracy", "order": "largest"}}, "rank"),
        ({"rank": {"by": "macs", "dataset_id": "ds_x"}}, "rank"),
        ({"rank": {"by": "accuracy", "dataset_id": "ds_x"}}, "rank.dataset_id"),
        ({"rank": {"by": "accuracy", "apart": -1}}, "rank.apart"),
        ({"rank": {"by": "size"}}, "rank.by"),
        ({"rank": {"by": "latency"}}, "rank"),
        ({"rank": {"draw": 100}}, "rank.by"),
        ({"rank": {"by": "accuracy"}, "near": None, "random": "uniform"}, "rank.dataset_id"),
        ({"rank": {"by": "accuracy"}}, "rank.dataset_id"),  # a genotype is no data set
    ],
)
@ONE_DATABASE
def test_a_bad_rank_names_the_field(
    service: Service, published: list[str], change: dict[str, Any], field: str
) -> None:
    body = {"near": {"genotype_id": published[0]}, "count": 3, **change}
    assert service.refused(PATH, body) == [field]
    assert service.get("/v1/genotypes", origin="generated")["items"] == []


@ONE_DATABASE
def test_arms_of_an_experiment_are_ranked(service: Service, digits: str) -> None:
    evaluate(service, digits)
    arms = [
        {"kind": "near", "dataset_id": digits, "gamma": 0.2, "count": 4},
        {"kind": "near", "dataset_id": digits, "gamma": 0.2, "count": 4, "rank": {"by": "accuracy"}},
        {"kind": "near", "dataset_id": digits, "deviations": 2, "count": 4},
        {"kind": "random", "count": 4, "rank": {"by": "accuracy", "dataset_id": digits}},
    ]
    body = {"dataset_ids": [digits], "recipe": "quick", "seeds": [1], "arms": arms}
    path = service.post("/v1/experiments", body)["links"]["experiment"]
    made = service.get("/v1/genotypes", limit=100)["items"]
    told = [item["source"].get("ranked") for item in made if item["origin"] in ("generated", "random")]
    assert sum(found is None for found in told) == 8
    assert [found["dataset_id"] for found in told if found is not None] == [digits] * 8
    names = [arm["name"] for arm in service.get(path)["arms"]]
    assert names == [
        "near digits 0.2",
        "near digits 0.2 ranked by accuracy",
        "near digits by 2 deviations",
        "random ranked by accuracy",
    ]


@ONE_DATABASE
def test_a_score_of_untrained_networks_orders_and_tells_how_little_that_may_mean(
    service: Service, digits: str
) -> None:
    evaluate(service, digits, accuracy=lambda form: 90 + crc32(str(form).encode()) % 900 / 100)
    answer = drawn(service, digits, rank={"by": "naswot", "draw": 60})
    told = [item["source"]["naswot"] for item in answer["items"]]
    assert told == sorted(told, reverse=True)
    assert len(set(told)) == 10
    assert (answer["ranked"]["dataset_id"], answer["ranked"]["agreement"]["genotypes"]) == (digits, 60)
    assert answer["ranked"]["agreement"]["low"] < 0  # the accuracies were drawn by lot
    doubts = " ".join(answer["warnings"])
    assert "may be no order at all" in doubts
    assert "which may be none" in doubts
    again = drawn(service, digits, rank={"by": "naswot", "draw": 60})
    assert [item["digest"] for item in again["items"]] == [item["digest"] for item in answer["items"]]
    flows = drawn(service, digits, rank={"by": "synflow", "draw": 60})["items"]
    assert [item["digest"] for item in flows] != [item["digest"] for item in answer["items"]]


@ONE_DATABASE
def test_scores_of_untrained_networks_are_features_where_they_help(service: Service, digits: str) -> None:
    evaluate(service, digits)
    plain = drawn(service, digits, rank={"by": "accuracy", "draw": 60})
    answer = drawn(service, digits, rank={"by": "accuracy", "draw": 60, "training_free": True})
    assert len(answer["items"]) == 10
    taken = "untrained networks" in answer["ranked"]["model"]
    assert taken != any("left out" in warning for warning in answer["warnings"])
    if not taken:
        assert [item["digest"] for item in answer["items"]] == [item["digest"] for item in plain["items"]]


@ONE_DATABASE
def test_scores_need_images_and_have_a_bound(service: Service, digits: str, published: list[str]) -> None:
    evaluate(service, digits)
    facts = next(row["id"] for row in service.get("/v1/datasets")["items"] if row["source"] == "facts")
    near = {"near": {"dataset_id": digits}}
    cases = [
        ({"by": "naswot", "dataset_id": facts}, "rank.dataset_id"),
        ({"by": "naswot", "draw": 1_001}, "rank.draw"),
        ({"by": "naswot", "order": "largest"}, "rank"),
        ({"by": "naswot", "training_free": True}, "rank"),
        ({"by": "parameters", "training_free": True}, "rank"),
    ]
    for rank, field in cases:
        assert service.refused(PATH, {**near, "rank": rank}) == [field], rank
    random = {"random": "uniform", "rank": {"by": "naswot"}}
    assert service.refused(PATH, random) == ["rank.dataset_id"]
