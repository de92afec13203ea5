"""Whether one arm is better than another: difference, intervals, and the trainings that would tell."""

from collections.abc import Sequence
from enum import StrEnum
from itertools import combinations
from statistics import fmean, stdev

import numpy as np
from pydantic import BaseModel, Field

CONFIDENCE, POWER = 0.95, 0.8
"""Of the intervals; and the chance with which so many trainings would tell the difference that was seen."""

RESAMPLES, SEED = 9_999, 2024
"""Of the bootstrap."""

MAX_TRAININGS = 1_000_000
"""More than so many are not counted."""


class Verdict(StrEnum):
    """What can be said of an arm beside another."""

    BETTER = "better"
    WORSE = "worse"
    CANNOT_TELL = "cannot tell"


class VerdictOut(BaseModel):
    """One arm beside another on a data set; accuracies in percent."""

    dataset_id: str
    dataset: str
    arm: str
    other: str
    difference: float | None = Field(description="Mean accuracy of `arm` minus that of `other`.")
    interval: tuple[float, float] | None = Field(description="95 % interval of the difference, by Welch.")
    bootstrap_interval: tuple[float, float] | None = Field(description="The same, by the bootstrap.")
    verdict: Verdict = Field(description="Of `arm`: better or worse only where both intervals say so.")
    trainings_needed: int | None = Field(
        description="Of each arm, to tell a difference like this one with 80 % power; `null` if not known."
    )

    def sentence(self) -> str:
        """The verdict in words."""
        if self.difference is None or self.interval is None:
            return f"cannot tell from {self.other}: too few trainings"
        figures = f"{self.difference:+.2f} [{self.interval[0]:+.2f}, {self.interval[1]:+.2f}]"
        if self.verdict is Verdict.CANNOT_TELL:
            needed = f", {self.trainings_needed} trainings needed" if self.trainings_needed else ""
            return f"cannot tell from {self.other}: {figures}{needed}"
        return f"{self.verdict} than {self.other}: {figures}"


def compare(dataset_id: str, dataset: str, accuracies: dict[str, Sequence[float]]) -> list[VerdictOut]:
    """The verdict of every pair of arms, each arm beside those before it.

    Args:
        dataset_id, dataset: on which they were trained.
        accuracies: of each arm, one value for each thing that varies: its architectures, or the seeds of its
            only one. Two values at least are needed of both arms, and some spread.
    """
    return [
        _verdict(dataset_id, dataset, arm, other, accuracies[arm], accuracies[other])
        for other, arm in combinations(accuracies, 2)
    ]


def trainings_needed(difference: float, first_sd: float, second_sd: float) -> int | None:
    """Values that each of two arms needs, so that Welch's test tells a difference with `POWER`.

    Args:
        difference: of the means, not 0.
        first_sd, second_sd: of the values of each arm, not both 0.

    Returns:
        the number, or `None` if it is over `MAX_TRAININGS`.
    """
    low, high = 2, 2
    while _power(high, difference, first_sd, second_sd) < POWER:
        low, high = high, 2 * high
        if high > MAX_TRAININGS:
            return None
    while high - low > 1:
        middle = (low + high) // 2
        enough = _power(middle, difference, first_sd, second_sd) >= POWER
        low, high = (low, middle) if enough else (middle, high)
    return low if _power(low, difference, first_sd, second_sd) >= POWER else high


def _verdict(
    dataset_id: str, dataset: str, arm: str, other: str, ours: Sequence[float], theirs: Sequence[float]
) -> VerdictOut:
    told = VerdictOut(
        dataset_id=dataset_id,
        dataset=dataset,
        arm=arm,
        other=other,
        difference=fmean(ours) - fmean(theirs) if ours and theirs else None,
        interval=None,
        bootstrap_interval=None,
        verdict=Verdict.CANNOT_TELL,
        trainings_needed=None,
    )
    if min(len(ours), len(theirs)) < 2 or stdev(ours) + stdev(theirs) == 0:
        return told
    from scipy import stats  # slow to import, and few processes judge

    welch = stats.ttest_ind(ours, theirs, equal_var=False).confidence_interval(CONFIDENCE)
    resampled = stats.bootstrap(
        (np.asarray(ours), np.asarray(theirs)),
        lambda a, b, axis: a.mean(axis) - b.mean(axis),
        confidence_level=CONFIDENCE,
        n_resamples=RESAMPLES,
        method="percentile",
        rng=SEED,
    ).confidence_interval
    told.interval = (float(welch.low), float(welch.high))
    told.bootstrap_interval = (float(resampled.low), float(resampled.high))
    if min(told.interval[0], told.bootstrap_interval[0]) > 0:
        told.verdict = Verdict.BETTER
    elif max(told.interval[1], told.bootstrap_interval[1]) < 0:
        told.verdict = Verdict.WORSE
    if told.difference:
        told.trainings_needed = trainings_needed(told.difference, stdev(ours), stdev(theirs))
    return told


def _power(count: int, difference: float, first_sd: float, second_sd: float) -> float:
    """The chance that Welch's test tells the difference from so many values of each arm."""
    from scipy import stats

    first, second = first_sd**2 / count, second_sd**2 / count
    freedom = (first + second) ** 2 * (count - 1) / (first**2 + second**2)
    critical = stats.t.ppf((1 + CONFIDENCE) / 2, freedom)
    shift = abs(difference) / (first + second) ** 0.5
    return float(stats.nct.sf(critical, freedom, shift) + stats.nct.cdf(-critical, freedom, shift))
