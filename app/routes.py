"""The routes of the API: an endpoint runs in one thread from its first query to its session's end."""

import inspect
from collections.abc import Callable, Coroutine
from contextlib import AbstractContextManager, nullcontext
from functools import partial, wraps
from typing import Any
from urllib.parse import urlencode

from anyio import CapacityLimiter, to_thread
from anyio.lowlevel import RunVar
from fastapi import Request, Response
from fastapi.dependencies.utils import get_flat_params
from fastapi.params import ParamTypes
from fastapi.routing import APIRoute
from sqlalchemy.orm import Session

from app import naming
from app.database import Database
from app.problems import InvalidRequest

THREADS = 16
"""Endpoints of a process that run at once. More hinder each other, and would wait for connections besides."""

_threads: RunVar[CapacityLimiter] = RunVar("threads of endpoints")

Handler = Callable[[Request], Coroutine[Any, Any, Response]]


class Route(APIRoute):
    """A route that takes one thread a request, and gives connections back before its answer is sent.

    FastAPI takes a thread for each dependency that ends, for the endpoint and for the validation of its
    answer, and ends dependencies last (FastAPI 0.165). Each hand-over costs as much as a query; and with more
    requests at once than connections all threads would wait for a connection, and all connections for a
    thread. So the session is closed where the endpoint ran, and what is left is done in the event loop.

    It also reads what people write for ids: an endpoint gets the id where the name of a thing was given, and
    parameters that it does not know are refused.
    """

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        super().__init__(path, _in_one_thread(endpoint), **options)

    def get_route_handler(self) -> Handler:
        """The handler of requests, that looks at the query first."""
        handle = super().get_route_handler()
        known = {p.alias for p in get_flat_params(self.dependant) if _in_query(p)}

        async def checked(request: Request) -> Response:
            if request.scope["query_string"]:
                _read_query(request, known)
            return await handle(request)

        return checked


def _in_query(parameter: Any) -> bool:
    return getattr(parameter.field_info, "in_", ParamTypes.query) is ParamTypes.query


def _read_query(request: Request, known: set[str]) -> None:
    """Writes out short names of parameters.

    Raises:
        InvalidRequest: naming a parameter that the route does not know.
    """
    given = request.query_params.multi_items()
    names = {key for key, _ in given}
    pairs = [(naming.long_name(key, known, names), value) for key, value in given]
    for key, _ in pairs:
        if key not in known:
            among = f"must be one of {', '.join(sorted(known))}" if known else "there are none here"
            raise InvalidRequest.of(key, f"is no parameter of {request.url.path}; {among}")
    if pairs != given:
        request.scope["query_string"] = urlencode(pairs).encode()
        del request._query_params  # it was made of the old one


def _in_one_thread(endpoint: Callable[..., Any]) -> Callable[..., Any]:
    if inspect.iscoroutinefunction(endpoint):
        return endpoint  # it has no session, or it would wait for the database in the event loop

    def run(arguments: dict[str, Any]) -> Any:
        try:
            naming.resolve(arguments, partial(_session, arguments))
            return endpoint(**arguments)
        finally:
            for value in arguments.values():
                if isinstance(value, Session):
                    value.close()

    @wraps(endpoint)
    async def call(**arguments: Any) -> Any:
        return await to_thread.run_sync(run, arguments, limiter=_limiter())

    return call


def _session(arguments: dict[str, Any]) -> AbstractContextManager[Session]:
    """The endpoint's session, or one of its database."""
    for value in arguments.values():
        if isinstance(value, Session):
            return nullcontext(value)
    database = next(value for value in arguments.values() if isinstance(value, Database))
    return database.session(reads_only=True)


def _limiter() -> CapacityLimiter:
    """That of the event loop."""
    try:
        return _threads.get()
    except LookupError:
        _threads.set(CapacityLimiter(THREADS))
        return _threads.get()
