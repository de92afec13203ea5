"""The routes of the API: a session of the database ends with its endpoint."""

import inspect
from collections.abc import Callable
from functools import wraps
from typing import Any

from fastapi.routing import APIRoute
from sqlalchemy.orm import Session


class Route(APIRoute):
    """A route that gives connections back before its answer is validated and sent.

    FastAPI ends a dependency only after that, and needs a thread for it (FastAPI 0.165). With more requests
    at once than connections all threads wait for a connection, and all connections for a thread. So the
    session is closed where the endpoint ran, in the same thread.
    """

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        super().__init__(path, _closing(endpoint), **options)


def _closing(endpoint: Callable[..., Any]) -> Callable[..., Any]:
    if inspect.iscoroutinefunction(endpoint):
        return endpoint  # it has no session, or it would wait for the database in the event loop

    @wraps(endpoint)
    def call(*arguments: Any, **named: Any) -> Any:
        try:
            return endpoint(*arguments, **named)
        finally:
            for value in named.values():
                if isinstance(value, Session):
                    value.close()

    return call
