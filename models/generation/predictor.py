"""Predicts the accuracy of genotypes from that of others, and tells how far that can be trusted."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm, rankdata
from sklearn.base import clone
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, DotProduct
from sklearn.model_selection import KFold

from models.generation.agreement import FEWEST, Agreement, agreement

Figures = NDArray[np.float64]

FOLDS, MANY, FEWER_FOLDS, SEED = 10, 100, 5, 0
"""Parts of the cross-validation, those from 100 labels on, and the seed by which labels are dealt to them."""

MODELS = {
    "ridge": GaussianProcessRegressor(DotProduct(0.0, "fixed"), alpha=0.3, optimizer=None, normalize_y=True),
    "gaussian process": GaussianProcessRegressor(
        ConstantKernel(0.1) * DotProduct(0.0, "fixed") + RBF(2.0), alpha=0.1, optimizer=None, normalize_y=True
    ),
}
"""The models by name, for features in blocks of mean square 1. A Gaussian process with a linear kernel is
ridge regression that also tells its uncertainty."""


class PredictorError(ValueError):
    """Accuracies from which no order can be told; the message says why."""


@dataclass(frozen=True)
class Prediction:
    """The accuracies of genotypes as predicted, each `[genotypes]`.

    Args:
        scores: the order; in it the known accuracies are standard normal.
        mean: in percent.
        deviation: the standard deviation of the prediction, in percent.
    """

    scores: Figures
    mean: Figures
    deviation: Figures


@dataclass(frozen=True)
class Predictor:
    """A model of accuracy, fitted to the ranks of evaluated genotypes.

    Args:
        name: of the model in `MODELS`.
        model: fitted.
        agreement: of accuracies with what the model says of them when it has not seen them.
        widening: the factor by which errors exceed what the model thinks they are.
        accuracies: the known ones in percent, ascending.
    """

    name: str
    model: GaussianProcessRegressor
    agreement: Agreement
    widening: float
    accuracies: Figures

    def predict(self, features: Figures) -> Prediction:
        """The accuracies of genotypes with these features, `[genotypes, columns]`."""
        scores, deviation = self.model.predict(features, return_std=True)
        half = self.widening * deviation
        low, mean, high = (self._percent(score) for score in (scores - half, scores, scores + half))
        return Prediction(scores, mean, (high - low) / 2)

    def require_order(self) -> None:
        """Raises `PredictorError` where the model may well not rank at all."""
        found = self.agreement
        if found.low <= 0:
            raise PredictorError(
                f"on {found.genotypes} evaluated genotypes predictions agree with accuracies by a "
                f"Spearman of {found.spearman:.2f} ({found.low:.2f} to {found.high:.2f}), which may be none"
            )

    def _percent(self, scores: Figures) -> Figures:
        """Accuracies of scores: in a straight line between known ones, and on beyond them."""
        known, values = normal_scores(self.accuracies), self.accuracies
        found = np.interp(scores, known, values)
        middle = len(values) // 2
        for end, outside in ((-1, scores > known[-1]), (0, scores < known[0])):
            run = known[end] - known[middle]
            slope = (values[end] - values[middle]) / run if run else 0.0
            found = np.where(outside, values[end] + slope * (scores - known[end]), found)
        return np.clip(found, 0, 100)


def fit(features: Figures, accuracies: Figures) -> Predictor:
    """The model that ranks best in cross-validation, fitted to all that is known.

    Args:
        features: `[genotypes, columns]`, as `features.features` makes them.
        accuracies: `[genotypes]`, in percent.

    Raises:
        PredictorError: there are fewer than 8 genotypes, or all have one accuracy.
    """
    if len(accuracies) < FEWEST:
        raise PredictorError(f"{len(accuracies)} genotypes were evaluated; an order takes {FEWEST}")
    if len(np.unique(accuracies)) < 2:
        raise PredictorError(f"all {len(accuracies)} evaluated genotypes have one accuracy")
    scores = normal_scores(accuracies)
    best: tuple[float, str, Agreement, float] | None = None
    for name in MODELS:
        held, deviation = _cross_validated(name, features, scores)
        found = agreement(held, accuracies)
        if found is not None and (best is None or found.spearman > best[0]):
            widening = float(np.sqrt(np.mean(((scores - held) / deviation) ** 2)))
            best = found.spearman, name, found, widening
    if best is None:
        raise PredictorError("what is known of the evaluated genotypes is the same of all")
    _, name, found, widening = best
    model = clone(MODELS[name]).fit(features, scores)
    return Predictor(name, model, found, widening, np.sort(accuracies))


def normal_scores(values: Figures) -> Figures:
    """The values by their ranks alone, standard normal: the quantile of each rank's middle."""
    return np.asarray(norm.ppf((rankdata(values) - 0.5) / len(values)), dtype=np.float64)


def _cross_validated(name: str, features: Figures, scores: Figures) -> tuple[Figures, Figures]:
    """What a model says of each genotype when it has not seen it, with its standard deviation."""
    held, deviation = np.empty_like(scores), np.empty_like(scores)
    parts = min(FOLDS if len(scores) < MANY else FEWER_FOLDS, len(scores))
    folds = KFold(parts, shuffle=True, random_state=SEED)
    for seen, unseen in folds.split(features):
        model = clone(MODELS[name]).fit(features[seen], scores[seen])
        held[unseen], deviation[unseen] = model.predict(features[unseen], return_std=True)
    return held, deviation.clip(min=1e-6)
