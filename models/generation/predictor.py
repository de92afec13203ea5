"""Predicts the accuracy of genotypes from that of others, and tells how far that can be trusted."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from models.generation.features import SIZES
from models.genotypes.agreement import FEWEST, Agreement, agreement

if TYPE_CHECKING:
    from sklearn.gaussian_process import GaussianProcessRegressor

# scikit-learn and scipy.stats are imported where they are used: most processes never rank

Figures = NDArray[np.float64]


def _ridge() -> "GaussianProcessRegressor":
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import DotProduct

    return GaussianProcessRegressor(DotProduct(0.0, "fixed"), alpha=0.3, optimizer=None)


def _gaussian_process(width: float) -> "GaussianProcessRegressor":
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import RBF, ConstantKernel, DotProduct

    kernel = ConstantKernel(0.1) * DotProduct(0.0, "fixed") + RBF(width)
    return GaussianProcessRegressor(kernel, alpha=0.1, optimizer=None)


MODELS: "dict[str, Callable[[], GaussianProcessRegressor]]" = {
    "ridge": _ridge,
    "gaussian process": lambda: _gaussian_process(2.0),
    "local gaussian process": lambda: _gaussian_process(1.0),
}
"""What makes the models, by name, for features in blocks of mean square 1. A Gaussian process with a linear
kernel is ridge regression that also tells its uncertainty."""


def _plain() -> "GaussianProcessRegressor":
    """Ridge regression on operations as they stand; its intercept is all but free."""
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import ConstantKernel, DotProduct

    kernel = ConstantKernel(100.0) + DotProduct(0.0, "fixed")
    return GaussianProcessRegressor(kernel, alpha=3.0, optimizer=None)


EVEN = 50
"""Labels at which, for another data set, the operations as they stand weigh as much as the form."""


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
class Plain:
    """Ridge regression on operations as they stand, beside a model of the form.

    Args:
        model: fitted.
        weight: in the average of the two, 0 to 1.
    """

    model: "GaussianProcessRegressor"
    weight: float

    @classmethod
    def of(cls, operations: Figures, accuracies: Figures) -> "Plain":
        """Fitted to accuracies in percent; the fewer they are, the more it weighs."""
        standard = (accuracies - accuracies.mean()) / accuracies.std()
        return cls(_plain().fit(operations, standard), EVEN / (EVEN + len(accuracies)))

    def mixed(self, form: Figures, operations: Figures) -> Figures:
        """The average of what the two models say."""
        return (1 - self.weight) * form + self.weight * operations


@dataclass(frozen=True)
class Predictor:
    """A model of accuracy, fitted to the ranks of evaluated genotypes.

    Args:
        name: of the model in `MODELS`.
        sized: whether it takes sizes too, or the form alone.
        model: fitted.
        agreement: of accuracies with what the model says of them when it has not seen them.
        widening: the factor by which errors exceed what the model thinks they are.
        error: the mean squared error in leave-one-out cross-validation, of normal scores.
        accuracies: the known ones in percent, ascending.
        plain: what is averaged with the model, where the order is for another data set.
    """

    name: str
    sized: bool
    model: "GaussianProcessRegressor"
    agreement: Agreement
    widening: float
    error: float
    accuracies: Figures
    plain: Plain | None = None

    def predict(self, features: Figures, operations: Figures | None = None) -> Prediction:
        """The accuracies of genotypes with these features, `[genotypes, columns]`; there may be none.

        Args:
            features: as `features.features` makes them.
            operations: as `features.operations` makes them, for a predictor that was fitted to such.
        """
        if not len(features):
            return Prediction(np.empty(0), np.empty(0), np.empty(0))
        scores, deviation = self.model.predict(_taken(features, self.sized), return_std=True)
        if self.plain is not None:
            assert operations is not None
            scores = self.plain.mixed(scores, self.plain.model.predict(operations))
        half = self.widening * np.sqrt(deviation**2 + self.model.alpha)  # what is measured is noisy too
        low, mean, high = (
            percent(score, self.accuracies) for score in (scores - half, scores, scores + half)
        )
        return Prediction(scores, mean, (high - low) / 2)

    def require_order(self) -> None:
        """Raises `PredictorError` where the model may well not rank at all."""
        found = self.agreement
        if found.low <= 0:
            raise PredictorError(
                f"on {found.genotypes} evaluated genotypes predictions agree with accuracies by a "
                f"Spearman of {found}, which may be none"
            )


@dataclass(frozen=True)
class LeftOut:
    """A fitted model with what it says of each genotype when that one is left out.

    Args:
        name: of the model in `MODELS`.
        sized: whether it takes sizes too.
        model: fitted to all genotypes.
        scores: `[genotypes]`, of each by the model that has not seen it.
        deviation: `[genotypes]`, what that model thinks its error is.
        error: the mean squared error of the scores.
    """

    name: str
    sized: bool
    model: "GaussianProcessRegressor"
    scores: Figures
    deviation: Figures
    error: float

    def predict(self, features: Figures) -> tuple[Figures, Figures]:
        """The scores of genotypes with these features, and the deviations of what is not noise."""
        scores, deviation = self.model.predict(_taken(features, self.sized), return_std=True)
        return scores, deviation


def fit(features: Figures, accuracies: Figures, operations: Figures | None = None) -> Predictor:
    """The model of the smallest error in leave-one-out cross-validation, fitted to all that is known.

    Each model is tried with sizes and without: where size tells much it does so from few labels, but what it
    tells is the first thing that differs on another data set. So for an order on another one than that of the
    accuracies it is left out, and what is left is averaged with ridge regression on the accuracies by
    operations as they stand, which weighs `50 / (50 + labels)`.

    Args:
        features: `[genotypes, columns]`, as `features.features` makes them.
        accuracies: `[genotypes]`, in percent.
        operations: `[genotypes, columns]`, as `features.operations` makes them, for an order on another data
            set.

    Raises:
        PredictorError: there are fewer than 8 genotypes, or all have one accuracy.
    """
    if len(accuracies) < FEWEST:
        raise PredictorError(f"{len(accuracies)} genotypes were evaluated; an order takes {FEWEST}")
    if len(np.unique(accuracies)) < 2:
        raise PredictorError(f"all {len(accuracies)} evaluated genotypes have one accuracy")
    scores, plain = normal_scores(accuracies), None
    best = select(features, scores, (True, False) if operations is None else (False,))
    held, error = best.scores, best.error
    if operations is not None:
        plain = Plain.of(operations, accuracies)
        held = plain.mixed(held, _held(plain.model)[0])
        error = float(np.mean((scores - held) ** 2))
    agreed = agreement(held, accuracies)
    if agreed is None:
        raise PredictorError("what is known of the evaluated genotypes is the same of all")
    widening = float(np.sqrt(np.mean(((scores - held) / best.deviation) ** 2)))
    known = np.sort(accuracies)
    return Predictor(best.name, best.sized, best.model, agreed, widening, error, known, plain)


def select(features: Figures, scores: Figures, sized: Sequence[bool] = (True, False)) -> LeftOut:
    """The model of the smallest error in leave-one-out cross-validation, of any number of genotypes.

    Args:
        features: `[genotypes, columns]`, sizes last.
        scores: `[genotypes]`, as `normal_scores` makes them.
        sized: whether models are tried with sizes, and whether without.
    """
    found = [_left_out(name, size, features, scores) for name in MODELS for size in sized]
    return min(found, key=lambda one: one.error)


def _taken(features: Figures, sized: bool) -> Figures:
    """The columns that a model takes."""
    return features if sized else features[:, :-SIZES]


def normal_scores(values: Figures) -> Figures:
    """The values by their ranks alone, standard normal: the quantile of each rank's middle."""
    from scipy.stats import norm, rankdata

    return np.asarray(norm.ppf((rankdata(values) - 0.5) / len(values)), dtype=np.float64)


def percent(scores: Figures, accuracies: Figures) -> Figures:
    """The accuracies of scores: in a straight line between known ones, and on beyond them.

    Args:
        scores: as a model gives them that was fitted to `normal_scores` of the accuracies.
        accuracies: the known ones in percent, ascending.
    """
    known, values = normal_scores(accuracies), accuracies
    found = np.interp(scores, known, values)
    middle = len(values) // 2
    for end, outside in ((-1, scores > known[-1]), (0, scores < known[0])):
        run = known[end] - known[middle]
        slope = (values[end] - values[middle]) / run if run else 0.0
        found = np.where(outside, values[end] + slope * (scores - known[end]), found)
    return np.clip(found, 0, 100)


def _left_out(name: str, sized: bool, features: Figures, scores: Figures) -> LeftOut:
    model = MODELS[name]().fit(_taken(features, sized), scores)
    held, deviation = _held(model)
    return LeftOut(name, sized, model, held, deviation, float(np.mean((scores - held) ** 2)))


def _held(model: "GaussianProcessRegressor") -> tuple[Figures, Figures]:
    """Leave-one-out cross-validation at once (Rasmussen, Williams, 2006, equation 5.12)."""
    from scipy.linalg import cho_solve

    precision = np.diag(cho_solve((model.L_, True), np.eye(len(model.alpha_))))
    return model.y_train_ - model.alpha_ / precision, precision**-0.5
