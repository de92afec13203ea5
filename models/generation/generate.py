"""New genotypes from a latent space: near a point, between points, or at random (Hemmi et al., 2025,
section 3.3)."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from models.genotypes.constraints import Constraints
from models.genotypes.genotype import edits
from models.genotypes.graph import from_tensor
from models.genotypes.search_space import SearchSpace
from models.latent_spaces.vgae import VGAE, decode_and_repair

DRAWS_PER_GENOTYPE = 20
"""Latents drawn at most for every genotype asked for, where some do not count."""

FEWEST_DRAWS = 1_000
"""Latents drawn at least before limits are given up on."""

DEVIATIONS = 2.5
"""Standard deviations that `around` moves by where a predictor chooses: about as many edits as equation 8
makes at the default gamma of each search space."""


@dataclass(frozen=True)
class Sample:
    """Latents as they were drawn.

    Args:
        latents: `[count, nodes, latent dimension]`.
        directions: signs of the same shape, or `None` where the draw has no direction.
        points: int64 `[count]`, which start point each belongs to, or `None` where there is none.
    """

    latents: Tensor
    directions: Tensor | None = None
    points: Tensor | None = None

    def select(self, rows: Tensor) -> "Sample":
        """The latents of these numbers."""
        parts = (self.latents, self.directions, self.points)
        return Sample(*(None if part is None else part[rows] for part in parts))  # type: ignore[arg-type]


Draw = Callable[[int], Sample]
"""Draws so many more latents."""


def near(points: Tensor, members: Tensor, gamma: float, generator: torch.Generator) -> Draw:
    """Latents near points, by equation 8, each of the points in turn.

    Each coordinate is normalised to [0, 1] over the members of the space, moved by gamma up or down,
    and brought back: `z' = (z_norm + gamma d) (z_max - z_min) + z_min`, `d` the sign of a uniform draw
    from [-1, 1]. A coordinate in which all members agree stays where it is.

    Args:
        points: `[points, nodes, latent dimension]`.
        members: `[members, nodes, latent dimension]`.
        gamma: from 0 to 1.
        generator: of the signs, on the CPU.
    """
    low, high = members.amin(0), members.amax(0)
    extent = high - low
    normalised = torch.where(extent > 0, (points - low) / extent.clamp(min=1e-12), 0.0)

    def moved(turn: Tensor, directions: Tensor) -> Tensor:
        if gamma == 0:  # the point itself, not what rounding makes of it
            return points[turn]
        there = (normalised[turn] + gamma * directions) * extent + low
        return torch.where(extent > 0, there, points[turn])

    return _signed(points, moved, generator)


@torch.no_grad()
def around(
    net: VGAE, points: Tensor, genotypes: Tensor, deviations: float, generator: torch.Generator
) -> Draw:
    """Latents around points by the posteriors of their genotypes, each of the points in turn.

    `z' = z + k exp(logstd) d`, `d` the sign of a uniform draw from [-1, 1]. Equation 8 moves all coordinates
    by the same share of the box. The latents of a node with few choices lie far apart in it, so it never
    moves from one choice to another. Posteriors are as wide as latents lie apart: by deviations of these
    every edge is about as likely to change.

    Args:
        net: the space's VGAE.
        points: `[points, nodes, latent dimension]`.
        genotypes: of the points, in the form of `genotype.to_tensor`.
        deviations: `k`, more than 0; see `DEVIATIONS`.
        generator: of the signs, on the CPU.
    """
    _, logstd = net.encode(from_tensor(genotypes, net.space))
    steps = deviations * logstd.exp()
    return _signed(points, lambda turn, directions: points[turn] + steps[turn] * directions, generator)


def _signed(points: Tensor, moved: Callable[[Tensor, Tensor], Tensor], generator: torch.Generator) -> Draw:
    """Draws that take points in turn and move each by random signs; `moved` has both and gives latents."""
    drawn = 0

    def draw(count: int) -> Sample:
        nonlocal drawn
        turn = torch.arange(drawn, drawn + count) % len(points)
        drawn += count
        signs = torch.rand((count, *points.shape[1:]), generator=generator) * 2 - 1
        directions = torch.where(signs < 0, -1.0, 1.0)
        return Sample(moved(turn, directions), directions, turn)

    return draw


def between(points: Tensor, weights: Tensor) -> Tensor:
    """Points between latents: weighted means of them, `[means, nodes, latent dimension]`.

    Args:
        points: `[points, nodes, latent dimension]`.
        weights: `[means, points]`, not negative, no row all zero.
    """
    shares = weights / weights.sum(1, keepdim=True)
    means = torch.einsum("mp,pnd->mnd", shares, points)
    # a mean of one point alone is that point, not what rounding makes of it
    alone = shares == 1
    return torch.where(alone.any(1)[:, None, None], points[alone.int().argmax(1)], means)


def uniform(members: Tensor, generator: torch.Generator) -> Draw:
    """Latents drawn uniformly from the box that the members span.

    Args:
        members: `[members, nodes, latent dimension]`.
        generator: on the CPU.
    """
    low, high = members.amin(0), members.amax(0)
    return lambda count: Sample(torch.rand((count, *low.shape), generator=generator) * (high - low) + low)


def prior(members: Tensor, generator: torch.Generator) -> Draw:
    """Latents drawn from the standard normal distribution that the VGAE's KL term pulls to.

    Args:
        members: `[members, nodes, latent dimension]`, for the shape alone.
        generator: on the CPU.
    """
    return lambda count: Sample(torch.randn((count, *members.shape[1:]), generator=generator))


@dataclass(frozen=True)
class Generated:
    """The genotypes that were drawn from a latent space, and how many draws they took.

    Args:
        genotypes: int64 in the form of `genotype.to_tensor`.
        sample: their latents.
        sampled: latents drawn, to the last one kept.
        duplicates: of those within limits, the ones whose genotype an earlier one or a member has.
        rejected: drawn but not within limits.
        repaired: whose scores were no legal genotype as they stood.
        edits: int64 `[genotypes]`, the edges that each has and its start has not; `None` without a start.
    """

    genotypes: Tensor
    sample: Sample
    sampled: int
    duplicates: int
    rejected: int
    repaired: int
    edits: Tensor | None = None

    def select(self, rows: Tensor) -> "Generated":
        """The genotypes of these numbers, with the same counts of what it took to draw all."""
        changed = None if self.edits is None else self.edits[rows]
        return replace(self, genotypes=self.genotypes[rows], sample=self.sample.select(rows), edits=changed)


def generate(
    net: VGAE,
    draw: Draw,
    count: int,
    known: Tensor,
    constraints: Constraints | None,
    unique: bool,
    starts: Tensor | None = None,
) -> Generated:
    """Decodes latents until there are enough genotypes, or until more draws find no more.

    Args:
        net: the space's VGAE.
        draw: where latents come from.
        count: genotypes asked for.
        known: the members' genotypes, which are no news.
        constraints: limits that genotypes must keep; `None` for none.
        unique: leaves out what an earlier one or a member has already.
        starts: the genotypes of the points that latents are drawn around, if they are.
    """
    space, most = net.space, max(FEWEST_DRAWS, DRAWS_PER_GENOTYPE * count)
    picky = unique or constraints is not None
    samples: list[Sample] = []
    kept = torch.empty(0, dtype=torch.int64)
    genotypes, repaired = (
        torch.empty(0, *known.shape[1:], dtype=torch.int64),
        torch.empty(0, dtype=torch.bool),
    )
    while True:
        missing = most - len(genotypes) if picky else count
        samples.append(draw(min(missing, max(count, FEWEST_DRAWS) if samples else count)))
        decoded, mended = decode_and_repair(net, samples[-1].latents)
        genotypes, repaired = torch.cat([genotypes, decoded]), torch.cat([repaired, mended])
        fits = torch.ones(len(genotypes), dtype=torch.bool)
        if constraints is not None:
            fits = constraints.met_by(genotypes, space, _starts_of(samples, starts))
        new = _first_seen(genotypes, known, fits, space)
        before, kept = len(kept), (fits & new if unique else fits).nonzero().flatten()[:count]
        exhausted = len(samples) > 1 and len(kept) == before
        if len(kept) == count or len(genotypes) >= most or exhausted or not picky:
            break
    sampled = int(kept[-1]) + 1 if len(kept) == count else len(genotypes)
    from_starts = _starts_of(samples, starts)
    return Generated(
        genotypes[kept],
        _join(samples).select(kept),
        sampled,
        duplicates=int((fits & ~new)[:sampled].sum()),
        rejected=int((~fits)[:sampled].sum()),
        repaired=int(repaired[:sampled].sum()),
        edits=edits(genotypes[kept], from_starts[kept], space) if from_starts is not None else None,
    )


def _starts_of(samples: list[Sample], starts: Tensor | None) -> Tensor | None:
    """The genotype from which each latent was drawn."""
    points = [sample.points for sample in samples if sample.points is not None]
    return starts[torch.cat(points)] if starts is not None and points else None


def pack(genotypes: Tensor, space: SearchSpace) -> np.ndarray[tuple[int, int], np.dtype[np.int64]]:
    """A number for each cell of each genotype; all are the same exactly for equal genotypes."""
    operation, predecessor = genotypes.unbind(-1)  # [batch, cell, edge]
    base = len(space.operations) * space.candidates.stop
    digits = operation * space.candidates.stop + predecessor
    return (digits * base ** torch.arange(digits.shape[-1])).sum(-1).numpy()


def _first_seen(genotypes: Tensor, known: Tensor, counts: Tensor, space: SearchSpace) -> Tensor:
    """Tells which of the genotypes that count repeat neither an earlier one nor a known one."""
    rows = counts.nonzero().flatten()
    keys = pack(torch.cat([known, genotypes[rows]]), space)
    order = np.lexsort(keys.T)  # equal ones stay in their order
    ordered = keys[order]
    firsts = order[np.concatenate([[True], (ordered[1:] != ordered[:-1]).any(1)])[: len(order)]]
    new = torch.zeros(len(genotypes), dtype=torch.bool)
    new[rows[firsts[firsts >= len(known)] - len(known)]] = True
    return new


def _join(samples: list[Sample]) -> Sample:
    first = samples[0]
    directions, points = (
        None if part is None else torch.cat([getattr(sample, name) for sample in samples])
        for name, part in (("directions", first.directions), ("points", first.points))
    )
    return Sample(torch.cat([sample.latents for sample in samples]), directions, points)
