"""Scores of untrained networks on images of a data set."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from threading import Lock

import numpy as np
import torch
from torch import Tensor

from app.artifacts import Artifacts
from app.datasets import pictures
from app.datasets.tables import Dataset
from app.settings import Settings
from models.generation.features import Figures
from models.generation.training_free import scores
from models.genotypes.search_space import SearchSpace

IMAGES = 32
"""Training images on which networks are scored."""

KEPT = 32
"""The number of data sets whose batches are held in memory, the last used ones."""

_held: dict[str, Tensor] = {}  # the last used last
_lock = Lock()


@dataclass(frozen=True)
class Judge:
    """Scores untrained networks.

    Args:
        space: the search space.
        images: float32 `[images, channels, size, size]`, normalised.
        scales: the mean and deviation by which scores are made features, by name.
    """

    space: SearchSpace
    images: Tensor
    scales: Mapping[str, tuple[float, float]] | None = None

    @classmethod
    def on(cls, dataset: Dataset, space: SearchSpace, settings: Settings, artifacts: Artifacts) -> "Judge":
        """One that scores on images of a data set.

        Raises:
            InvalidRequest: only facts are known of the data set.
            Unavailable: its images cannot be read.
        """
        with _lock:
            pixels = _held.pop(dataset.id, None)
        if pixels is None:
            pixels = pictures.batch(dataset, settings, artifacts, IMAGES)
        with _lock:
            _held[dataset.id] = pixels
            while len(_held) > KEPT:
                del _held[next(iter(_held))]
        images = pixels.float()
        deviation, mean = torch.std_mean(images, dim=(0, 2, 3), keepdim=True)
        return cls(space, (images - mean) / deviation.clamp(min=1.0))

    def scores(self, genotypes: Tensor) -> Mapping[str, Figures]:
        """Of genotypes in the form of `genotype.to_tensor`, each float64 `[genotypes]`, by name.

        A network in which all images are alike has no score; it takes the lowest of the others, or 0.
        """
        told = vars(scores(genotypes, self.images, self.space))
        found = {name: score.numpy().copy() for name, score in told.items()}
        for score in found.values():
            known = np.isfinite(score)
            score[~known] = score[known].min() if known.any() else 0.0
        return found

    def standard_over(self, genotypes: Tensor) -> "Judge":
        """The same, whose scores as features are standard over some genotypes."""
        found = self.scores(genotypes)
        scales = {name: (float(score.mean()), float(score.std()) or 1.0) for name, score in found.items()}
        return replace(self, scales=scales)

    def beside(self, table: Figures, genotypes: Tensor) -> Figures:
        """The features of genotypes with their scores before them."""
        assert self.scales is not None
        found = self.scores(genotypes)
        columns = [(found[name] - mean) / deviation for name, (mean, deviation) in self.scales.items()]
        return np.concatenate([np.stack(columns, axis=1), table], axis=1)
