"""The memory of a worker process, in processes of their own, since it is a matter of the whole process."""

import platform
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can be told")

PROGRAM = """
import resource, sys
import torch
from worker import memory

if sys.argv[1] == "keep":
    memory.keep_freed()
for _ in range(20):
    torch.ones(12_000_000)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    torch.ones(12_000_000)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
resident = lambda: int(open("/proc/self/statm").read().split()[1])
held = resident()
memory.give_back()
print(held - resident())
"""


def run(mode: str) -> tuple[int, int]:
    """Fresh pages that twenty tensors of 48 MB took, and pages that were given back after."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, mode], check=True, capture_output=True, text=True, timeout=120
    )
    faults, given_back = map(int, done.stdout.split())
    return faults, given_back


def test_freed_memory_is_kept_for_the_next_tensor_and_given_back_when_asked() -> None:
    faults, given_back = run("keep")
    usual, _ = run("usual")
    assert faults < usual / 10
    assert given_back > 5_000
