"""Calls in a process of their own."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
import torch

from app import apart
from app.problems import InvalidRequest

GENEROUS = {"seconds": 600, "memory_bytes": 4 << 30}


def add(first: int, second: int) -> int:
    return first + second


def refuse() -> None:
    raise InvalidRequest.of("archive", "is no archive")


def die(sig: int) -> None:
    os.kill(os.getpid(), sig)


def leave_a_file_and_die() -> None:
    Path(tempfile.mkdtemp()).joinpath("left").write_text("left")
    os.kill(os.getpid(), signal.SIGKILL)


def hoard(count: int) -> int:
    return len(torch.ones(count))


def content(file: object) -> bytes:
    return file.read()  # type: ignore[attr-defined, no-any-return]


def test_the_result_and_the_error_of_a_call_are_those_of_the_function() -> None:
    assert apart.call(add, 2, 3, **GENEROUS) == 5
    with pytest.raises(InvalidRequest) as refused:
        apart.call(refuse, **GENEROUS)
    assert [error.field for error in refused.value.errors] == ["archive"]


@pytest.mark.parametrize("sig", [signal.SIGKILL, signal.SIGSEGV, signal.SIGABRT])
def test_a_child_that_dies_is_told_and_takes_nothing_with_it(sig: signal.Signals) -> None:
    with pytest.raises(apart.Died, match=sig.name):
        apart.call(die, sig, **GENEROUS)
    assert apart.call(add, 2, 3, **GENEROUS) == 5


def test_files_of_a_killed_child_are_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with pytest.raises(apart.Died):
        apart.call(leave_a_file_and_die, **GENEROUS)
    assert list(tmp_path.rglob("*")) == []


def test_a_child_that_takes_too_long_is_killed() -> None:
    began = time.monotonic()
    with pytest.raises(apart.Died, match="longer than"):
        apart.call(time.sleep, 3_000, seconds=0.2, memory_bytes=1 << 30)
    assert time.monotonic() - began < 1_000


def test_memory_is_bounded() -> None:
    with pytest.raises(apart.Died, match="too much memory"):
        apart.call(hoard, 1 << 30, seconds=600, memory_bytes=1 << 30)


def test_an_open_file_is_handed_over(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"content")
    with (tmp_path / "file").open("rb") as file:
        file.read(3)
        assert apart.call(content, apart.Handed(file), **GENEROUS) == b"content"


def test_a_program_without_a_guard_is_not_run_again_by_its_children(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        "import operator\nfrom app import apart\n"
        "print('runs', apart.call(operator.add, 2, 3, seconds=600, memory_bytes=4 << 30))\n"
    )
    told = subprocess.run(
        [sys.executable, str(program)], capture_output=True, text=True, timeout=600, check=True
    )
    assert told.stdout == "runs 5\n"
