"""Worker processes beside the API: started, started again when they die, and stopped with it."""

import logging
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

logger = logging.getLogger(__name__)

WORKER = (sys.executable, "-m", "worker.main")
"""A process of its own, as the code of `app` never imports that of `worker`."""

GPUS = Path("/proc/driver/nvidia/gpus")
"""Where NVIDIA's driver lists the devices."""

MEMORY = 2 << 30
"""Bytes that a worker is given: it and a small training take about half of it."""

POLL_SECONDS = 0.2
"""Seconds between two looks at the processes."""

FIRST_WAIT, LONGEST_WAIT = 1.0, 60.0
"""Seconds before a worker that died is started again; doubled each time it dies soon."""

STOP_SECONDS = 30.0
"""Seconds in which workers must have stopped before they are killed."""


def raise_file_limit() -> None:
    """Lets this process and its children open as many files and connections as the system allows."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    with suppress(ValueError, OSError):  # a system may hold less possible than it allows
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def gpus() -> list[str]:
    """The GPUs of this process, as `CUDA_VISIBLE_DEVICES` names them."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is not None:
        return [name for name in named.split(",") if name.strip() not in ("", "-1")]
    return [str(i) for i in range(len(list(GPUS.iterdir())))] if GPUS.exists() else []


def default_workers() -> int:
    """One a GPU; without one the number of cores, or fewer if memory is short. At least 1."""
    if gpus():
        return len(gpus())
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return max(1, min(cores, memory // MEMORY))


@dataclass
class Slot:
    """One worker's place, which has one process after the other.

    Args:
        process: the last one; `None` before the first.
        started: when it was started.
        due: when the next one is to be started.
        wait: seconds to wait should it die soon.
    """

    process: "subprocess.Popen[bytes] | None" = None
    started: float = 0.0
    due: float = 0.0
    wait: float = FIRST_WAIT


class Supervisor:
    """Keeps some workers running for as long as its context lasts; each has one of the GPUs, in turn.

    Args:
        workers: how many.
        environment: more variables for them.
    """

    def __init__(self, workers: int, environment: Mapping[str, str] | None = None) -> None:
        self.environment, self.gpus = {**os.environ, **(environment or {})}, gpus()
        self.slots = [Slot() for _ in range(workers)]
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch_until_over, daemon=True)

    def __enter__(self) -> "Supervisor":
        self.watch()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        processes = [slot.process for slot in self.slots if slot.process is not None]
        for process in processes:
            process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + STOP_SECONDS
        for process in processes:
            try:
                process.wait(timeout=max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def watch(self) -> None:
        """One look: notes who died, and starts who is due."""
        for place, slot in enumerate(self.slots):
            moment = time.monotonic()
            if slot.process is not None and slot.process.poll() is not None:
                if moment - slot.started > LONGEST_WAIT:
                    slot.wait = FIRST_WAIT
                logger.warning(
                    "worker %d ended with %d; another starts in %.0f s",
                    slot.process.pid,
                    slot.process.returncode,
                    slot.wait,
                )
                slot.process, slot.due = None, moment + slot.wait
                slot.wait = min(2 * slot.wait, LONGEST_WAIT)
            if slot.process is None and moment >= slot.due:
                slot.process, slot.started = subprocess.Popen(WORKER, env=self._variables(place)), moment

    def _variables(self, place: int) -> dict[str, str]:
        if not self.gpus:
            return self.environment
        return {**self.environment, "CUDA_VISIBLE_DEVICES": self.gpus[place % len(self.gpus)]}

    def _watch_until_over(self) -> None:
        while not self._over.wait(POLL_SECONDS):
            self.watch()
