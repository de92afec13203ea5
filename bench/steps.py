"""A worker that kills itself at a step, between two writes that belong together.

    python -m bench.steps STEP TIMES

The worker's code is as it is; around one function of it stands one that ends the process.
"""

import os
import signal
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

from fsspec.implementations.local import LocalFileSystem

from app.artifacts import Artifacts
from app.jobs import queue
from app.jobs import service as jobs
from worker import main as worker
from worker.runner import Run


def kill_around(owner: Any, name: str, times: int, *, done: bool) -> None:
    """Ends this process, as `kill -9` does, around the call of a function that comes so manieth.

    Args:
        owner: module or class of the function.
        name: of the function.
        times: which call, counted from 1; where the function's work is done, calls that did something.
        done: after its work, else before.
    """
    function, left = getattr(owner, name), times

    def call(*arguments: Any, **named: Any) -> Any:
        nonlocal left
        answer = function(*arguments, **named) if done or left > 1 else None
        left -= bool(answer) or not done
        if left <= 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return answer

    setattr(owner, name, call)


STEPS: dict[str, Callable[[int], None]] = {
    "claimed": partial(kill_around, jobs, "claim", done=True),
    "another claimed, and not sent again": partial(kill_around, queue, "send", done=False),
    "checkpoint written, and not its row": partial(kill_around, jobs, "report", done=False),
    "report written, and not committed": partial(kill_around, jobs, "add_event", done=False),
    "draft written, and not its file": partial(kill_around, LocalFileSystem, "mv", done=False),
    "file of the result written, and not its row": partial(kill_around, Run, "finish", done=False),
    "result written, and not the end": partial(kill_around, jobs, "succeed", done=False),
    "end written, and not committed": partial(kill_around, jobs, "succeed", done=True),
    "committed, and checkpoints not removed": partial(kill_around, Artifacts, "delete", done=False),
    "put back, and not sent": partial(kill_around, jobs, "put_back", done=True),
    "another's put back, and not sent": partial(kill_around, jobs, "expire", done=True),
}


def main() -> None:
    """Runs the worker until it kills itself."""
    STEPS[sys.argv[1]](int(sys.argv[2]))
    worker.main()


if __name__ == "__main__":
    main()
