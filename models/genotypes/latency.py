"""How long networks take on a device, added up from what each of their operations takes there."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache

import numpy as np
import torch
from torch import Tensor

from models.genotypes.search_space import SearchSpace
from models.genotypes.size import Costs, NetworkShape, edges_of

NANOSECONDS = 1_000_000
"""In a millisecond; latencies are whole numbers, as all costs are."""


class LatencyError(ValueError):
    """A table that does not tell how long a network takes; the message says what it lacks."""


@dataclass(frozen=True)
class OperationTiming:
    """What one operation takes on one edge, with the sum that its output enters.

    Args:
        operation: its name.
        channels, size, stride: of the edge; `size` is that of its input.
        ms: milliseconds.
    """

    operation: str
    channels: int
    size: int
    stride: int
    ms: float


@dataclass(frozen=True)
class NetworkTiming:
    """What a whole network takes.

    Args:
        genotype: of each cell its edges, as numbers of operation and predecessor.
        channels, cells: of the network.
        ms: milliseconds.
    """

    genotype: tuple[tuple[tuple[int, int], ...], ...]
    channels: int
    cells: int
    ms: float


@dataclass(frozen=True)
class DeviceTable:
    """What was measured on a device, for images of one size.

    A network takes what its operations take, times a factor, as they find less in the caches than alone, and
    what is the same for all. Both are fitted to the whole networks of each shape that were measured.

    Args:
        image_size: in pixels.
        operations: of every edge that networks of the measured shapes have.
        networks: of some shapes.
    """

    image_size: int
    operations: tuple[OperationTiming, ...]
    networks: tuple[NetworkTiming, ...]

    @cached_property
    def taken(self) -> Mapping[tuple[str, int, int], Mapping[int, float]]:
        """Milliseconds of each operation, image size and stride, by the channels at which it was measured."""
        found: dict[tuple[str, int, int], dict[int, float]] = {}
        for timing in self.operations:
            found.setdefault((timing.operation, timing.size, timing.stride), {})[timing.channels] = timing.ms
        return found

    @cached_property
    def shapes(self) -> list[tuple[int, int]]:
        """The channels and cells of the networks that were measured."""
        return sorted({(network.channels, network.cells) for network in self.networks})

    def tells(self, shape: NetworkShape) -> bool:
        """Whether a shape is within those that were measured."""
        channels, cells = ([value[place] for value in self.shapes] for place in (0, 1))
        return (
            min(channels) <= shape.channels <= max(channels)
            and min(cells) <= shape.cells <= max(cells)
            and shape.image_size == self.image_size
        )

    def costs(self, space: SearchSpace, shape: NetworkShape) -> Costs:
        """The costs of networks of a shape in nanoseconds.

        Between measured channels, and between measured numbers of cells, they go in a straight line.

        Raises:
            LatencyError: the shape is not within what was measured.
        """
        if shape.image_size != self.image_size:
            raise LatencyError(
                f"it was measured for images of {self.image_size} pixels, not of {shape.image_size}"
            )
        return _costs(self, space, shape)

    def left_out(self, space: SearchSpace) -> "Judged":
        """How well the table tells each network that was measured, by all but that one."""
        from scipy.stats import spearmanr

        told, taken = [], []
        for network in self.networks:
            others = tuple(other for other in self.networks if other is not network)
            shape = NetworkShape(network.channels, network.cells, image_size=self.image_size)
            if (network.channels, network.cells) in {(other.channels, other.cells) for other in others}:
                costs = replace(self, networks=others).costs(space, shape)
                told.append(int(costs.of(torch.tensor([network.genotype]), space)) / NANOSECONDS)
                taken.append(network.ms)
        if not told:
            return Judged(None, None)
        away = np.abs(np.array(told) / np.array(taken).clip(min=1e-9) - 1)
        ranks = float(spearmanr(told, taken)[0]) if len(set(told)) > 1 and len(set(taken)) > 1 else None
        return Judged(float(np.median(away)), ranks)


@dataclass(frozen=True)
class Judged:
    """How well a table tells networks that it has not seen; `None` where it has seen too few.

    Args:
        median_relative_error: of the latencies.
        spearman: the rank correlation.
    """

    median_relative_error: float | None
    spearman: float | None


def latency(genotypes: Tensor, space: SearchSpace, shape: NetworkShape, table: DeviceTable) -> Tensor:
    """int64 `[batch]`, nanoseconds of the networks of many genotypes for one image.

    Args:
        genotypes: in the form of `genotype.to_tensor`.
        space: their search space.
        shape: of the networks.
        table: of the device.

    Raises:
        LatencyError: the shape is not within what was measured.
    """
    return table.costs(space, shape).of(genotypes, space)


@lru_cache(maxsize=1024)
def _costs(table: DeviceTable, space: SearchSpace, shape: NetworkShape) -> Costs:
    factors: dict[int, dict[int, float]] = {}
    fixed: dict[int, dict[int, float]] = {}
    for channels, cells in table.shapes:
        factor, rest = _calibrated(table, space, replace(shape, channels=channels, cells=cells))
        factors.setdefault(channels, {})[cells] = factor
        fixed.setdefault(channels, {})[cells] = rest
    factor, rest = (
        _between(
            shape.channels,
            {channels: _between(shape.cells, known, "cells") for channels, known in values.items()},
            "channels",
        )
        for values in (factors, fixed)
    )
    edges = factor * _edges(table, space, shape)
    return Costs(round(rest * NANOSECONDS), (edges * NANOSECONDS).round().long())


@lru_cache(maxsize=1024)
def _calibrated(table: DeviceTable, space: SearchSpace, shape: NetworkShape) -> tuple[float, float]:
    """The factor of what operations take, and the milliseconds that networks of a measured shape share."""
    ours = [net for net in table.networks if (net.channels, net.cells) == (shape.channels, shape.cells)]
    nanoseconds = Costs(0, (_edges(table, space, shape) * NANOSECONDS).round().long())
    genotypes = torch.tensor([network.genotype for network in ours])
    added = nanoseconds.of(genotypes, space).double().numpy() / NANOSECONDS
    taken = np.array([network.ms for network in ours])
    if len(ours) > 2 and added.std() > 0:
        factor, rest = np.polyfit(added, taken, 1)
        if factor > 0 and rest >= 0:
            return float(factor), float(rest)
    return 1.0, max(0.0, float(np.median(taken - added)))


def _edges(table: DeviceTable, space: SearchSpace, shape: NetworkShape) -> Tensor:
    """Milliseconds of operations alone, float64 `[cell, from input, operation]`, over all cells."""
    edges = torch.zeros(len(space.cells), 2, len(space.operations), dtype=torch.float64)
    for cell, from_input, channels, size, stride in edges_of(space, shape):
        for index in space.choices:
            name = space.operations[index]
            if name != "none":
                where = f"channels of {name!r} on {size} x {size} pixels at stride {stride}"
                taken = _between(channels, table.taken.get((name, size, stride), {}), where)
                edges[cell, int(from_input), index] += taken
    return edges


def _between(value: int, known: Mapping[int, float], what: str) -> float:
    """The value at a place, in a straight line between the two known ones beside it."""
    places = sorted(known)
    if not places:
        raise LatencyError(f"it has no {what}")
    if not places[0] <= value <= places[-1]:
        raise LatencyError(f"it goes from {places[0]} to {places[-1]} {what}, not to {value}")
    return float(np.interp(value, places, [known[place] for place in places]))
