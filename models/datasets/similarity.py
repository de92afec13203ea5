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
    """A data set's profile, of training images drawn without replacement, rounded to 8 bits."""
    rows = torch.randperm(len(data.train), generator=torch.Generator().manual_seed(seed))[:SAMPLES]
    batches = list(data.train.subset(rows).batches(SAMPLES, None))
    images = torch.cat([images for images, _ in batches]).float()
    images = F.interpolate(images, (SIZE, SIZE), mode="bilinear", antialias=True, align_corners=False)
    images = images.expand(-1, 3, -1, -1) if images.shape[1] == 1 else images[:, :3]
    features = images.round().clamp(0, 255).flatten(1).double() / 255
    return Profile(features, torch.cat([labels for _, labels in batches]))


def without_structure(given: Profile, seed: int = SEED) -> Profile:
    """The same profile with every pixel drawn from another of its images, so that only noise is left.

    A data set that is further away than this one is far: noise of the same brightness is as near.
    """
    generator = torch.Generator().manual_seed(seed)
    images = given.features.unflatten(1, (3, -1))  # [images, channel, pixel]
    rows = torch.rand(len(images), images.shape[2], generator=generator).argsort(0)  # [images, pixel]
    drawn = images.gather(0, rows[:, None].expand_as(images))
    return Profile(drawn.flatten(1), given.labels)


def distance(first: Profile, second: Profile) -> float:
    """The distance of two data sets: the square root of the transport's cost; 0 for the same profile.

    It does not depend on the order of the two.
    """
    import ot

    if torch.equal(first.features, second.features) and torch.equal(first.labels, second.labels):
        return 0.0
    images = _squared(first.features, second.features)
    labels, rows, columns = _label_costs(first, second)
    cost = (images + labels[rows][:, columns]).numpy()
    return float(ot.emd2([], [], cost, numItermax=1_000_000)) ** 0.5


@dataclass(frozen=True)
class _Classes:
    """The classes of a profile as normal distributions.

    Args:
        place: int64 `[images]`, the class of every image.
        counts: int64 `[classes]`.
        means: `[classes, features]`.
        centred: `[images, features]`; of each class `S = X'X`, its covariance.
        order: int64 `[images]`, the images class by class.
    """

    place: Tensor
    counts: Tensor
    means: Tensor
    centred: Tensor
    order: Tensor

    def by_size(self) -> list[tuple[Tensor, Tensor]]:
        """Classes of two images at least, those of like size together.

        Returns:
            int64 classes `[classes]`, and the rows of their images `[classes, images]`, where -1 fills up the
            smaller ones; images of all groups together are fewer than twice those that there are.
        """
        starts = self.counts.cumsum(0) - self.counts
        groups = []
        for power in range(1, int(self.counts.max()).bit_length()):
            classes = ((self.counts >= 1 << power) & (self.counts < 2 << power)).nonzero().flatten()
            if len(classes):
                within = torch.arange(int(self.counts[classes].max()))
                rows = (starts[classes, None] + within).clamp(max=len(self.order) - 1)
                filled = torch.where(within < self.counts[classes, None], self.order[rows], -1)
                groups.append((classes, filled))
        return groups


def _classes(given: Profile) -> _Classes:
    classes, place = given.labels.unique(return_inverse=True)
    counts = place.bincount()
    means = given.features.new_zeros(len(classes), given.features.shape[1])
    means = means.index_add_(0, place, given.features) / counts[:, None]
    centred = (given.features - means[place]) / (counts[place, None] - 1).clamp(min=1).sqrt()
    return _Classes(place, counts, means, centred, place.argsort(stable=True))


def _label_costs(first: Profile, second: Profile) -> tuple[Tensor, Tensor, Tensor]:
    """Squared 2-Wasserstein distances `[classes, classes]` of normal distributions, and every image's class.

    `W² = |m1 - m2|² + tr S1 + tr S2 - 2 tr (S1^½ S2 S1^½)^½`. With `S = X'X` of centred and scaled
    images `X`, the last trace is the sum of the singular values of `X1 X2'`, which is small: a block of the
    products of all images. Blocks of like size are taken together, so that memory is bounded by the number
    of images, however unequal the classes are.
    """
    one, two = _classes(first), _classes(second)
    products = F.pad(one.centred @ two.centred.T, (0, 1, 0, 1))  # row and column -1 are zeros
    cross = products.new_zeros(len(one.counts), len(two.counts))
    for classes, rows in one.by_size():
        for others, columns in two.by_size():
            blocks = products[rows[:, None, :, None], columns[None, :, None, :]]
            cross[classes[:, None], others] = torch.linalg.svdvals(blocks).sum(-1)
    traces = [
        part.means.new_zeros(len(part.counts)).index_add_(0, part.place, part.centred.square().sum(1))
        for part in (one, two)
    ]
    costs = _squared(one.means, two.means) + traces[0][:, None] + traces[1] - 2 * cross
    return costs.clamp(min=0), one.place, two.place


def _squared(x: Tensor, y: Tensor) -> Tensor:
    """Squared distances of all pairs of rows, by one product; in double its rounding is below 1e-10."""
    squares = x.square().sum(1)[:, None] + y.square().sum(1) - 2 * x @ y.T
    return squares.clamp(min=0)
