"""Networks fit to a budget over HTTP: chosen for each architecture, then trained and exported as chosen."""

from typing import Any

import pytest

from tests.app.generation.test_endpoints import upload
from tests.conftest import ONE_DATABASE, Service

PATH = "/v1/latent-spaces/generate"
NETWORK = ("channels", "cells", "image_channels", "image_size", "classes", "stem")


def drawn(service: Service, published: list[str], network: dict[str, Any], **others: Any) -> Any:
    """Architectures near a published one, with networks that fit."""
    near = {"near": {"genotype_id": published[0]}, "gamma": 0.2, "count": 6, "unique": True}
    return service.post(PATH, {**near, "constraints": {"network": network, **others}})


@ONE_DATABASE
def test_every_architecture_gets_the_largest_network_that_fits(
    service: Service, digits: str, published: list[str]
) -> None:
    limit = 120_000
    answer = drawn(service, published, {"parameters": {"max": limit}, "dataset_id": digits})
    shapes = set()
    for item in answer["items"]:
        network = item["source"]["network"]
        assert 0.8 * limit < network["parameters"] <= limit
        assert (network["image_channels"], network["image_size"], network["classes"]) == (1, 8, 10)
        assert network["budget"] == {"parameters": limit}
        shapes.add((network["channels"], network["cells"]))
        assert network["channels"] % 2 == 0
        query = {name: network[name] for name in NETWORK}
        code = service.client.get(f"/v1/genotypes/{item['id']}/module.py", params=query).text
        assert code == service.client.get(f"/v1/genotypes/{item['id']}/module.py?of_source=true").text
        assert built(code) == network["parameters"]
    assert len(shapes) > 1
    whole = drawn(service, published, {"macs": {"max": 4_000_000}, "cells": 5, "image_size": 16})
    assert {item["source"]["network"]["cells"] for item in whole["items"]} == {5}
    assert all(item["source"]["network"]["macs"] <= 4_000_000 for item in whole["items"])


def built(code: str) -> int:
    """The parameters of the network that a module builds."""
    module: dict[str, Any] = {"__name__": "exported"}
    exec(compile(code, "module.py", "exec"), module)
    return sum(part.numel() for part in module["build"]().parameters())


@ONE_DATABASE
def test_a_budget_for_a_data_set_is_of_its_images(service: Service, published: list[str]) -> None:
    near, far = upload(service, "near", "RGB"), upload(service, "far", "RGB")
    form = service.get(f"/v1/genotypes/{published[1]}")["genotype"]
    evaluation = {"dataset_id": far, "test_accuracy": 90.0}
    service.post("/v1/genotypes", {"genotype": form, "evaluation": evaluation})
    limits = {"network": {"parameters": {"max": 100_000}}}
    answer = service.post(PATH, {"for_dataset": near, "constraints": limits})
    shown = service.get(f"/v1/datasets/{near}")
    network = answer["items"][0]["source"]["network"]
    assert network["image_size"] == shown["image_size"]
    assert (network["image_channels"], network["classes"]) == (shown["channels"], shown["classes"])


@ONE_DATABASE
def test_what_a_budget_chose_is_what_is_trained(service: Service, digits: str, published: list[str]) -> None:
    answer = drawn(service, published, {"parameters": {"max": 30_000}, "dataset_id": digits})
    chosen = {item["id"]: item["source"]["network"] for item in answer["items"][:2]}
    body = {
        "dataset_id": digits,
        "genotype_ids": list(chosen),
        "recipe": "quick",
        "overrides": {"epochs": 1, "train_images": 100},
        "network": "source",
        "seeds": [1],
    }
    service.post("/v1/trainings", body)
    assert {job["status"] for job in service.run_jobs()} == {"succeeded"}
    for genotype_id, network in chosen.items():
        (evaluation,) = service.get(f"/v1/genotypes/{genotype_id}")["evaluations"]
        assert evaluation["parameters"] == network["parameters"]
        assert evaluation["macs"] == network["macs"]
        assert evaluation["settings"]["cells"] == network["cells"]
    assert service.refused("/v1/trainings", {**body, "genotype_ids": published[:1]}) == ["genotype_ids[0]"]
    assert service.refused("/v1/trainings", {**body, "overrides": {"cells": 3}}) == ["overrides.cells"]
    other = upload(service, "other", "RGB")
    assert service.refused("/v1/trainings", {**body, "dataset_id": other}) == ["genotype_ids[0]"]


@ONE_DATABASE
def test_an_arm_with_a_budget_is_trained_within_it(service: Service, digits: str) -> None:
    limits = {"network": {"parameters": {"max": 25_000}}}
    body = {
        "dataset_ids": [digits],
        "recipe": "quick",
        "overrides": {"epochs": 1, "train_images": 100},
        "seeds": [1],
        "arms": [
            {"kind": "random", "count": 2, "name": "small", "constraints": limits},
            {"kind": "random", "count": 1, "name": "recipe"},
        ],
    }
    service.post("/v1/experiments", body)
    service.run_jobs()
    rows = service.get(f"/v1/datasets/{digits}/leaderboard")["items"]
    sizes = {name: [row["parameters"] for row in rows if row["arm"] == name] for name in ("small", "recipe")}
    assert len(sizes["small"]) == 2
    assert all(18_000 < size <= 25_000 for size in sizes["small"])
    assert sizes["recipe"][0] > 40_000
    limits["network"]["dataset_id"] = upload(service, "other", "RGB")  # type: ignore[assignment]
    assert service.refused("/v1/experiments", body) == ["arms[0]"]
    assert len(service.get("/v1/experiments")["items"]) == 1


@pytest.mark.parametrize(
    ("limits", "field"),
    [
        ({"network": {"parameters": {"max": 100}}}, "constraints.network.parameters.max"),
        ({"network": {"macs": {"max": 5}}}, "constraints.network.macs.max"),
        ({"network": {"parameters": {"max": 0}}}, "constraints.network.parameters.max"),
        ({"network": {"parameters": {"min": 5}}}, "constraints.network.parameters.max"),
        ({"network": {"parameters": {"max": 10**6}, "channels": 8, "cells": 5}}, "constraints.network"),
        ({"network": {"parameters": {"max": 10**6}, "dataset_id": "ds_x"}}, "constraints.network.dataset_id"),
        ({"network": {"dataset_id": "ds_x", "classes": 3}}, "constraints.network"),
        ({"network": {"parameters": {"max": 10**6}}, "parameters": {"min": 5}}, "constraints"),
    ],
)
@ONE_DATABASE
def test_a_bad_budget_names_the_field(
    service: Service, published: list[str], limits: dict[str, Any], field: str
) -> None:
    body = {"near": {"genotype_id": published[0]}, "constraints": limits}
    answer = service.client.post(PATH, json=body)
    assert answer.status_code == 422, answer.text
    assert field in [error["field"] for error in answer.json()["errors"]]
    assert service.get("/v1/genotypes", origin="generated")["items"] == []


@ONE_DATABASE
def test_a_budget_too_small_says_the_smallest_possible(service: Service, published: list[str]) -> None:
    near = {"near": {"genotype_id": published[0]}}
    too_small = {**near, "constraints": {"network": {"parameters": {"max": 100}}}}
    detail = service.client.post(PATH, json=too_small).json()["detail"]
    least = int(detail.split("at least ")[1].split(",")[0])
    assert least > 100
    enough = {**near, "constraints": {"network": {"parameters": {"max": least - 1}}}}
    assert service.refused(PATH, enough) == ["constraints.network.parameters.max"]


@ONE_DATABASE
def test_an_export_of_no_network_is_refused(service: Service, published: list[str]) -> None:
    path = f"/v1/genotypes/{published[0]}/module.py"
    for query in ("of_source=true", "of_source=true&cells=3"):
        answer = service.client.get(f"{path}?{query}")
        assert answer.status_code == 422
        assert "of_source" in answer.json()["detail"]
