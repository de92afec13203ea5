"""Devices over HTTP: tables are kept when whole, and replaced; generation keeps to their latencies."""

from dataclasses import asdict
from typing import Any

import pytest
import torch

from models.genotypes.genotype import from_dict, random_tensor, to_tensor
from models.genotypes.latency import NANOSECONDS, latency
from models.genotypes.search_space import DARTS, NAS_BENCH_201
from models.genotypes.size import NetworkShape
from tests.conftest import ONE_DATABASE, Service
from tests.models.genotypes.test_latency import made

GENERATE = "/v1/latent-spaces/generate"
CHANNELS, CELLS = [8, 16], [5, 8]
TABLE = made(DARTS, CHANNELS, CELLS)


def sent(name: str = "my-pi") -> dict[str, Any]:
    """The table as `measure.py` posts it."""

    def timed(part: Any) -> dict[str, Any]:
        fields = asdict(part)
        return {**fields, "low": fields["ms"] * 0.9, "high": fields["ms"] * 1.1}

    return {
        "name": name,
        "search_space": "darts",
        "image_size": 32,
        "runtime": {"onnxruntime": "1.27.0", "threads": 1},
        "operations": [timed(operation) for operation in TABLE.operations],
        "networks": [timed(network) for network in TABLE.networks],
    }


def milliseconds(item: dict[str, Any], channels: int, cells: int) -> float:
    genotype = to_tensor([from_dict(item["genotype"], DARTS)], DARTS)
    return int(latency(genotype, DARTS, NetworkShape(channels, cells), TABLE)) / NANOSECONDS


def test_a_table_is_kept_replaced_listed_and_forgotten(service: Service) -> None:
    first = service.client.post("/v1/devices", json=sent())
    assert first.status_code == 201
    told = first.json()
    assert (told["channels"], told["cells"]) == (CHANNELS, CELLS)
    assert told["median_relative_error"] < 0.001
    assert told["warnings"] == []
    again = service.client.post("/v1/devices", json={**sent(), "runtime": {"threads": 2}})
    assert again.status_code == 200
    assert [row["runtime"] for row in service.get("/v1/devices")["items"]] == [{"threads": 2}]
    path = f"/v1/devices/{again.json()['id']}"
    assert len(service.get(path)["operations"]) == len(TABLE.operations)
    assert service.client.delete(path).status_code == 204
    assert service.client.get(path).status_code == 404
    assert service.client.delete(path).status_code == 404


@ONE_DATABASE
def test_generated_architectures_keep_to_a_latency_and_come_in_its_order(service: Service) -> None:
    service.post("/v1/devices", sent())
    shape = {"channels": 16, "cells": 8}
    ranked = service.post(
        GENERATE,
        {
            "random": "uniform",
            "count": 20,
            "constraints": {"network": shape},
            "rank": {"by": "latency", "device": "my-pi", "draw": 200, "apart": 0},
        },
    )
    times = [item["source"]["latency_ms"] for item in ranked["items"]]
    assert times == sorted(times)
    assert times == pytest.approx([milliseconds(item, 16, 8) for item in ranked["items"]], rel=1e-4)
    assert (ranked["ranked"]["by"], ranked["ranked"]["device"]) == ("latency", "my-pi")
    limit = round(times[-1], 3)
    limited = service.post(
        GENERATE,
        {
            "random": "uniform",
            "count": 20,
            "seed": 7,
            "constraints": {"network": shape, "latency_ms": {"device": "my-pi", "max": limit}},
        },
    )
    assert limited["rejected_by_constraints"] > 0
    for item in limited["items"]:
        assert milliseconds(item, 16, 8) <= limit
        assert item["source"]["network"]["latency_ms"] == pytest.approx(milliseconds(item, 16, 8), rel=1e-4)


@ONE_DATABASE
def test_channels_and_cells_are_chosen_for_a_budget_of_time(service: Service) -> None:
    service.post("/v1/devices", sent())
    some = random_tensor(50, DARTS, torch.Generator().manual_seed(2))
    middle = latency(some, DARTS, NetworkShape(12, 6), TABLE).median()
    limit = round(int(middle) / NANOSECONDS, 3)
    budget = {"latency_ms": {"device": "my-pi", "max": limit}}
    answer = service.post(GENERATE, {"random": "uniform", "count": 10, "constraints": {"network": budget}})
    assert len(answer["items"]) == 10
    for item in answer["items"]:
        network = item["source"]["network"]
        assert network["budget"] == {"latency_ms": limit}
        assert network["channels"] in range(8, 17)
        assert network["cells"] in range(5, 9)
        assert milliseconds(item, network["channels"], network["cells"]) == pytest.approx(
            network["latency_ms"], rel=1e-4
        )
        assert network["latency_ms"] <= limit


@ONE_DATABASE
def test_a_rough_table_is_doubted_wherever_it_is_used(service: Service) -> None:
    table = sent()
    for place, network in enumerate(table["networks"]):
        for name in ("ms", "low", "high"):
            network[name] *= 1 + place % 2
    told = service.post("/v1/devices", table)
    assert told["median_relative_error"] > 0.15
    assert "are rough" in told["warnings"][0]
    shape, within = {"channels": 8, "cells": 5}, {"device": "my-pi", "max": 1000.0}
    for body in (
        {"constraints": {"network": shape, "latency_ms": within}},
        {"constraints": {"network": {"latency_ms": within}}},
        {"constraints": {"network": shape}, "rank": {"by": "latency", "device": "my-pi"}},
    ):
        answer = service.post(GENERATE, {"random": "uniform", **body})
        assert any("'my-pi' are rough" in warning for warning in answer["warnings"]), body


@ONE_DATABASE
def test_tables_that_do_not_tell_what_they_should_are_refused(service: Service) -> None:
    table = sent()
    operation, network = table["operations"][0], table["networks"][0]
    cases: list[tuple[dict[str, Any], str]] = [
        ({"search_space": "darts-2"}, "search_space"),
        ({"search_space": "nas-bench-201"}, "operations[0].operation"),
        ({"operations": [{**operation, "operation": "conv_9x9"}]}, "operations[0].operation"),
        ({"operations": [{**operation, "low": operation["ms"] + 1}]}, "operations[0]"),
        ({"operations": [{**operation, "ms": -1}]}, "operations[0].ms"),
        ({"operations": table["operations"][1:]}, "operations"),
        ({"operations": []}, "operations"),
        ({"networks": []}, "networks"),
        ({"networks": [{**network, "genotype": [[[1, 0]], [[1, 0]]]}]}, "networks[0].genotype"),
        ({"networks": [{**network, "genotype": [[[99, 0]] * 8] * 2}]}, "networks[0].genotype"),
        ({"name": ""}, "name"),
        ({"name": "a\u0000b"}, "name"),
    ]
    for change, field in cases:
        assert service.refused("/v1/devices", {**table, **change}) == [field], field
    assert service.get("/v1/devices")["items"] == []


@ONE_DATABASE
def test_a_device_without_a_table_for_the_network_is_named_and_refused(service: Service) -> None:
    service.post("/v1/devices", sent())
    random = {"random": "uniform"}
    fits = {"channels": 16, "cells": 8}

    def limited(**constraints: Any) -> dict[str, Any]:
        return {**random, "constraints": constraints}

    def within(device: str = "my-pi", most: float = 100.0) -> dict[str, Any]:
        return {"device": device, "max": most}

    limit, budget = "constraints.latency_ms", "constraints.network.latency_ms"
    cases = [
        (limited(network=fits, latency_ms=within("your-pi")), f"{limit}.device"),
        (limited(latency_ms=within()), f"{limit}.device"),  # 36 channels, 20 cells
        (limited(network={**fits, "image_size": 64}, latency_ms=within()), f"{limit}.device"),
        (limited(network=fits, latency_ms=within(most=1e-6)), limit),
        (limited(network={"latency_ms": within("your-pi")}), f"{budget}.device"),
        (limited(network={"latency_ms": within(), "channels": 64}), f"{budget}.device"),
        (limited(network={"latency_ms": within(most=1e-6)}), f"{budget}.max"),
        (limited(network={"latency_ms": within()}, latency_ms=within()), "constraints"),
        ({**random, "rank": {"by": "latency", "device": "your-pi"}}, "rank.device"),
        ({**random, "rank": {"by": "latency"}}, "rank"),
        ({**random, "rank": {"by": "macs", "device": "my-pi"}}, "rank"),
    ]
    for body, field in cases:
        assert service.refused(GENERATE, body) == [field], body
    other = {"random": "uniform", "rank": {"by": "latency", "device": "my-pi"}}
    spaces = service.get("/v1/latent-spaces", limit=100)["items"]
    ready = next(row["id"] for row in spaces if row["search_space"] == NAS_BENCH_201.name)
    assert service.refused(f"/v1/latent-spaces/{ready}/generate", other) == ["rank.device"]
