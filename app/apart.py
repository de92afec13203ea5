"""Calls in a process of their own: whatever a file does to the code that reads it, the server lives.

Decoders of images are C code that hostile files are written for. A child process reads them, within bounds
of time and memory; if it dies, the request fails, and nothing else.
"""

import multiprocessing
import os
import resource
import signal
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from multiprocessing.reduction import DupFd
from pathlib import Path
from types import ModuleType
from typing import IO, Any, TypeVar

T = TypeVar("T")

_context = multiprocessing.get_context("forkserver")

_turns = threading.BoundedSemaphore(max(1, os.cpu_count() or 1))
"""Children that work at a time: one for each core."""

_starting = threading.Lock()


class Died(RuntimeError):
    """The child died, or had to be killed, before it answered; the message says why."""


class Handed:
    """An open file, handed to a child.

    Args:
        file: open for reading; it must have a descriptor.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def __reduce__(self) -> tuple[Any, ...]:
        return _opened, (DupFd(self._file.fileno()),)


def _opened(descriptor: Any) -> IO[bytes]:
    """The file in the child."""
    file = os.fdopen(descriptor.detach(), "rb")
    file.seek(0)
    return file


def preload(*modules: str) -> None:
    """Has modules imported once, in the process that children are copies of, so that each starts at once."""
    _context.set_forkserver_preload(list(modules))


def call(function: Callable[..., T], *arguments: Any, seconds: float, memory_bytes: int) -> T:
    """The result of a function that runs in a child process; what it raises is raised here.

    Temporary files of the child are gone when this returns, however the child ended.

    Args:
        function: of some module.
        arguments: what can be pickled; open files as `Handed`.
        seconds: after which the child is killed.
        memory_bytes: that the child may take beside what it starts with.

    Raises:
        Died: the child took too long or too much memory, or died.
    """
    receiver, sender = _context.Pipe(duplex=False)
    with _turns, receiver, tempfile.TemporaryDirectory() as scratch:
        process = _context.Process(target=_answer, args=(sender, scratch, memory_bytes, function, arguments))
        with _without_program():
            process.start()
        sender.close()
        try:
            if not receiver.poll(seconds):
                raise Died(f"it takes longer than {seconds:g} s to read")
            value, error = receiver.recv()
        except EOFError:
            process.join()
            raise Died(f"the process that reads it died ({_ending(process.exitcode)})") from None
        finally:
            process.kill()
            process.join()
    if error is not None:
        raise error
    result: T = value
    return result


@contextmanager
def _without_program() -> Iterator[None]:
    """Hides the program that runs, which a child would otherwise import, and so run once more."""
    with _starting:
        program = sys.modules["__main__"]
        sys.modules["__main__"] = ModuleType("__main__")
        try:
            yield
        finally:
            sys.modules["__main__"] = program


def _answer(
    sender: Connection,
    scratch: str,
    memory_bytes: int,
    function: Callable[..., Any],
    arguments: tuple[Any, ...],
) -> None:
    """The child's whole life."""
    tempfile.tempdir = scratch
    _bound(memory_bytes)
    answer: tuple[Any, Exception | None]
    try:
        answer = (function(*arguments), None)
    except Exception as error:
        # torch tells of a lack of memory by the text alone
        full = isinstance(error, MemoryError) or "can't allocate memory" in str(error)
        answer = (None, Died("it takes too much memory to read") if full else error)
    sender.send(answer)


def _bound(memory_bytes: int) -> None:
    """Bounds the address space of this process, where the system tells how much it has already."""
    pages = Path("/proc/self/statm")
    if pages.exists():
        limit = int(pages.read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE") + memory_bytes
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def _ending(code: int | None) -> str:
    if code is not None and code < 0:
        return f"by {signal.Signals(-code).name}"
    return f"with {code}"
