"""How many threads a job gets: as few as are as fast as any, measured on its own steps.

OpenMP's threads meet after every operation, and a core that another program holds makes all of them wait.
So more threads than free cores can be several times slower than one, and which number is best changes as
programs come and go.
"""

import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from statistics import median

import torch

ROUNDS = 4
"""Measured steps of each number of threads at most, after one that is not counted."""

FEWEST_ROUNDS, CLEARLY = 2, 1.5
"""Measured steps after which a number of threads is not tried any more if its fastest one took so many times
as long as the slowest of another number: beside other workers a step on all cores costs many on one."""

GAIN = 1.1
"""A larger number of threads must be so many times as fast as a smaller one to be chosen."""

SLOWER = 2.0
"""The choice is made again when steps take so many times as long as they did."""

WATCHED = 8
"""Steps whose median is compared."""


@contextmanager
def restored() -> Iterator[None]:
    """Gives the process its threads back when the context is left, so that the next job tries them all."""
    before = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(before)


class Threads:
    """The number of threads of one job on the CPU.

    Args:
        most: threads to try at most; powers of two below it, and itself.
    """

    def __init__(self, most: int) -> None:
        self.candidates: list[int] = [2**k for k in range(most.bit_length()) if 2**k < most] + [most]
        self.chosen = self.candidates[0]
        self.seconds: dict[int, float] = {}
        """The median seconds of a step by number of threads, of the last choice."""
        self._last: float | None = None
        self._watched: deque[float] = deque(maxlen=WATCHED)
        self._begin()

    def tick(self, now: float | None = None) -> bool:
        """Called between two steps: whether the number of threads was chosen just now.

        Args:
            now: the time in seconds; by default that of the clock.
        """
        now = time.perf_counter() if now is None else now
        last, self._last = self._last, now
        if last is None:
            self._use(self._turn())
            return False
        if self._left:
            return self._tried(now - last)
        self._watched.append(now - last)
        if self._is_slower():
            self._begin()
            self._use(self._turn())
        return False

    def _is_slower(self) -> bool:
        if len(self.candidates) == 1 or len(self._watched) < WATCHED:
            return False
        return median(self._watched) > SLOWER * self.seconds[self.chosen]

    def _begin(self) -> None:
        self._left = self.candidates if len(self.candidates) > 1 else []  # those that are still tried
        self._measured: dict[int, list[float]] = {n: [] for n in self.candidates}
        self._watched.clear()

    def _turn(self) -> int:
        """The threads of the next step: while they are tried, all numbers in turn."""
        return min(self._left, key=lambda n: len(self._measured[n]), default=self.chosen)

    def _tried(self, seconds: float) -> bool:
        self._measured[self._turn()].append(seconds)
        over = self._turn() == self._left[0] and self._decided()  # at the end of a round
        if over:
            self.seconds = {n: median(taken[1:]) for n, taken in self._measured.items()}
            best = min(self.seconds.values())
            self.chosen = next(n for n in self.candidates if self.seconds[n] <= GAIN * best)
            self._left = []
        self._use(self._turn())
        return over

    def _decided(self) -> bool:
        """Whether all rounds are over, or one number is left after those that are clearly slower went."""
        counted = {n: self._measured[n][1:] for n in self._left}
        rounds = len(counted[self._left[0]])
        if rounds >= FEWEST_ROUNDS:
            best = min(map(max, counted.values()))
            self._left = [n for n in self._left if min(counted[n]) <= CLEARLY * best]
        return rounds == ROUNDS or len(self._left) == 1

    def _use(self, count: int) -> None:
        if torch.get_num_threads() != count:
            torch.set_num_threads(count)
