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
from models.genotypes.search_space import CELLS, SearchSpace
from models.genotypes.size import STANDARD_NETWORK, count_parameters, parameter_costs

CONVOLUTIONS = ("sep_conv_3x3", "sep_conv_5x5", "dil_conv_3x3", "dil_conv_5x5")

DRAWS = 10_000
"""Random genotypes among which one within the limits is looked for."""


class LimitError(ValueError):
    """Limits that no genotype meets, with what would be right."""


@dataclass(frozen=True)
class Limits:
    """Limits on the discrete genotype of a search; `None` for no limit.

    Args:
        max_skip_connections: in either cell.
        max_params: of the network of `STANDARD_NETWORK`.
    """

    max_skip_connections: int | None = None
    max_params: int | None = None

    def met_by(self, genotype: Genotype, space: SearchSpace) -> bool:
        """Whether a genotype is within the limits."""
        skips = max(genotype.count("skip_connect").values())
        if self.max_skip_connections is not None and skips > self.max_skip_connections:
            return False
        return self.max_params is None or parameters(genotype, space) <= self.max_params

    def require_possible(self, space: SearchSpace) -> None:
        """Raises `LimitError` if `max_params` is below that of the smallest genotype."""
        smallest, _ = parameter_costs(space, STANDARD_NETWORK).bounds(space)
        if self.max_params is not None and self.max_params < smallest:
            raise LimitError(f"must be at least {smallest}, that of the smallest genotype")


def parameters(genotype: Genotype, space: SearchSpace) -> int:
    """Trainable parameters of the network of `STANDARD_NETWORK`."""
    return int(count_parameters(to_tensor([genotype], space), space))


def discretise_within(continuous: ContinuousGenotype, space: SearchSpace, limits: Limits) -> Genotype:
    """The discrete genotype of a continuous one, with its weakest parts given up until it is within limits.

    While a cell has too many skip connections, its weakest is struck out; while the network is too
    large, the convolution of least weight for its size is. What is struck out, the next best on the
    edge or another edge replaces.
    """
    genotype = discretise(continuous, space)
    while not limits.met_by(genotype, space):
        continuous = _strike(continuous, *_weakest(continuous, genotype, space, limits))
        genotype = discretise(continuous, space)
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
        skips = (draws[..., 0] == space.operation("skip_connect")).sum((2, 3)).amax(1)
        fits &= skips <= limits.max_skip_connections
    if not fits.any():
        raise LimitError(f"none of {DRAWS} random genotypes is within the limits; loosen them")
    return from_tensor(draws[fits][:1], space)[0]


def _weakest(
    continuous: ContinuousGenotype, genotype: Genotype, space: SearchSpace, limits: Limits
) -> tuple[str, int, int]:
    """The cell, edge and operation to strike out next."""
    kept = [
        (cell, space.edges.index((node, space.inputs + i // space.predecessors)), space.operation(name))
        for cell in CELLS
        for i, (name, node) in enumerate(getattr(genotype, cell))
    ]

    def strength(part: tuple[str, int, int]) -> float:
        cell, edge, operation = part
        weight: float = (
            getattr(continuous, cell)[edge][operation] * getattr(continuous, f"{cell}_edges")[edge]
        )
        return weight

    most = limits.max_skip_connections
    for cell, skips in genotype.count("skip_connect").items():
        if most is not None and skips > most:
            skip = space.operation("skip_connect")
            return min((part for part in kept if part[0] == cell and part[2] == skip), key=strength)
    convolutions = {space.operation(name): int(name[-1]) for name in CONVOLUTIONS}
    sized = [part for part in kept if part[2] in convolutions]
    if sized:
        return min(sized, key=lambda part: strength(part) / convolutions[part[2]])
    # a skip connection that halves its input has two small convolutions
    return min((part for part in kept if part[2] == space.operation("skip_connect")), key=strength)


def _strike(continuous: ContinuousGenotype, cell: str, edge: int, operation: int) -> ContinuousGenotype:
    rows = [list(row) for row in getattr(continuous, cell)]
    rows[edge][operation] = 0.0
    struck = tuple(map(tuple, rows))
    return replace(continuous, normal=struck) if cell == "normal" else replace(continuous, reduce=struck)
