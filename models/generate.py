"""New genotypes from a latent space: near a point, or at random (Hemmi et al., 2025, section 3.3)."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Sample:
    """Latents as they were drawn.

    Args:
        latents: `[count, nodes, latent dimension]`.
        directions: signs of the same shape, or `None` where the draw has no direction.
    """

    latents: Tensor
    directions: Tensor | None


def near(point: Tensor, members: Tensor, gamma: float, count: int, seed: int) -> Sample:
    """Latents near a point, by equation 8.

    Each coordinate is normalised to [0, 1] over the members of the space, moved by gamma up or down,
    and brought back: `z' = (z_norm + gamma d) (z_max - z_min) + z_min`, `d` the sign of a uniform draw
    from [-1, 1]. A coordinate in which all members agree stays where it is.

    Args:
        point: `[nodes, latent dimension]`.
        members: `[members, nodes, latent dimension]`.
        gamma: from 0 to 1.
        count: how many.
        seed: the same seed gives the same signs.
    """
    low, high = members.amin(0), members.amax(0)
    extent = high - low
    normalised = torch.where(extent > 0, (point - low) / extent.clamp(min=1e-12), 0.0)
    generator = torch.Generator().manual_seed(seed)
    draws = torch.rand((count, *point.shape), generator=generator) * 2 - 1
    directions = torch.where(draws < 0, -1.0, 1.0)
    latents = torch.where(extent > 0, (normalised + gamma * directions) * extent + low, point)
    if gamma == 0:  # the point itself, not what rounding makes of it
        latents = point.expand(count, *point.shape).clone()
    return Sample(latents, directions)


def uniform(members: Tensor, count: int, seed: int) -> Sample:
    """Latents drawn uniformly from the box that the members span.

    Args:
        members: `[members, nodes, latent dimension]`.
        count: how many.
        seed: the same seed gives the same latents.
    """
    low, high = members.amin(0), members.amax(0)
    generator = torch.Generator().manual_seed(seed)
    draws = torch.rand((count, *low.shape), generator=generator)
    return Sample(draws * (high - low) + low, None)
