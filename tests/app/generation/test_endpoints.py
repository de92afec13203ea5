"""Generating over HTTP: starts, limits, figures, and what is stored."""

import zipfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from app.evaluations.tables import Evaluation, EvaluationKind
from app.generation.service import FEW, _decoding
from models.genotypes.published import PUBLISHED
from tests.conftest import ONE_DATABASE, Service
from tests.models.datasets.test_sources import archive, small


def cifar10(service: Service) -> str:
    dataset_id: str = next(
        row["id"] for row in service.get("/v1/datasets")["items"] if row["name"] == "cifar10"
    )
    return dataset_id


def upload(service: Service, name: str, mode: str) -> str:
    answer = service.client.post("/v1/datasets", files={"archive": archive(small(mode))}, data={"name": name})
    dataset_id: str = answer.json()["id"]
    return dataset_id


@ONE_DATABASE
def test_gamma_0_near_a_best_point_gives_its_own_genotype(service: Service, published: list[str]) -> None:
    body = {"genotype_ids": published, "overrides": {"random_genotypes": 0, "max_epochs": 1_000}}
    space = service.post("/v1/latent-spaces", body)["links"]["latent_space"]
    (job,) = service.run_jobs()
    assert job["result"]["members_exact"] == 1.0
    body = {"near": {"dataset_id": cifar10(service)}, "gamma": 0, "count": 2}
    answer = service.post(f"{space}/generate", body)
    best = max(PUBLISHED, key=lambda p: p.reported[0].test_accuracy if p.searched_on == "cifar10" else 0)
    (point,) = answer["start"]["points"]
    assert (point["test_accuracy"], point["evaluation_kind"]) == (best.reported[0].test_accuracy, "reported")
    assert point["member"]
    assert {row["digest"] for row in answer["items"]} == {best.genotype.digest()}
    assert (answer["sampled"], answer["duplicates"]) == (2, 2)


def test_generated_architectures_are_legal_stored_and_repeatable(
    service: Service, published: list[str], latent_space: str
) -> None:
    body = {"near": {"genotype_id": published[0]}, "gamma": 0.3, "count": 50, "seed": 7}
    first, again = (service.post(f"{latent_space}/generate", body) for _ in range(2))
    assert [row["digest"] for row in first["items"]] == [row["digest"] for row in again["items"]]
    other = service.post(f"{latent_space}/generate", {**body, "seed": 8})
    assert [row["digest"] for row in first["items"]] != [row["digest"] for row in other["items"]]
    stored = service.get(f"/v1/genotypes/{first['items'][3]['id']}")
    assert stored["origin"] == "generated"
    assert stored["source"]["gamma"] == 0.3
    assert stored["source"]["points"] == [{"genotype_id": published[0], "member": True}]
    assert len(stored["source"]["direction"]) == 14 * 10
    registered = service.post("/v1/genotypes", {"genotype": stored["genotype"]})
    assert registered["digest"] == stored["digest"]


def test_requests_for_few_take_turns_and_those_for_many_wait_for_none(
    service: Service, latent_space: str
) -> None:
    path, few, many = (f"{latent_space}/generate", {"random": "prior"}, {"random": "prior", "count": FEW + 1})
    with ThreadPoolExecutor() as together:
        with _decoding:  # as if a request were being decoded
            waiting = together.submit(service.post, path, few)
            assert len(service.post(path, many)["items"]) == FEW + 1
            assert not waiting.done()
        assert len(waiting.result()["items"]) == 1


def test_random_generation_draws_from_the_box_of_the_members(service: Service, latent_space: str) -> None:
    answer = service.post(f"{latent_space}/generate", {"random": "uniform", "count": 20})
    assert {row["origin"] for row in answer["items"]} == {"random"}
    assert answer["gamma"] is None


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"gamma": 1.5}, "gamma"),
        ({"gamma": -0.1}, "gamma"),
        ({"gamma": "wide"}, "gamma"),
        ({"gamma": None, "deviations": 0}, "deviations"),
        ({"gamma": None, "deviations": 10.5}, "deviations"),
        ({"deviations": 2}, "body"),
        ({"gamma": None, "near": None, "random": "prior", "deviations": 2}, "body"),
        ({"count": 0}, "count"),
        ({"count": 10_001}, "count"),
        ({"seed": -1}, "seed"),
        ({"near": {"dataset_id": "ds_x"}}, "near.dataset_id"),
        ({"near": {"genotype_id": "gen_x"}}, "near.genotype_id"),
        ({"near": {}}, "near"),
        ({"near": None}, "body"),
        ({"random": "uniform"}, "body"),
        ({"near": None, "random": "gaussian"}, "random"),
        ({"near": None, "for_dataset": "ds_x"}, "for_dataset"),
        ({"near": None, "between": {"dataset_ids": ["ds_x"]}}, "between.dataset_ids"),
        ({"near": None, "between": {"dataset_ids": ["ds_x", "ds_y"]}}, "between.dataset_ids[0]"),
        ({"near": None, "between": {"dataset_ids": ["a", "b"], "weights": [1, -1]}}, "between.weights[1]"),
        ({"near": None, "between": {"dataset_ids": ["a", "b"], "weights": [0, 0]}}, "between"),
        ({"near": None, "between": {"dataset_ids": ["a", "b"], "weights": [1]}}, "between"),
        ({"near": None, "between": {"dataset_ids": ["a", "b", "c"], "steps": 3}}, "between"),
        ({"near": None, "between": {"dataset_ids": ["a", "a"]}}, "between"),
        ({"constraints": {"parameters": {"min": 2, "max": 1}}}, "constraints.parameters"),
        ({"constraints": {"parameters": {"max": 1_000}}}, "constraints.parameters"),
        ({"constraints": {"macs": {"min": 10**15}}}, "constraints.macs"),
        ({"constraints": {"depth": {"min": 5}}}, "constraints.depth"),
        ({"constraints": {"operations": {"conv": {"max": 1}}}}, "constraints.operations.conv"),
        (
            {"constraints": {"operations": {"skip_connect": {"min": 17}}}},
            "constraints.operations.skip_connect",
        ),
        ({"constraints": {"network": {"image_size": 2}}}, "constraints.network.image_size"),
        ({"constraints": {"edits": {"min": 17}}}, "constraints.edits"),
        ({"temperature": 1}, "temperature"),
    ],
)
@ONE_DATABASE
def test_a_bad_generate_request_names_the_field_and_stores_nothing(
    service: Service, published: list[str], change: dict[str, Any], field: str
) -> None:
    body = {"near": {"genotype_id": published[0]}, "gamma": 0.1, "count": 1, **change}
    assert service.refused("/v1/latent-spaces/generate", body) == [field]
    assert service.get("/v1/genotypes", origin="generated")["items"] == []


def test_a_data_set_without_evaluation_is_no_start(service: Service, digits: str, latent_space: str) -> None:
    assert service.refused(f"{latent_space}/generate", {"near": {"dataset_id": digits}}) == [
        "near.dataset_id"
    ]


def test_limits_are_kept_and_what_they_cost_is_told(service: Service, latent_space: str) -> None:
    network = {"channels": 16, "cells": 8, "classes": 10, "image_channels": 3, "image_size": 32}
    limits = {
        "parameters": {"max": 280_000},
        "depth": {"min": 2},
        "operations": {"skip_connect": {"min": 1, "max": 4}},
        "network": network,
    }
    body = {"random": "prior", "count": 30, "seed": 3, "unique": True, "constraints": limits}
    answer = service.post(f"{latent_space}/generate", body)
    assert len(answer["items"]) == len({row["digest"] for row in answer["items"]}) == 30
    assert answer["rejected_by_constraints"] > 0
    assert answer["sampled"] == 30 + answer["rejected_by_constraints"] + answer["duplicates"]
    assert (answer["repaired"], answer["note"]) == (0, None)
    for row in answer["items"]:
        edges = [name for cell in ("normal", "reduce") for name, _ in row["genotype"][cell]]
        assert 1 <= edges.count("skip_connect") <= 4
        sizes = row["source"]["network"]
        assert sizes["parameters"] <= 280_000
        assert {name: sizes[name] for name in network} == network
    assert service.get(f"/v1/genotypes/{answer['items'][0]['id']}")["macs"] == answer["items"][0]["macs"]


def test_fewer_than_asked_for_is_told(service: Service, published: list[str], latent_space: str) -> None:
    body = {"near": {"genotype_id": published[0]}, "gamma": 0, "count": 5, "unique": True}
    answer = service.post(f"{latent_space}/generate", body)
    assert len(answer["items"]) <= 1
    assert answer["sampled"] == answer["duplicates"] + len(answer["items"])
    assert answer["note"].startswith(f"only {len(answer['items'])} of 5 found")


def test_between_two_best_points_goes_from_one_to_the_other(
    service: Service, digits: str, published: list[str], latent_space: str
) -> None:
    genotype = service.get(f"/v1/genotypes/{published[3]}")["genotype"]
    evaluation = {"dataset_id": digits, "test_accuracy": 99.0}
    service.post("/v1/genotypes", {"genotype": genotype, "evaluation": evaluation})
    between = {"dataset_ids": [digits, cifar10(service)], "steps": 5}
    answer = service.post(f"{latent_space}/generate", {"between": between, "gamma": 0, "count": 10})
    assert [point["dataset_id"] for point in answer["start"]["points"]] == between["dataset_ids"]
    assert answer["start"]["weights"] == [[1, 0], [0.75, 0.25], [0.5, 0.5], [0.25, 0.75], [0, 1]]
    weights = [row["source"]["weights"] for row in answer["items"]]
    assert weights == 2 * answer["start"]["weights"]
    for end in (0, 1):
        body = {"near": {"dataset_id": between["dataset_ids"][end]}, "gamma": 0}
        (alone,) = service.post(f"{latent_space}/generate", body)["items"]
        assert answer["items"][4 * end]["digest"] == alone["digest"]
    body = {"between": {"dataset_ids": between["dataset_ids"], "weights": [3, 1]}, "gamma": 0}
    weighted = service.post(f"{latent_space}/generate", body)
    assert weighted["start"]["weights"] == [[0.75, 0.25]]
    assert weighted["items"][0]["digest"] == answer["items"][1]["digest"]


def test_for_a_data_set_the_nearest_with_a_best_point_is_picked(
    service: Service, digits: str, latent_space: str
) -> None:
    near, far = upload(service, "near", "RGB"), upload(service, "far", "RGB")  # the same images
    genotype = PUBLISHED[0].genotype.as_dict()
    for dataset_id in (digits, far):
        evaluation = {"dataset_id": dataset_id, "test_accuracy": 90.0}
        service.post("/v1/genotypes", {"genotype": genotype, "evaluation": evaluation})
    answer = service.post(f"{latent_space}/generate", {"for_dataset": near, "count": 3})
    nearest = answer["start"]["nearest"]
    assert (nearest["for_dataset"], nearest["dataset_id"]) == (near, far)
    assert "'far' is the nearest of 3 data sets with a trained or reported point" in nearest["reason"]
    assert [warning for warning in answer["warnings"] if "far in edits" not in warning] == []
    known = service.get(f"/v1/datasets/{near}/neighbors")["items"]
    assert nearest["distance"] == known[0]["distance"]
    assert service.get(f"/v1/genotypes/{answer['items'][0]['id']}")["source"]["nearest"] == nearest


@pytest.mark.parametrize(
    ("there", "confidence", "warned"),
    [
        (range(60, 72), "high", False),
        (range(72, 60, -1), "low", True),
        ([60, 71, 61, 70, 62, 69, 63, 68, 64, 67, 65, 66], "unknown", False),
        (range(60, 67), "unknown", False),  # too few to tell
        ([60] * 12, "unknown", False),
    ],
)
@ONE_DATABASE
def test_the_ranks_on_both_data_sets_tell_how_sure_a_start_is(
    service: Service, there: Sequence[int], confidence: str, warned: bool
) -> None:
    near, far = upload(service, "near", "RGB"), upload(service, "far", "RGB")
    published = [{"genotype": entry.genotype.as_dict()} for entry in PUBLISHED[:12]]
    for dataset_id, accuracies in ((near, range(70, 82)), (far, there)):
        for form, accuracy in zip(published, accuracies, strict=False):
            evaluation = {"dataset_id": dataset_id, "test_accuracy": accuracy}
            service.post("/v1/genotypes", {**form, "evaluation": evaluation})
    answer = service.post("/v1/latent-spaces/generate", {"for_dataset": near})
    nearest = answer["start"]["nearest"]
    assert (nearest["dataset_id"], nearest["confidence"]) == (far, confidence)
    assert any("rank otherwise" in warning for warning in answer["warnings"]) is warned
    if len(set(there)) < 12:
        assert nearest["agreement"] is None
    else:
        agreement = nearest["agreement"]
        assert agreement["genotypes"] == 12
        assert agreement["low"] <= agreement["spearman"] <= agreement["high"]


def test_an_empty_field_of_data_sets_has_no_nearest(service: Service, digits: str) -> None:
    assert service.refused("/v1/latent-spaces/generate", {"for_dataset": digits}) == ["for_dataset"]


@ONE_DATABASE
def test_photographs_find_cifar10_on_a_fresh_service(
    service: Service, digits: str, data_root: Path, published: list[str]
) -> None:
    if not (data_root / "cifar10.zip").exists():
        pytest.skip(f"no cifar10.zip in {data_root}")
    with zipfile.ZipFile(data_root / "cifar10.zip") as whole:
        chosen = [name for name in whole.namelist() if name.endswith(".jpg")][:: 60_000 // 600]
        photographs = archive({name: whole.read(name) for name in chosen})
    evaluation = {"dataset_id": digits, "test_accuracy": 99.0}
    service.post("/v1/genotypes", {"genotype": PUBLISHED[0].genotype.as_dict(), "evaluation": evaluation})
    answer = service.client.post("/v1/datasets", files={"archive": photographs}, data={"name": "photographs"})
    assert answer.status_code == 201, answer.text
    found = service.post("/v1/latent-spaces/generate", {"for_dataset": answer.json()["id"], "count": 2})
    assert found["start"]["nearest"]["name"] == "cifar10"
    assert found["start"]["points"][0]["evaluation_kind"] == "reported"
    assert not any("far" in warning for warning in found["warnings"])


def test_a_start_that_may_be_a_bad_one_is_doubted(service: Service, digits: str) -> None:
    near, far = upload(service, "near", "RGB"), upload(service, "far", "RGB")
    genotype = PUBLISHED[0].genotype.as_dict()
    for dataset_id, accuracy in ((digits, 12.0), (far, 55.0)):
        evaluation = {"dataset_id": dataset_id, "test_accuracy": accuracy}
        service.post("/v1/genotypes", {"genotype": genotype, "evaluation": evaluation})
    # the nearer data set has a supernet's own accuracy alone, so the further one is taken
    with service.database.session() as session:
        session.query(Evaluation).filter_by(dataset_id=far).update({"kind": EvaluationKind.SEARCH})
        session.commit()
    answer = service.post("/v1/latent-spaces/generate", {"for_dataset": near})
    assert answer["start"]["nearest"]["name"] == "digits"
    assert (
        "nearer, but with a supernet's or brief accuracy alone: 'far'" in answer["start"]["nearest"]["reason"]
    )
    doubts = " ".join(answer["warnings"])
    assert "'digits', is far" in doubts
    assert "12.00 %, near the 10.00 % of chance" in doubts
    assert answer["start"]["nearest"]["confidence"] == "low"
    with service.database.session() as session:
        session.query(Evaluation).filter_by(dataset_id=digits).delete()
        session.commit()
    answer = service.post("/v1/latent-spaces/generate", {"for_dataset": near})
    assert answer["start"]["nearest"]["name"] == "far"
    assert any("a supernet's accuracy, not that of a training" in w for w in answer["warnings"])


def test_architectures_tell_how_near_they_are_to_their_start(
    service: Service, digits: str, published: list[str]
) -> None:
    near = {"near": {"genotype_id": published[0]}, "count": 40, "seed": 5}
    path = "/v1/latent-spaces/generate"
    answer = service.post(path, {**near, "gamma": 0.1})
    start = service.get(f"/v1/genotypes/{published[0]}")["genotype"]
    counted = [edits_by_hand(item["genotype"], start) for item in answer["items"]]
    assert [item["source"]["edits"] for item in answer["items"]] == counted
    told = answer["edits"]
    assert told["mean"] == pytest.approx(sum(counted) / 40)
    assert (told["min"], told["max"]) == (min(counted), max(counted))
    assert told["counts"] == {str(n): counted.count(n) for n in sorted(set(counted))}
    assert service.post(path, {**near, "gamma": 0})["edits"]["counts"] == {"0": 40}
    limits = {"edits": {"min": 1, "max": 3}}
    few = service.post(path, {**near, "count": 5, "gamma": 0.2, "unique": True, "constraints": limits})
    assert len(few["items"]) == 5
    assert all(1 <= item["source"]["edits"] <= 3 for item in few["items"])
    assert few["rejected_by_constraints"] > 0
    assert service.post(path, {"random": "uniform", "count": 2})["edits"] is None
    assert service.refused(path, {"random": "uniform", "constraints": limits}) == ["body"]
    between = {"between": {"dataset_ids": [cifar10(service), imagenet(service)], "steps": 3}, "count": 3}
    assert service.post(path, {**between, "gamma": 0})["edits"]["counts"] == {"0": 3}


def edits_by_hand(genotype: dict[str, Any], start: dict[str, Any]) -> int:
    count = 0
    for cell in ("normal", "reduce"):
        for node in range(4):
            ours, theirs = (
                {tuple(edge) for edge in one[cell][2 * node : 2 * node + 2]} for one in (genotype, start)
            )
            count += len(ours - theirs)
    return count


def imagenet(service: Service) -> str:
    dataset_id: str = next(
        row["id"] for row in service.get("/v1/datasets")["items"] if row["name"] == "imagenet"
    )
    return dataset_id
