"""When a job will be over, by its pace so far."""

import time
from datetime import datetime, timedelta

from app.database import now

FEWEST_SECONDS = 1.0
"""Seconds of work before which nothing is said."""


class Pace:
    """The pace of one attempt at a job, from its first step on."""

    def __init__(self) -> None:
        self._first: tuple[float, float] | None = None
        self._last: tuple[float, float] | None = None

    def at(self, progress: float, seconds: float | None = None) -> None:
        """Notes how far the job is.

        Args:
            progress: 0 to 1.
            seconds: the time; by default that of the clock.
        """
        moment = (time.monotonic() if seconds is None else seconds, progress)
        self._first, self._last = self._first or moment, moment

    def eta_at(self) -> datetime | None:
        """The time at which the job will be over; `None` while that cannot be told."""
        if self._first is None or self._last is None:
            return None
        seconds, done = (last - first for last, first in zip(self._last, self._first, strict=True))
        if seconds < FEWEST_SECONDS or done <= 0:
            return None
        return now() + timedelta(seconds=seconds * (1 - self._last[1]) / done)
