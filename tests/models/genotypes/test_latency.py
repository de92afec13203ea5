"""Latencies from a device's table: exact where it is additive, within its shapes alone, and judged unseen."""

from dataclasses import replace
from itertools import product

import pytest
import torch
from torch import Tensor

from models.genotypes.budget import Budget
from models.genotypes.constraints import ConstraintError, Constraints, Range
from models.genotypes.genotype import random_tensor
from models.genotypes.latency import (
    NANOSECONDS,
    DeviceTable,
    LatencyError,
    NetworkTiming,
    OperationTiming,
    latency,
)
from models.genotypes.search_space import DARTS, NAS_BENCH_201, SearchSpace
from models.genotypes.size import NetworkShape, edges_of

FACTOR, REST = 1.25, 0.5

SPACES = pytest.mark.parametrize("space", [DARTS, NAS_BENCH_201], ids=lambda space: space.name)


def cost(space: SearchSpace, name: str, channels: int, size: int, stride: int) -> float:
    """Made milliseconds of an operation, in a straight line in channels."""
    return (1 + space.operations.index(name)) * channels * size**2 / stride * 1e-5


def by_hand(genotypes: Tensor, space: SearchSpace, shape: NetworkShape) -> Tensor:
    """Milliseconds of networks, one edge after the other."""
    told = []
    for genotype in genotypes.tolist():
        total = REST * shape.cells
        for cell, from_input, channels, size, stride in edges_of(space, shape):
            for operation, predecessor in genotype[cell]:
                name = space.operations[operation]
                if name != "none" and (predecessor < space.inputs) == from_input:
                    total += FACTOR * cost(space, name, channels, size, stride)
        told.append(total)
    return torch.tensor(told, dtype=torch.float64)


def made(space: SearchSpace, channels: list[int], cells: list[int], networks: int = 6) -> DeviceTable:
    """A table of a device that is as additive as a table can tell."""
    shapes = [NetworkShape(c, d) for c, d in product(channels, cells)]
    places = sorted({edge[2:] for shape in shapes for edge in edges_of(space, shape)})
    names = [space.operations[index] for index in space.choices if space.operations[index] != "none"]
    operations = [
        OperationTiming(name, *place, cost(space, name, *place)) for place in places for name in names
    ]
    drawn = random_tensor(networks, space, torch.Generator().manual_seed(3))
    timings = [
        NetworkTiming(
            tuple(tuple((edge[0], edge[1]) for edge in cell) for cell in form),
            shape.channels,
            shape.cells,
            ms,
        )
        for shape in shapes
        for form, ms in zip(drawn.tolist(), by_hand(drawn, space, shape).tolist(), strict=True)
    ]
    return DeviceTable(32, tuple(operations), tuple(timings))


@SPACES
def test_a_latency_is_the_sum_of_its_operations_times_a_factor_and_what_all_share(space: SearchSpace) -> None:
    table = made(space, [8, 16], [5, 8])
    genotypes = random_tensor(50, space, torch.Generator().manual_seed(1))
    for channels, cells in product((8, 16), (5, 8)):
        shape = NetworkShape(channels, cells)
        told = latency(genotypes, space, shape, table).double() / NANOSECONDS
        assert torch.allclose(told, by_hand(genotypes, space, shape), rtol=1e-4)
    between = NetworkShape(12, 5)
    told = latency(genotypes, space, between, table).double() / NANOSECONDS
    assert torch.allclose(told, by_hand(genotypes, space, between), rtol=1e-4)


def test_what_lies_outside_the_measured_shapes_is_not_told() -> None:
    table = made(DARTS, [8, 16], [5, 8])
    for shape, told in (
        (NetworkShape(17, 5), "16"),
        (NetworkShape(8, 9), "5 to 8 cells"),
        (NetworkShape(8, 5, image_size=64), "32 pixels"),
    ):
        assert not table.tells(shape)
        with pytest.raises(LatencyError, match=told):
            table.costs(DARTS, shape)


def test_a_table_is_judged_by_networks_that_it_has_not_seen() -> None:
    table = made(DARTS, [8], [5])
    judged = table.left_out(DARTS)
    assert judged.median_relative_error == pytest.approx(0, abs=1e-4)
    assert judged.spearman == pytest.approx(1)
    wrong = replace(
        table,
        networks=tuple(replace(net, ms=net.ms * (1 + place % 2)) for place, net in enumerate(table.networks)),
    )
    error = wrong.left_out(DARTS).median_relative_error
    assert error is not None
    assert error > 0.2
    assert replace(table, networks=table.networks[:1]).left_out(DARTS).median_relative_error is None


def test_limits_on_latency_hold_and_name_what_is_possible() -> None:
    table, shape = made(DARTS, [8], [5]), NetworkShape(8, 5)
    genotypes = random_tensor(200, DARTS, torch.Generator().manual_seed(4))
    times = latency(genotypes, DARTS, shape, table)
    middle = int(times.median())
    constraints = Constraints(shape=shape, device=table, latency=Range(max=middle))
    constraints.require_possible(DARTS)
    assert torch.equal(constraints.met_by(genotypes, DARTS), times <= middle)
    least, most = table.costs(DARTS, shape).bounds(DARTS)
    assert least <= int(times.min()) <= int(times.max()) <= most
    with pytest.raises(ConstraintError, match=f"{least / NANOSECONDS:.4g}") as refused:
        replace(constraints, latency=Range(max=least - 1)).require_possible(DARTS)
    assert refused.value.field == "latency_ms"


@SPACES
@pytest.mark.parametrize("given", [{}, {"channels": 12}, {"cells": 5}, {"parameters": 60_000}])
def test_a_budget_of_time_chooses_the_largest_network_within_it(
    space: SearchSpace, given: dict[str, int]
) -> None:
    table = made(space, [4, 24], [3, 5, 8, 11])
    genotypes = random_tensor(20, space, torch.Generator().manual_seed(5))
    reference = latency(genotypes, space, NetworkShape(16, 6), table)
    budget = Budget(NetworkShape(2, 1), latency=int(reference.median()), device=table, **given)
    fitted = budget.fit(genotypes, space)
    assert (fitted.channels > 0).any()
    for row, genotype in enumerate(genotypes):
        channels, cells = int(fitted.channels[row]), int(fitted.cells[row])
        if channels == 0:
            continue
        shape = NetworkShape(channels, cells)
        assert table.tells(shape)
        taken = int(latency(genotype[None], space, shape, table))
        assert taken <= int(reference.median())
        wider = NetworkShape(channels + 2, cells)
        if "channels" not in given and "parameters" not in given and table.tells(wider):
            assert int(latency(genotype[None], space, wider, table)) > int(reference.median())
    if "parameters" in given:
        assert int(fitted.parameters.max()) <= 60_000


def test_a_budget_of_time_that_nothing_meets_says_what_would() -> None:
    table = made(DARTS, [4, 8], [5])
    budget = Budget(NetworkShape(2, 1), latency=1, device=table)
    with pytest.raises(ConstraintError, match="the smallest possible") as refused:
        Constraints(budget=budget).require_possible(DARTS)
    assert refused.value.field == "network.latency_ms.max"
    elsewhere = replace(budget, channels=64)
    with pytest.raises(ConstraintError) as refused:
        Constraints(budget=elsewhere).require_possible(DARTS)
    assert refused.value.field == "network.latency_ms.device"
