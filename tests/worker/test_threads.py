"""How a job chooses its threads, by steps whose times are given."""

from collections.abc import Callable, Iterator

import pytest
import torch

from worker.threads import FEWEST_ROUNDS, ROUNDS, WATCHED, Threads


@pytest.fixture(autouse=True)
def one_thread_after() -> Iterator[None]:
    yield
    torch.set_num_threads(1)


class Clock:
    """Steps that take as long as a function of the number of threads says."""

    def __init__(self, threads: Threads, seconds: Callable[[int], float]) -> None:
        self.threads, self.seconds, self.now = threads, seconds, 0.0
        threads.tick(self.now)

    def steps(self, count: int) -> int:
        """How often a choice is made within so many steps."""
        chosen = 0
        for _ in range(count):
            self.now += self.seconds(torch.get_num_threads())
            chosen += self.threads.tick(self.now)
        return chosen


def test_the_fastest_number_of_threads_is_kept() -> None:
    threads = Threads(4)
    assert threads.candidates == [1, 2, 4]
    clock = Clock(threads, lambda count: 1.0 / count)
    assert clock.steps(3 * (ROUNDS + 1)) == 1
    assert threads.chosen == torch.get_num_threads() == 4
    assert threads.seconds == pytest.approx({1: 1.0, 2: 0.5, 4: 0.25})


def test_a_number_that_is_clearly_slower_is_not_tried_to_the_end() -> None:
    threads = Threads(4)
    spent: list[int] = []

    def seconds(count: int) -> float:
        spent.append(count)
        return {1: 1.0, 2: 1.2, 4: 8.0}[count]  # other programs have the cores

    clock = Clock(threads, seconds)
    assert clock.steps(3 * (ROUNDS + 1)) == 1
    assert threads.chosen == torch.get_num_threads() == 1
    assert (spent.count(2), spent.count(4)) == (ROUNDS + 1, FEWEST_ROUNDS + 1)
    assert threads.seconds == pytest.approx({1: 1.0, 2: 1.2, 4: 8.0})


def test_one_slow_step_does_not_end_the_trial_of_the_fastest_number() -> None:
    threads = Threads(2)
    slow = iter([1.0, 0.5, 1.0, 9.0])  # the second step that counts, on two threads
    clock = Clock(threads, lambda count: next(slow, 1.0 / count))
    assert clock.steps(2 * (ROUNDS + 1)) == 1
    assert threads.chosen == 2


def test_more_threads_that_buy_nothing_are_not_taken() -> None:
    threads = Threads(2)
    Clock(threads, lambda count: {1: 1.0, 2: 0.95}[count]).steps(2 * (ROUNDS + 1))
    assert threads.chosen == torch.get_num_threads() == 1


def test_it_looks_again_when_steps_take_twice_as_long() -> None:
    threads = Threads(2)
    clock = Clock(threads, lambda count: 1.0 / count)
    clock.steps(2 * (ROUNDS + 1) + WATCHED)
    assert threads.chosen == 2
    clock.seconds = lambda count: {1: 1.5, 2: 3.0}[count]  # another program took a core
    assert clock.steps(WATCHED + 2 * (ROUNDS + 1)) == 1
    assert threads.chosen == torch.get_num_threads() == 1


def test_some_slow_steps_change_nothing() -> None:
    threads = Threads(2)
    clock = Clock(threads, lambda count: 1.0 / count)
    clock.steps(2 * (ROUNDS + 1))
    for _ in range(20):
        clock.seconds = lambda count: 9.0 / count
        clock.steps(1)
        clock.seconds = lambda count: 1.0 / count
        assert clock.steps(WATCHED) == 0
    assert threads.chosen == 2


def test_one_core_leaves_no_choice() -> None:
    threads = Threads(1)
    assert Clock(threads, lambda count: 1.0).steps(50) == 0
    assert (threads.candidates, threads.chosen) == ([1], 1)


def test_the_largest_number_is_tried_although_it_is_no_power_of_two() -> None:
    assert Threads(6).candidates == [1, 2, 4, 6]
