"""Successive halving: the best go on, budgets are kept, and what they can pay is used."""

import random
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.generation.halving import ETA, Step, Trial, lengths, step


def play(
    costs: list[float], budget: float, workers: int, seed: int, failing: float = 0.0
) -> tuple[list[Trial], float]:
    """A whole campaign with trainings that end in any order; the trials, and what is left."""
    rng, trials, left, new = random.Random(seed), list[Trial](), budget, 0
    while True:
        while sum(trial.runs for trial in trials) < workers:
            following = step(trials, costs, left)
            if following is None:
                break
            name = following.candidate
            if name is None:
                name, new = f"c{new}", new + 1
            trials.append(Trial(name, following.rung))
            left -= costs[following.rung]
        running = [place for place, trial in enumerate(trials) if trial.runs]
        if not running:
            return trials, left
        place = rng.choice(running)
        failed = rng.random() < failing
        accuracy = None if failed else rng.random()
        trials[place] = Trial(trials[place].candidate, trials[place].rung, accuracy, failed)


@pytest.mark.parametrize(
    ("epochs", "rungs", "expected"),
    [(16, 2, [5, 16]), (50, 3, [6, 17, 50]), (50, 1, [50]), (1, 3, [1]), (2, 3, [1, 2])],
)
def test_lengths_are_thirds_of_the_whole(epochs: int, rungs: int, expected: list[int]) -> None:
    assert lengths(epochs, rungs) == expected


def test_the_best_third_goes_on_as_soon_as_it_is_known() -> None:
    trials = [Trial("a", 0, 0.5), Trial("b", 0, 0.9), Trial("c", 0, 0.7)]
    assert step(trials[:2], [1 / 3, 1], 10) == Step(0)
    assert step(trials, [1 / 3, 1], 10) == Step(1, "b")
    trials.append(Trial("b", 1))
    assert step(trials, [1 / 3, 1], 9) == Step(0)


def test_what_failed_neither_goes_on_nor_is_waited_for() -> None:
    trials = [Trial("a", 0, failed=True), Trial("b", 0, 0.2), Trial("c", 0, failed=True)]
    assert step(trials, [1 / 3, 1], 1.0) == Step(1, "b")


def test_the_end_of_a_budget_goes_to_the_best_that_is_left() -> None:
    trials = [Trial("a", 0, 0.5), Trial("b", 0, 0.9), Trial("c", 0, 0.7), Trial("b", 1, 0.95)]
    assert step(trials, [1 / 3, 1], 1.0) == Step(1, "c")
    assert step([*trials, Trial("d", 0)], [1 / 3, 1], 1.0) is None  # which may be better


@given(
    st.integers(1, 3), st.integers(2, 30), st.integers(1, 4), st.integers(0, 999), st.sampled_from([0.0, 0.3])
)
def test_a_campaign_keeps_to_its_budget_and_uses_it(
    rungs: int, budget: int, workers: int, seed: int, failing: float
) -> None:
    costs = [float(Fraction(1, ETA**above)) for above in reversed(range(rungs))]
    trials, left = play(costs, budget, workers, seed, failing)
    assert left > -1e-6
    whole = [trial for trial in trials if trial.rung == rungs - 1]
    assert whole
    for trial in trials:  # each rung follows the one before, once
        assert [t.rung for t in trials if t.candidate == trial.candidate][: trial.rung + 1] == list(
            range(trial.rung + 1)
        )
    assert len({(trial.candidate, trial.rung) for trial in trials}) == len(trials)
    if not failing:
        assert left < sum(costs[1:] or costs) + costs[0]
        assert len(whole) >= (budget - 1) // (rungs + 1)
