"""How far two lists of numbers rank alike."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FEWEST = 8
"""Pairs from which on ranks are compared; with fewer the interval is as wide as its range."""

MOST = 0.999999
"""The largest rank correlation of which an interval is drawn; at 1 it would have no width."""


@dataclass(frozen=True)
class Agreement:
    """Spearman's rank correlation with its 95 % interval.

    Args:
        genotypes: pairs of numbers that were compared.
        spearman: from -1 to 1.
        low, high: of the interval.
    """

    genotypes: int
    spearman: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.spearman:.2f} ({self.low:.2f} to {self.high:.2f})"


def agreement(
    ours: Sequence[float] | NDArray[np.float64], theirs: Sequence[float] | NDArray[np.float64]
) -> Agreement | None:
    """How far two lists rank alike, with the interval of Bonett and Wright (2000).

    Returns:
        `None` where there are fewer than 8 pairs, or one of the lists has one value alone.
    """
    from scipy.stats import spearmanr  # a second of every process's start that most never need

    count = len(ours)
    if count < FEWEST or any(len(np.unique(np.asarray(values))) < 2 for values in (ours, theirs)):
        return None
    rank = float(spearmanr(ours, theirs).statistic)
    half = 1.96 * math.sqrt((1 + rank**2 / 2) / (count - 3))
    middle = math.atanh(min(max(rank, -MOST), MOST))
    low, high = math.tanh(middle - half), math.tanh(middle + half)
    rank, low, high = (round(value, 4) for value in (rank, low, high))
    return Agreement(count, rank, low, high)
