"""Discretising a search's result within limits on skip connections and size."""

from dataclasses import dataclass, replace

import torch

from models.genotypes.genotype import (
    ContinuousGenotype,
    Genotype,
    discretise,
    from_tensor,
    random_tensor,
    to_tensor,
)
from models.genotypes.search_space import SearchSpace
from models.genotypes.size import count_parameters, parameter_costs, standard_network

CONVOLUTIONS = (
    "sep_conv_3x3",
    "sep_conv_5x5",
    "dil_conv_3x3",
    "dil_conv_5x5",
    "nor_conv_1x1",
    "nor_conv_3x3",
)

DRAWS = 10_000
"""Random genotypes among which one within the limits is looked for."""


class LimitError(ValueError):
    """Limits that no genotype meets, with what would be right."""


@dataclass(frozen=True)
class Limits:
    """Limits on the discrete genotype of a search; `None` for no limit.

    Args:
        max_skip_connections: in any cell.
        max_params: of the standard network of the search space.
    """

    max_skip_connections: int | None = None
    max_params: int | None = None

    def met_by(self, genotype: Genotype) -> bool:
        """Whether a genotype is within the limits."""
        skips = max(genotype.count("skip_connect").values())
        if self.max_skip_connections is not None and skips > self.max_skip_connections:
            return False
        return self.max_params is None or parameters(genotype) <= self.max_params

    def require_possible(self, space: SearchSpace) -> None:
        """Raises `LimitError` if `max_params` is below that of the smallest genotype."""
        smallest, _ = parameter_costs(space, standard_network(space)).bounds(space)
        if self.max_params is not None and self.max_params < smallest:
            raise LimitError(f"must be at least {smallest}, that of the smallest genotype")


def parameters(genotype: Genotype) -> int:
    """Trainable parameters of the standard network of its search space."""
    return int(count_parameters(to_tensor([genotype], genotype.space), genotype.space))


def discretise_within(continuous: ContinuousGenotype, limits: Limits) -> Genotype:
    """The discrete genotype of a continuous one, with its weakest parts given up until it is within limits.

    While a cell has too many skip connections, its weakest is struck out; while the network is too
    large, the convolution of least weight for its size is. What is struck out, the next best on the
    edge or another edge replaces.
    """
    genotype = discretise(continuous)
    while not limits.met_by(genotype):
        continuous = _strike(continuous, *_weakest(continuous, genotype, limits))
        genotype = discretise(continuous)
    return genotype


def random_within(space: SearchSpace, limits: Limits, seed: int) -> Genotype:
    """A genotype drawn uniformly from those within limits.

    Raises:
        LimitError: none of many draws is.
    """
    draws = random_tensor(DRAWS, space, torch.Generator().manual_seed(seed))
    fits = torch.ones(DRAWS, dtype=torch.bool)
    if limits.max_params is not None:
        fits &= count_parameters(draws, space) <= limits.max_params
    if limits.max_skip_connections is not None:
        skips = (draws[..., 0] == space.operation("skip_connect")).sum(2).amax(1)
        fits &= skips <= limits.max_skip_connections
    if not fits.any():
        raise LimitError(f"none of {DRAWS} random genotypes is within the limits; loosen them")
    return from_tensor(draws[fits][:1], space)[0]


def _weakest(continuous: ContinuousGenotype, genotype: Genotype, limits: Limits) -> tuple[int, int, int]:
    """The cell, edge and operation to strike out next."""
    space = genotype.space
    kept = [
        (cell, space.edges.index((source, node)), space.operation(name))
        for cell, edges in enumerate(genotype.cells)
        for node, (name, source) in zip(space.kept, edges, strict=True)
    ]

    def strength(part: tuple[int, int, int]) -> float:
        cell, edge, operation = part
        return continuous.operations[cell][edge][operation] * continuous.edges[cell][edge]

    most, skip = limits.max_skip_connections, space.operation("skip_connect")
    for cell, skips in enumerate(genotype.count("skip_connect").values()):
        if most is not None and skips > most:
            return min((part for part in kept if part[0] == cell and part[2] == skip), key=strength)
    convolutions = {space.operation(name): int(name[-1]) for name in CONVOLUTIONS if name in space.operations}
    sized = [part for part in kept if part[2] in convolutions]
    if sized:
        return min(sized, key=lambda part: strength(part) / convolutions[part[2]])
    # a skip connection that halves its input has two small convolutions
    return min((part for part in kept if part[2] == skip), key=strength)


def _strike(continuous: ContinuousGenotype, cell: int, edge: int, operation: int) -> ContinuousGenotype:
    cells = [[list(row) for row in rows] for rows in continuous.operations]
    cells[cell][edge][operation] = 0.0
    return replace(continuous, operations=tuple(tuple(map(tuple, rows)) for rows in cells))
