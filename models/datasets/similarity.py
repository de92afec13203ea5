"""How far data sets are from each other: optimal transport dataset distance (OTDD).

Alvarez-Melis, Fusi (2020): samples are moved from one data set to the other at least cost, where the
cost of a pair is the squared distance of the images plus the squared distance of their labels, and a
label stands for the normal distribution of its class's images.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from models.datasets.data import ImageData

SIZE = 16
"""Side in pixels to which images are brought."""

SAMPLES = 1_000
"""Images that stand for a data set."""

SEED = 2024
"""Seed of the choice of images."""


@dataclass(frozen=True)
class Profile:
    """The images that stand for a data set.

    Args:
        features: float64 `[images, 3 * SIZE * SIZE]`, 0 to 1; grey images have three equal channels.
        labels: int64 `[images]`.
    """

    features: Tensor
    labels: Tensor


def profile(data: ImageData, seed: int = SEED) -> Profile:
    """A data set's profile, of training images drawn without replacement."""
    rows = torch.randperm(len(data.train), generator=torch.Generator().manual_seed(seed))[:SAMPLES]
    batches = list(data.train.subset(rows).batches(SAMPLES, None))
    images = torch.cat([images for images, _ in batches]).float() / 255
    images = F.interpolate(images, (SIZE, SIZE), mode="bilinear", antialias=True, align_corners=False)
    images = images.expand(-1, 3, -1, -1) if images.shape[1] == 1 else images[:, :3]
    return Profile(images.flatten(1).double(), torch.cat([labels for _, labels in batches]))


def distance(first: Profile, second: Profile) -> float:
    """The distance of two data sets: the square root of the transport's cost; 0 for the same profile.

    It does not depend on the order of the two.
    """
    import ot

    images = _squared(first.features, second.features)
    labels, rows, columns = _label_costs(first, second)
    cost = (images + labels[rows][:, columns]).numpy()
    return float(ot.emd2([], [], cost, numItermax=1_000_000)) ** 0.5


def _label_costs(first: Profile, second: Profile) -> tuple[Tensor, Tensor, Tensor]:
    """Squared 2-Wasserstein distances `[classes, classes]` of normal distributions, and every image's class.

    `W² = |m1 - m2|² + tr S1 + tr S2 - 2 tr (S1^½ S2 S1^½)^½`. With `S = X'X` of centred and scaled
    images `X`, the last trace is the sum of the singular values of `X1 X2'`, which is small.
    """
    means, spreads, places = [], [], []
    for part in (first, second):
        classes, place = part.labels.unique(return_inverse=True)
        counts = place.bincount()
        mean = part.features.new_zeros(len(classes), part.features.shape[1]).index_add_(
            0, place, part.features
        )
        mean = mean / counts[:, None]
        centred = (part.features - mean[place]) / (counts[place, None] - 1).clamp(min=1).sqrt()
        means.append(mean)
        # [class, images, feature], filled up with zeros, which change no singular value
        spreads.append(_by_class(centred, place, int(counts.max())))
        places.append(place)
    traces = [spread.square().sum((1, 2)) for spread in spreads]
    products = torch.einsum("aif,bjf->abij", *spreads)
    cross = torch.linalg.svdvals(products).sum(-1)
    costs = _squared(*means) + traces[0][:, None] + traces[1] - 2 * cross
    return costs.clamp(min=0), places[0], places[1]


def _by_class(values: Tensor, place: Tensor, most: int) -> Tensor:
    order = place.argsort(stable=True)
    counts = place.bincount()
    within = torch.arange(len(place)) - (counts.cumsum(0) - counts)[place[order]]
    grouped = values.new_zeros(len(counts), most, values.shape[1])
    grouped[place[order], within] = values[order]
    return grouped


def _squared(x: Tensor, y: Tensor) -> Tensor:
    return torch.cdist(x, y, compute_mode="donot_use_mm_for_euclid_dist").square()
