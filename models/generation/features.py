"""What tells the accuracy of a genotype: its form and its size as numbers."""

from collections.abc import Mapping
from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from models.genotypes.genotype import random_tensor
from models.genotypes.graph import from_tensor
from models.genotypes.paths import live, paths
from models.genotypes.search_space import SearchSpace
from models.genotypes.size import count_macs, count_parameters

REFERENCE = 2_000
"""Random genotypes that tell how far each feature varies in a search space."""

SIZES = 2
"""The number of the last columns, which tell sizes; all others tell the form."""

Figures = NDArray[np.float64]


def features(genotypes: Tensor, space: SearchSpace) -> Figures:
    """The features of genotypes, in blocks that weigh the same.

    The blocks are: the operation on every (predecessor, node), one-hot; counts of operations by cell, and by
    node; counts of predecessors by cell; longest paths and the number of paths by cell; and the logarithms of
    the parameters and multiply-accumulates of the space's standard network. Edges that lead nowhere count as
    `none` in all but the last, as nothing passes them.

    Each feature is centred and scaled by random genotypes of the space, then by the square root of its
    block's width: the squared distance of two genotypes is a mean over each block, summed over blocks.

    Args:
        genotypes: in the form of `genotype.to_tensor`.
        space: their search space.

    Returns:
        `[batch, columns]`; a feature in which random genotypes do not differ has no column.
    """
    scaled, found = [], blocks(genotypes, space)
    for name, (mean, deviation) in _scales(space).items():
        block, varies = found[name], deviation > 0
        if varies.any():
            width = int(varies.sum())
            scaled.append((block - mean)[:, varies] / deviation[varies] / width**0.5)
    return torch.cat(scaled, dim=1).numpy()


def operations(genotypes: Tensor, space: SearchSpace) -> Figures:
    """The operation on every (predecessor, node) as it stands, one-hot, `[batch, columns]`.

    Edges that lead nowhere count with the operation that they have, and rare operations weigh little.

    Args:
        genotypes: in the form of `genotype.to_tensor`.
        space: their search space.
    """
    found = from_tensor(genotypes, space).operations
    return np.asarray(found.flatten(1).double().numpy())


def blocks(genotypes: Tensor, space: SearchSpace) -> Mapping[str, Tensor]:
    """The blocks of features by name as they stand, each float64 `[batch, columns]`."""
    alive = live(genotypes, space)
    operation, predecessor = alive.unbind(-1)  # [batch, cell, edge]
    chosen = F.one_hot(operation, len(space.operations))
    into = [chosen[:, :, slot].sum(2) for slot in space.slots]
    passed = paths(alive, space)
    lengths = [passed.longest.double(), passed.weighted.double()]
    sizes = [count_parameters(genotypes, space), count_macs(genotypes, space)]
    parts = {
        "edges": [from_tensor(alive, space).operations],
        "counts": [chosen.sum(2)],
        "nodes": into,
        "predecessors": [F.one_hot(predecessor, space.candidates.stop).sum(2)],
        "paths": [
            *(length.amax(2) for length in lengths),
            *(length.mean(2) for length in lengths),
            passed.number.double().log1p(),
        ],
        "size": [size.double().log()[:, None] for size in sizes],
    }
    return {
        name: torch.cat([part.flatten(1).double() for part in block], dim=1) for name, block in parts.items()
    }


@lru_cache(maxsize=16)
def _scales(space: SearchSpace) -> Mapping[str, tuple[Tensor, Tensor]]:
    """The mean and the standard deviation of every feature over random genotypes, by block."""
    reference = random_tensor(REFERENCE, space, torch.Generator().manual_seed(0))
    found = blocks(reference, space)
    return {name: (block.mean(0), block.std(0)) for name, block in found.items()}
