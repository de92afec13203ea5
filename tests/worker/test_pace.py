"""When a job will be over, by given times."""

import pytest

from app.database import now
from worker.pace import Pace


def test_the_rest_takes_as_long_for_its_share_as_what_is_done() -> None:
    pace = Pace()
    pace.at(0.2, seconds=100.0)
    pace.at(0.4, seconds=110.0)
    eta_at = pace.eta_at()
    assert eta_at is not None
    assert (eta_at - now()).total_seconds() == pytest.approx(30.0, abs=1.0)


def test_nothing_is_said_before_there_is_a_pace() -> None:
    pace = Pace()
    assert pace.eta_at() is None
    pace.at(0.5, seconds=1.0)
    assert pace.eta_at() is None
    pace.at(0.6, seconds=1.1)  # too soon
    assert pace.eta_at() is None
    pace.at(0.5, seconds=9.0)  # nothing was done
    assert pace.eta_at() is None
