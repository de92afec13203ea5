"""The best of many genotypes by some order, and different from each other."""

import torch
from torch import Tensor

from models.genotypes.genotype import edits
from models.genotypes.paths import live
from models.genotypes.search_space import SearchSpace


def best(genotypes: Tensor, scores: Tensor, count: int, space: SearchSpace, apart: int) -> Tensor:
    """The genotypes of the highest scores, of which no two are near each other.

    Args:
        genotypes: in the form of `genotype.to_tensor`.
        scores: `[batch]`, the best first.
        count: the most that are wanted.
        space: the search space.
        apart: the edits in which any two must differ at least; edges that lead nowhere do not count. At 0
            nothing is left out.

    Returns:
        int64 numbers of genotypes, the best first; fewer than `count` where no more are apart.
    """
    order = scores.argsort(descending=True, stable=True)
    if apart == 0:
        return order[:count]
    alive = live(genotypes, space)[order]
    free = torch.ones(len(order), dtype=torch.bool)
    chosen: list[int] = []
    while len(chosen) < count and bool(free.any()):
        first = int(free.int().argmax())
        chosen.append(first)
        free &= edits(alive, alive[first].expand_as(alive), space) >= apart
        free[first] = False
    return order[chosen]
