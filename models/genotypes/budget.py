"""Networks as large as a budget allows: the channels and cells of each genotype."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from models.genotypes.latency import DeviceTable
from models.genotypes.network import smallest_image
from models.genotypes.search_space import SearchSpace
from models.genotypes.size import Costs, NetworkShape, mac_costs, parameter_costs, standard_network

COSTS: Mapping[str, Callable[[SearchSpace, NetworkShape], Costs]] = {
    "parameters": parameter_costs,
    "macs": mac_costs,
}
"""What a budget can limit."""

STAGES = 3
"""The stages that a network's cells are dealt to, alike where their number allows."""

IRREGULAR = 2
"""Depths, from the least on, behind which a cell more in every stage always costs the same."""

MOST_CHANNELS = 512
"""The most channels of the first cells; they are even, as reductions halve them."""

FULLEST = 0.95
"""The share of what the fullest shape takes from which on a shape is as good as that one."""


@dataclass(frozen=True)
class Fitted:
    """The networks that fit, one a genotype, each int64 `[batch]`.

    Args:
        channels, cells: of the networks; 0 where none fits.
        parameters, macs: of the same networks, exact; 0 where none fits.
    """

    channels: Tensor
    cells: Tensor
    parameters: Tensor
    macs: Tensor


@dataclass(frozen=True)
class Budget:
    """What a network may cost at most.

    Args:
        shape: of the images and classes, and of what is not free.
        parameters, macs: the most; `None` for any number.
        channels, cells: those that are given; `None` where they are free.
        latency: the most nanoseconds on a device; `None` for any number. One of the three is given.
        device: what is known of the device, within whose measured channels and cells the network then is.
    """

    shape: NetworkShape
    parameters: int | None = None
    macs: int | None = None
    channels: int | None = None
    cells: int | None = None
    latency: int | None = None
    device: DeviceTable | None = None

    def fit(self, genotypes: Tensor, space: SearchSpace) -> Fitted:
        """The largest networks of genotypes that keep to the budget.

        Costs are polynomials of the second degree in the channels, and of the first in the cells that every
        stage has. So those of all shapes follow from those of a few, exactly. Of the shapes that fill the
        budget almost alike the one is taken whose channels and cells are most nearly in the proportion of the
        space's standard network.

        Args:
            genotypes: in the form of `genotype.to_tensor`.
            space: their search space, of which some depth suits the size of the images.
        """
        depths = torch.tensor(self.depths(space))
        costs = {name: self._costs(genotypes, space, name) for name in COSTS}
        limits = {name: limit for name in COSTS if (limit := getattr(self, name)) is not None}
        step = self._widest(costs, limits)  # [batch, depth]
        shares = []
        if self.latency is not None:
            step, share = self._in_time(genotypes, space, step)
            shares.append(share)
        shares += [_at(costs[name], step) / limit for name, limit in limits.items()]
        fits = step > 0
        channels = 2 * step if self.channels is None else torch.full_like(step, self.channels)
        share = torch.stack(shares).amax(0)
        full = fits & (share >= FULLEST * share.where(fits, 0).amax(1, keepdim=True))
        standard = standard_network(space)
        uneven = (channels / standard.channels).log() - (depths / standard.cells).log()
        chosen = uneven.abs().where(full, torch.inf).argmin(1, keepdim=True)
        parts = (channels, depths.expand_as(step), *(_at(cost, step) for cost in costs.values()))
        return Fitted(*(part.where(fits, 0).gather(1, chosen)[:, 0] for part in parts))

    def least(self, space: SearchSpace) -> dict[str, int]:
        """The least that any genotype costs in the shapes to choose from, by what can be limited."""
        shape = replace(self.shape, channels=self.channels or 2, cells=self.depths(space)[0])
        return {name: COSTS[name](space, shape).bounds(space)[0] for name in COSTS}

    def depths(self, space: SearchSpace) -> list[int]:
        """The numbers of cells to choose from: what deals the stages alike, or the given one."""
        if self.cells is not None:
            return [self.cells]
        most = standard_network(space).cells
        every = range(most % STAGES or STAGES, most + 1, STAGES)
        shape = self.shape
        return [cells for cells in every if smallest_image(cells, shape.large_stem) <= shape.image_size]

    def _costs(self, genotypes: Tensor, space: SearchSpace, name: str) -> Tensor:
        """int64 `[batch, depth, 3]`: the cost at the least channels, and how it differs from step to step."""
        depths = self.depths(space)
        if self.channels is not None:
            steps = [_costs(space, replace(self.shape, channels=self.channels), depths, name)]
        else:
            steps = [_costs(space, replace(self.shape, channels=2 * k), depths, name) for k in (1, 2, 3)]
        first, *others = (_of_depths(costs, genotypes, space, len(depths)) for costs in steps)
        if not others:
            return torch.stack([first, torch.zeros_like(first), torch.zeros_like(first)], dim=-1)
        second, third = others
        return torch.stack([first, second - first, third - 2 * second + first], dim=-1)

    def _widest(self, costs: Mapping[str, Tensor], limits: Mapping[str, int]) -> Tensor:
        """int64 `[batch, depth]`: the last step of channels within all limits; 0 where none is."""
        most = 1 if self.channels is not None else MOST_CHANNELS // 2
        low = torch.zeros(next(iter(costs.values())).shape[:2], dtype=torch.int64)
        high = torch.full_like(low, most)
        while bool((low < high).any()):  # costs grow with channels: halve what is left
            middle = (low + high + 1) // 2
            each = [_at(costs[name], middle) <= limit for name, limit in limits.items()]
            within = torch.stack(each).all(0) if each else torch.ones_like(middle, dtype=torch.bool)
            low, high = middle.where(within, low), high.where(within, middle - 1)
        return low

    def _in_time(self, genotypes: Tensor, space: SearchSpace, step: Tensor) -> tuple[Tensor, Tensor]:
        """The last step of channels, up to some step, that keeps to the latency, and its share of that."""
        assert self.device is not None
        assert self.latency is not None
        chosen, taken = torch.zeros_like(step), torch.zeros_like(step)
        for place, cells in enumerate(self.depths(space)):
            for k in self._measured(cells):
                shape = replace(self.shape, channels=self.channels or 2 * k, cells=cells)
                times = self.device.costs(space, shape).of(genotypes, space)
                within = (times <= self.latency) & (k <= step[:, place])
                chosen[within, place], taken[within, place] = k, times[within]
        return chosen, taken / self.latency

    def _measured(self, cells: int) -> list[int]:
        """The steps of channels, ascending, at which the device tells networks of so many cells."""
        assert self.device is not None
        steps = range(1, 2 if self.channels is not None else MOST_CHANNELS // 2 + 1)
        shapes = {k: replace(self.shape, channels=self.channels or 2 * k, cells=cells) for k in steps}
        return [k for k, shape in shapes.items() if self.device.tells(shape)]

    def least_latency(self, space: SearchSpace) -> int | None:
        """The least nanoseconds of any genotype in any shape to choose from; `None` where none is known."""
        assert self.device is not None
        shapes = [
            replace(self.shape, channels=self.channels or 2 * k, cells=cells)
            for cells in self.depths(space)
            for k in self._measured(cells)
        ]
        return min((self.device.costs(space, shape).bounds(space)[0] for shape in shapes), default=None)


def _at(costs: Tensor, step: Tensor) -> Tensor:
    """The cost at a step of channels, of `[…, 3]` differences, by Newton's interpolation."""
    first, slope, bend = costs.unbind(-1)
    return first + (step - 1) * slope + (step - 1) * (step - 2) // 2 * bend


def _of_depths(costs: list[Costs], genotypes: Tensor, space: SearchSpace, depths: int) -> Tensor:
    """int64 `[batch, depth]` from the costs of the first depths: from there on they grow evenly."""
    known = [cost.of(genotypes, space) for cost in costs]
    while len(known) < depths:
        known.append(2 * known[-1] - known[-2])
    return torch.stack(known, dim=1)


def _costs(space: SearchSpace, shape: NetworkShape, depths: list[int], name: str) -> list[Costs]:
    """The costs of the depths that do not follow from others."""
    return [COSTS[name](space, replace(shape, cells=cells)) for cells in depths[: IRREGULAR + 2]]
