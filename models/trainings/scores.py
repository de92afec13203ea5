"""Scores of a classifier by class, from its confusion matrix."""

from dataclasses import dataclass

import numpy as np
from torch import Tensor


@dataclass(frozen=True)
class Scores:
    """What a confusion matrix says of a classifier; all but the matrix in percent.

    Classes without an image count in no mean, as nothing is known of them.

    Args:
        balanced_accuracy: mean of the classes' accuracies (recalls).
        macro_f1: mean of the classes' F1 scores.
        class_accuracies: of each class in its order; `None` for one without an image.
        confusion: images by true class (rows) and by class given (columns).
    """

    balanced_accuracy: float
    macro_f1: float
    class_accuracies: list[float | None]
    confusion: list[list[int]]


def scores(confusion: Tensor) -> Scores:
    """The scores of a confusion matrix, by scikit-learn.

    Args:
        confusion: int64 `[true class, class given]`, of one image at least.
    """
    from sklearn.metrics import f1_score, recall_score

    counts = confusion.numpy()
    true, given = counts.nonzero()
    present = np.flatnonzero(counts.sum(1))
    weights = counts[true, given]
    recalls = recall_score(true, given, labels=present, average=None, sample_weight=weights, zero_division=0)
    f1 = f1_score(true, given, labels=present, average="macro", sample_weight=weights, zero_division=0)
    accuracies: list[float | None] = [None] * len(counts)
    for label, recall in zip(present.tolist(), recalls.tolist(), strict=True):
        accuracies[label] = 100 * recall
    return Scores(100 * float(recalls.mean()), 100 * float(f1), accuracies, counts.tolist())
