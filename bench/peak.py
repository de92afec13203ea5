"""The memory that steps take over what was there before, in a process of its own."""

import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import psutil
import torch

MEASURED = 3
"""Steps whose memory is measured."""

Prepare = Callable[[], Callable[[], object]]
"""Makes a step; a function of some module, or a partial one."""


def peak_mb(prepare: Prepare) -> int:
    """Megabytes that the steps take at most, on the GPU where there is one."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return round(pool.submit(_taken, prepare).result() / 1e6)


def _taken(prepare: Prepare) -> int:
    step = prepare()
    before = _now()
    for _ in range(MEASURED):
        step()
    return _highest() - before


def _now() -> int:
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
        return torch.cuda.memory_allocated()
    rss: int = psutil.Process().memory_info().rss
    return rss


def _highest() -> int:
    """The most bytes that there have been.

    What `getrusage` tells of a process that was spawned begins with what its parent had.
    """
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return 1024 * next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))
