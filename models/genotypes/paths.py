"""Paths through cells: how long and how many they are, and which edges lie on one."""

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from models.genotypes.operations import OPERATIONS
from models.genotypes.search_space import SearchSpace


def live(genotypes: Tensor, space: SearchSpace) -> Tensor:
    """The genotypes without the edges that lead nowhere, or come from nowhere.

    Where `none` can be chosen, an edge can be on no path from an input to the output. Its operation then
    changes nothing that the cell computes, and two genotypes that differ there alone are one network.

    Args:
        genotypes: in the form of `genotype.to_tensor`.
        space: their search space.

    Returns:
        int64 of the same form, with `none` on such edges; the same where `none` cannot be chosen.
    """
    if not space.none:
        return genotypes
    none = space.operation("none")
    operation, predecessor = genotypes.unbind(-1)  # [batch, cell, edge]
    there = operation != none
    begun = torch.zeros(*operation.shape[:2], space.choosers.stop, dtype=torch.bool)
    ended = torch.zeros_like(begun)
    begun[:, :, : space.inputs], ended[:, :, _ends(space)] = True, True
    nodes = list(zip(space.choosing, space.slots, strict=True))
    for node, slot in nodes:
        begun[:, :, node] = (begun.gather(2, predecessor[:, :, slot]) & there[:, :, slot]).any(2)
    on_path = torch.zeros_like(there)
    for node, slot in reversed(nodes):
        before = predecessor[:, :, slot]
        on_path[:, :, slot] = there[:, :, slot] & begun.gather(2, before) & ended[:, :, node, None]
        ended.scatter_reduce_(2, before, on_path[:, :, slot], "amax")
    return torch.stack([operation.where(on_path, none), predecessor], dim=-1)


@dataclass(frozen=True)
class Paths:
    """The paths from the inputs of cells to what enters their outputs.

    Args:
        longest: int64 `[batch, cell, end]`, operations on the longest path to each node that enters the
            output, or to the output itself where it is the last node; 0 where no path leads there.
        weighted: the same, but operations with weights alone count.
        number: int64 `[batch, cell]`, paths to the output.
    """

    longest: Tensor
    weighted: Tensor
    number: Tensor


def paths(genotypes: Tensor, space: SearchSpace) -> Paths:
    """The paths through the cells of genotypes in the form of `genotype.to_tensor`."""
    operation, predecessor = genotypes.unbind(-1)  # [batch, cell, edge]
    there = operation != space.operation("none") if space.none else torch.ones_like(operation).bool()
    with_weights = torch.tensor([_has_weights(name) for name in space.operations]).long()
    number = torch.zeros(*operation.shape[:2], space.choosers.stop, dtype=torch.int64)
    number[:, :, : space.inputs] = 1
    for node, slot in zip(space.choosing, space.slots, strict=True):
        number[:, :, node] = (number.gather(2, predecessor[:, :, slot]) * there[:, :, slot]).sum(2)
    return Paths(
        _longest(predecessor, there, torch.ones_like(operation), space),
        _longest(predecessor, there, with_weights[operation], space),
        number[:, :, _ends(space)].sum(2),
    )


def depth(genotypes: Tensor, space: SearchSpace) -> Tensor:
    """Operations on the longest path from an input to the output, the larger of all cells.

    Args:
        genotypes: in the form of `genotype.to_tensor`.
        space: their search space.

    Returns:
        int64 `[batch]`; 0 where no path leads from an input to the output.
    """
    return paths(genotypes, space).longest.amax((1, 2))


def _longest(predecessor: Tensor, there: Tensor, steps: Tensor, space: SearchSpace) -> Tensor:
    nowhere = -len(space.edges)  # so low that no path makes up for it
    steps = steps.where(there, nowhere)
    reached = torch.zeros(*predecessor.shape[:2], space.choosers.stop, dtype=torch.int64)
    for node, slot in zip(space.choosing, space.slots, strict=True):
        before = reached.gather(2, predecessor[:, :, slot])
        reached[:, :, node] = (before + steps[:, :, slot]).amax(2).clamp(min=nowhere)
    return reached[:, :, _ends(space)].clamp(min=0)


def _ends(space: SearchSpace) -> list[int]:
    """The nodes that enter the output, or the output where it is the last node."""
    return list(space.concat) or [space.choosers.stop - 1]


@lru_cache
def _has_weights(name: str) -> bool:
    with torch.device("meta"):
        return any(True for _ in OPERATIONS[name](8, 1, False).parameters())
