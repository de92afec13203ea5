"""Who is trained for longer, and when something new is begun: asynchronous successive halving."""

from collections.abc import Sequence
from dataclasses import dataclass

ETA = 3
"""Of so many candidates one is trained for longer, and so many times as long."""


@dataclass(frozen=True)
class Trial:
    """One training of a candidate.

    Args:
        candidate: its name.
        rung: of the lengths of trainings which one, from 0.
        accuracy: the larger the better; `None` while it runs, or where it failed.
        failed: whether it did.
    """

    candidate: str
    rung: int
    accuracy: float | None = None
    failed: bool = False

    @property
    def runs(self) -> bool:
        """Whether it is not over."""
        return self.accuracy is None and not self.failed


@dataclass(frozen=True)
class Step:
    """A training to start.

    Args:
        rung: its length.
        candidate: who is trained; `None` for a new one.
    """

    rung: int
    candidate: str | None = None


def lengths(epochs: int, rungs: int) -> list[int]:
    """The epochs of each rung, ascending to the whole; fewer rungs where epochs are too few to divide."""
    return sorted({max(1, round(epochs / ETA**above)) for above in range(rungs)})


def step(trials: Sequence[Trial], costs: Sequence[float], left: float) -> Step | None:
    """What to train next within a budget, by ASHA (Li et al., 2020).

    Of all that have ended on a rung the best third goes on to the next, as soon as it is known. Otherwise
    something new begins. Both only as long as the budget can then still pay to bring the best to the end.
    What is left at last goes to the best of those that have not gone on.

    Args:
        trials: all trainings so far.
        costs: of a training on each rung, in the unit of the budget.
        left: of the budget, without what runs.

    Returns:
        `None` where nothing is to be started before another training ends, or never where none runs.
    """
    left += 1e-9  # thirds that add up to a whole
    affordable = [rung for rung in reversed(range(len(costs) - 1)) if sum(costs[rung + 1 :]) <= left]
    for rung in affordable:
        due = [name for name in _ranked(trials, rung, best_third=True) if not _went_on(trials, name, rung)]
        if due:
            return Step(rung + 1, due[0])
    if costs[0] + _reserve(trials, costs) <= left:
        return Step(0)
    for rung in affordable:
        rest = [name for name in _ranked(trials, rung) if not _went_on(trials, name, rung)]
        if rest and not any(trial.runs for trial in trials if trial.rung == rung):
            return Step(rung + 1, rest[0])
    return None


def _ranked(trials: Sequence[Trial], rung: int, best_third: bool = False) -> list[str]:
    """The candidates that have ended well on a rung, the best first; of several alike the earliest."""
    ended = [trial for trial in trials if trial.rung == rung and trial.accuracy is not None]
    ended.sort(key=lambda trial: -(trial.accuracy or 0.0))
    return [trial.candidate for trial in ended[: len(ended) // ETA if best_third else None]]


def _went_on(trials: Sequence[Trial], candidate: str, rung: int) -> bool:
    return any(trial.candidate == candidate and trial.rung > rung for trial in trials)


def _reserve(trials: Sequence[Trial], costs: Sequence[float]) -> float:
    """What it takes to bring to the end whoever is due once one more has begun, and one at least."""
    begun = 1 + sum(trial.rung == 0 and not trial.failed for trial in trials)
    started = [sum(trial.rung == rung for trial in trials) for rung in range(len(costs))]
    due = [max(1, begun // ETA**rung - started[rung]) for rung in range(len(costs))]
    return sum(cost * count for cost, count in zip(costs[1:], due[1:], strict=True))
