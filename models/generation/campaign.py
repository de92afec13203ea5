"""What to train next: the closed loop of predicting, training and predicting again."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.generation.features import REFERENCE, SIZES, Figures, features
from models.generation.predictor import Predictor, fit, normal_scores, percent, select
from models.genotypes.genotype import random_tensor
from models.genotypes.paths import live
from models.genotypes.search_space import SearchSpace

FIRST = 4
"""Trainings from which on a model of accuracy is fitted to them."""

FORGOTTEN = 32
"""Trainings from which on what is known of another data set has no part any more."""


@dataclass(frozen=True)
class Source:
    """What is known of another data set, as one more feature of a genotype.

    Args:
        predictor: of the accuracies there.
        mean, deviation: of its scores over random genotypes of the search space.
    """

    predictor: Predictor
    mean: float
    deviation: float

    @classmethod
    def of(cls, genotypes: Tensor, accuracies: Figures, space: SearchSpace) -> "Source":
        """The source of evaluated genotypes, in the form of `genotype.to_tensor`; accuracies in percent.

        Raises:
            PredictorError: there are too few.
        """
        predictor = fit(features(genotypes, space), accuracies)
        reference = random_tensor(REFERENCE, space, torch.Generator().manual_seed(0))
        scores = predictor.predict(features(reference, space)).scores
        return cls(predictor, float(scores.mean()), float(scores.std()))

    def scores(self, table: Figures) -> Figures:
        """The scores of genotypes with these features, standard over random ones, `[genotypes]`."""
        return (self.predictor.predict(table).scores - self.mean) / self.deviation


@dataclass(frozen=True)
class Choice:
    """The genotype to train next, and why.

    Args:
        number: in the pool.
        by: what was the highest of all: what the `source` says, the `size`, the `difference` from all that
            was tried, or the expected `improvement`.
        accuracy, deviation: as predicted, in percent, where there is a model.
    """

    number: int
    by: Literal["source", "size", "difference", "improvement"]
    accuracy: float | None = None
    deviation: float | None = None


def propose(
    tried: Tensor, accuracies: Figures, pool: Tensor, space: SearchSpace, source: Source | None = None
) -> Choice | None:
    """The genotype of a pool to train next: the one of the largest expected improvement (Jones et al., 1998).

    What is to be improved on is the most that the model says of any that was tried, not the best accuracy
    that was measured (the plug-in of Picheny et al., 2013): that one was lucky too, and against it whatever
    the model knows well would never seem an improvement.

    While nothing is known it is the one that the source has first; without a source the largest, and after it
    those that are least like any other. A model is fitted to the ranks of what was trained; what the source
    says is a feature of it where that lowers its error, and none any more from 32 trainings on, so that it
    stops helping before it hurts. Genotypes that are in training count as if they came out as predicted, so
    that several workers train different ones.

    Args:
        tried: genotypes that were trained or are in training, in the form of `genotype.to_tensor`.
        accuracies: in percent, of the first of these, the trained ones.
        pool: what to choose from.
        space: the search space.
        source: what is known of another data set.

    Returns:
        `None` where the pool has no network that was not tried.
    """
    new = ~_among(live(pool, space), live(tried, space))
    if not new.any():
        return None
    table, known = features(pool, space), features(tried, space)
    if len(accuracies) >= FIRST and len(np.unique(accuracies)) > 1:
        return _best_improvement(known, accuracies, table, new, source)
    if source is not None:
        return Choice(_first(source.scores(table), new), "source")
    if len(tried):
        return Choice(_first(np.linalg.norm(table[:, None] - known[None], axis=2).min(1), new), "difference")
    return Choice(_first(table[:, -SIZES], new), "size")


def _first(values: Figures, new: NDArray[np.bool_]) -> int:
    return int(np.where(new, values, -np.inf).argmax())


def _best_improvement(
    known: Figures, accuracies: Figures, table: Figures, new: NDArray[np.bool_], source: Source | None
) -> Choice:
    """The genotype of the largest expected improvement over the best that was tried, in normal scores."""
    from scipy.stats import norm

    choices = [(known, table)]
    if source is not None and len(accuracies) < FORGOTTEN:
        told = [np.concatenate([source.scores(part)[:, None], part], axis=1) for part in (known, table)]
        choices.append((told[0], told[1]))
    count, scores = len(accuracies), normal_scores(accuracies)
    fitted = [(select(ours[:count], scores), ours, theirs) for ours, theirs in choices]
    model, ours, theirs = min(fitted, key=lambda one: one[0].error)
    if len(ours) > count:  # in training
        believed = np.concatenate([scores, model.predict(ours[count:])[0]])
        model = select(ours, believed)
    mean, deviation = model.predict(theirs)
    gain = mean - model.predict(ours)[0].max()
    away = gain / deviation.clip(min=1e-9)
    number = _first(gain * norm.cdf(away) + deviation * norm.pdf(away), new)
    spread = mean[number] + deviation[number] * np.array([-1, 0, 1])
    low, middle, high = percent(spread, np.sort(accuracies)).tolist()
    return Choice(number, "improvement", middle, (high - low) / 2)


def _among(genotypes: Tensor, others: Tensor) -> NDArray[np.bool_]:
    """Which genotypes are among others."""
    rows = torch.cat([others, genotypes]).flatten(1)
    _, same = torch.unique(rows, dim=0, return_inverse=True)
    return np.asarray(torch.isin(same[len(others) :], same[: len(others)]).numpy(), dtype=np.bool_)
