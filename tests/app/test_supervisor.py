"""Workers are started again when they die, ever later when they die soon."""

import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from app import supervisor
from app.supervisor import Supervisor, default_workers

PATIENCE_SECONDS = 120


def until(there: Callable[[], bool]) -> None:
    patience = time.monotonic() + PATIENCE_SECONDS
    while not there():
        assert time.monotonic() < patience
        time.sleep(0.02)


def test_a_killed_process_is_followed_by_another_and_all_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "WORKER", (sys.executable, "-c", "import time; time.sleep(600)"))
    monkeypatch.setattr(supervisor, "FIRST_WAIT", 0.1)
    with Supervisor(2) as running:
        first, other = (slot.process for slot in running.slots)
        assert first is not None
        assert other is not None
        first.kill()
        until(lambda: running.slots[0].process not in (first, None))
        assert running.slots[1].process is other
        second = running.slots[0].process
        assert second is not None
        assert psutil.pid_exists(second.pid)
    assert second.poll() is not None
    assert other.poll() is not None
    assert not psutil.pid_exists(first.pid)  # no zombie is left


def test_one_that_dies_at_once_is_started_ever_later(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    lives = tmp_path / "lives"
    program = f"open({str(lives)!r}, 'a').write('x')"
    monkeypatch.setattr(supervisor, "WORKER", (sys.executable, "-c", program))
    running = Supervisor(1)
    slot = running.slots[0]
    waits = []
    for _ in range(3):
        slot.due = 0.0  # as if the time had passed
        running.watch()
        assert slot.process is not None
        slot.process.wait()
        before = slot.wait
        running.watch()
        assert slot.process is None
        waits.append((before, slot.wait))
        running.watch()  # it is not due yet
        assert slot.process is None
    assert waits == [(1.0, 2.0), (2.0, 4.0), (4.0, 8.0)]
    assert lives.read_text() == "xxx"


def test_there_is_at_least_one_worker_and_at_most_one_a_core() -> None:
    assert 1 <= default_workers() <= psutil.cpu_count()
