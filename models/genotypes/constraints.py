"""Limits on generated genotypes: parameters, multiply-accumulates, depth and counts of operations."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from models.genotypes.budget import Budget
from models.genotypes.genotype import edits
from models.genotypes.latency import NANOSECONDS, DeviceTable, latency
from models.genotypes.paths import depth
from models.genotypes.search_space import SearchSpace
from models.genotypes.size import (
    NetworkShape,
    count_macs,
    count_parameters,
    mac_costs,
    parameter_costs,
    standard_network,
)


class ConstraintError(ValueError):
    """Limits that no genotype can meet.

    Args:
        field: which one, as `parameters` or `operations.skip_connect`.
        detail: what would be right.
    """

    def __init__(self, field: str, detail: str) -> None:
        super().__init__(f"{field}: {detail}")
        self.field, self.detail = field, detail


@dataclass(frozen=True)
class Range:
    """A range of whole numbers from `min` to `max`, both included; `None` for no end."""

    min: int | None = None
    max: int | None = None

    def holds(self, values: Tensor) -> Tensor:
        """Boolean: which of the values are inside."""
        inside = torch.ones_like(values, dtype=torch.bool)
        if self.min is not None:
            inside &= values >= self.min
        if self.max is not None:
            inside &= values <= self.max
        return inside

    def require_within(self, field: str, least: int, most: int) -> None:
        """Raises `ConstraintError` unless some value from `least` to `most` is inside."""
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ConstraintError(field, f"min ({self.min}) is over max ({self.max})")
        if (self.min is not None and self.min > most) or (self.max is not None and self.max < least):
            raise ConstraintError(field, f"no genotype can meet it; they go from {least} to {most}")


@dataclass(frozen=True)
class Constraints:
    """Limits that generated genotypes must keep.

    Args:
        parameters, macs: of the network of `shape`.
        depth: operations on the longest path through a cell, the larger of all cells.
        operations: by name, the count in all cells together.
        edits: of each genotype from its start, as `genotype.edits` counts them.
        shape: the network of which parameters and multiply-accumulates are counted; `None` for the standard
            network of the search space.
        budget: what a network of each genotype must fit, whose channels and cells are chosen for it; `None`
            for none.
        device: what is known of the device that `latency` is of; `None` for none.
        latency: nanoseconds of the network of `shape` on it.
    """

    parameters: Range = Range()
    macs: Range = Range()
    depth: Range = Range()
    operations: Mapping[str, Range] = field(default_factory=dict)
    edits: Range = Range()
    shape: NetworkShape | None = None
    budget: Budget | None = None
    device: DeviceTable | None = None
    latency: Range = Range()

    def met_by(self, genotypes: Tensor, space: SearchSpace, starts: Tensor | None = None) -> Tensor:
        """Which genotypes keep to all of it.

        Args:
            genotypes: in the form of `genotype.to_tensor`.
            space: their search space.
            starts: the genotype from which each was drawn; `None` where there is none, and no edit counts.

        Returns:
            boolean `[batch]`.
        """
        met = self.parameters.holds(count_parameters(genotypes, space, self.shape))
        met &= self.macs.holds(count_macs(genotypes, space, self.shape))
        met &= self.depth.holds(depth(genotypes, space))
        for name, allowed in self.operations.items():
            met &= allowed.holds((genotypes[..., 0] == space.operation(name)).sum((1, 2)))
        if self.budget is not None:
            met &= self.budget.fit(genotypes, space).channels > 0
        if self.device is not None:
            shape = self.shape or standard_network(space)
            met &= self.latency.holds(latency(genotypes, space, shape, self.device))
        if starts is not None:
            met &= self.edits.holds(edits(genotypes, starts, space))
        return met

    def require_possible(self, space: SearchSpace) -> None:
        """Raises `ConstraintError` for a limit that no genotype of the space meets."""
        self._require_room(space)
        shape = self.shape or standard_network(space)
        self.parameters.require_within("parameters", *parameter_costs(space, shape).bounds(space))
        self.macs.require_within("macs", *mac_costs(space, shape).bounds(space))
        if self.device is not None:
            self._require_time(*self.device.costs(space, shape).bounds(space))
        self.depth.require_within("depth", 0 if space.none else 1, len(space.choosing))
        edges = len(space.cells) * len(space.kept)
        self.edits.require_within("edits", 0, edges)
        for name, allowed in self.operations.items():
            names = [space.operations[index] for index in space.choices]
            if name not in names:
                raise ConstraintError(
                    f"operations.{name}", f"unknown operation; must be one of {', '.join(names)}"
                )
            allowed.require_within(f"operations.{name}", 0, edges)
        needed = sum(allowed.min or 0 for allowed in self.operations.values())
        if needed > edges:
            raise ConstraintError("operations", f"ask for {needed} operations; a genotype has {edges} edges")
        if len(self.operations) == len(space.choices):
            room = sum(edges if r.max is None else r.max for r in self.operations.values())
            if room < edges:
                raise ConstraintError("operations", f"allow {room} operations; a genotype has {edges} edges")

    def _require_time(self, least: int, most: int) -> None:
        """Raises `ConstraintError`, in milliseconds, for a latency that no genotype has."""
        try:
            self.latency.require_within("latency_ms", least, most)
        except ConstraintError:
            told = f"{least / NANOSECONDS:.4g} to {most / NANOSECONDS:.4g} ms"
            raise ConstraintError("latency_ms", f"no genotype can meet it; they go from {told}") from None

    def _require_room(self, space: SearchSpace) -> None:
        """Raises `ConstraintError` for a budget that no network of any genotype fits."""
        if self.budget is None:
            return
        shape = self.budget.shape
        if not self.budget.depths(space):
            least = f"{shape.image_size} x {shape.image_size} pixels are too small for any depth"
            raise ConstraintError("network.image_size", least)
        if self.budget.device is not None and self.budget.latency is not None:
            least_time = self.budget.least_latency(space)
            if least_time is None:
                told = "the device has no table for any channels and cells that the network may have"
                raise ConstraintError("network.latency_ms.device", told)
            if self.budget.latency < least_time:
                told = f"must be at least {least_time / NANOSECONDS:.4g} ms, the smallest possible"
                raise ConstraintError("network.latency_ms.max", told)
        for name, least_cost in self.budget.least(space).items():
            limit = getattr(self.budget, name)
            if limit is not None and limit < least_cost:
                detail = f"must be at least {least_cost}, the smallest possible (got {limit})"
                raise ConstraintError(f"network.{name}.max", detail)
