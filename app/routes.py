"""The routes of the API: an endpoint runs in one thread from its first query to its session's end."""

import inspect
from collections.abc import Callable
from functools import wraps
from typing import Any

from anyio import CapacityLimiter, to_thread
from anyio.lowlevel import RunVar
from fastapi.routing import APIRoute
from sqlalchemy.orm import Session

THREADS = 16
"""Endpoints of a process that run at once. More hinder each other, and would wait for connections besides."""

_threads: RunVar[CapacityLimiter] = RunVar("threads of endpoints")


class Route(APIRoute):
    """A route that takes one thread a request, and gives connections back before its answer is sent.

    FastAPI takes a thread for each dependency that ends, for the endpoint and for the validation of its
    answer, and ends dependencies last (FastAPI 0.165). Each hand-over costs as much as a query; and with more
    requests at once than connections all threads would wait for a connection, and all connections for a
    thread. So the session is closed where the endpoint ran, and what is left is done in the event loop.
    """

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        super().__init__(path, _in_one_thread(endpoint), **options)


def _in_one_thread(endpoint: Callable[..., Any]) -> Callable[..., Any]:
    if inspect.iscoroutinefunction(endpoint):
        return endpoint  # it has no session, or it would wait for the database in the event loop

    def run(arguments: dict[str, Any]) -> Any:
        try:
            return endpoint(**arguments)
        finally:
            for value in arguments.values():
                if isinstance(value, Session):
                    value.close()

    @wraps(endpoint)
    async def call(**arguments: Any) -> Any:
        return await to_thread.run_sync(run, arguments, limiter=_limiter())

    return call


def _limiter() -> CapacityLimiter:
    """That of the event loop."""
    try:
        return _threads.get()
    except LookupError:
        _threads.set(CapacityLimiter(THREADS))
        return _threads.get()
