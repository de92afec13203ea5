"""Verdicts: that they are right when there is a difference, and silent when there is none."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.experiments.verdicts import Verdict, compare, trainings_needed

Accuracies = st.lists(st.floats(90, 100).map(lambda value: round(value, 2)), max_size=8)


def drawn(mean: float, count: int, seed: int) -> list[float]:
    accuracies: list[float] = np.random.default_rng(seed).normal(mean, 0.2, count).tolist()
    return accuracies


def test_a_clear_difference_is_told_with_its_sign() -> None:
    arms = {"first": drawn(97.0, 10, 0), "second": drawn(98.0, 10, 1), "third": drawn(96.0, 10, 2)}
    told = {(v.arm, v.other): v.verdict for v in compare("ds", "digits", arms)}
    assert told == {
        ("second", "first"): Verdict.BETTER,
        ("third", "first"): Verdict.WORSE,
        ("third", "second"): Verdict.WORSE,
    }


def test_equal_arms_are_told_apart_as_seldom_as_the_confidence_says() -> None:
    wrong = sum(
        compare("ds", "digits", {"a": drawn(97, 5, seed), "b": drawn(97, 5, 10_000 + seed)})[0].verdict
        is not Verdict.CANNOT_TELL
        for seed in range(200)
    )
    assert wrong <= 0.1 * 200


def test_so_many_trainings_as_are_needed_tell_the_difference_four_times_in_five() -> None:
    needed = trainings_needed(0.2, 0.2, 0.2)
    assert needed == 17
    right = sum(
        compare("ds", "digits", {"a": drawn(97, needed, seed), "b": drawn(97.2, needed, 10_000 + seed)})[
            0
        ].verdict
        is Verdict.BETTER
        for seed in range(200)
    )
    assert 0.7 * 200 <= right <= 0.9 * 200


@pytest.mark.parametrize(("ours", "theirs"), [([], [97.0]), ([97.0], [97.5]), ([97.0, 97.0], [98.0, 98.0])])
def test_too_little_is_no_verdict(ours: list[float], theirs: list[float]) -> None:
    (told,) = compare("ds", "digits", {"theirs": theirs, "ours": ours})
    assert (told.verdict, told.interval, told.trainings_needed) == (Verdict.CANNOT_TELL, None, None)
    assert told.sentence().startswith("cannot tell from theirs")


@given(Accuracies, Accuracies)
def test_any_two_arms_have_a_verdict_that_agrees_with_its_intervals(
    ours: list[float], theirs: list[float]
) -> None:
    (told,) = compare("ds", "digits", {"theirs": theirs, "ours": ours})
    if told.interval is None or told.bootstrap_interval is None:
        assert told.verdict is Verdict.CANNOT_TELL
        return
    lows, highs = zip(told.interval, told.bootstrap_interval, strict=True)
    expected = Verdict.BETTER if min(lows) > 0 else Verdict.WORSE if max(highs) < 0 else Verdict.CANNOT_TELL
    assert told.verdict is expected
    assert told.trainings_needed is None or told.trainings_needed >= 2
