"""Every error that a client can get, as problem details (RFC 9457).

Services raise them; `install` makes the application answer with them. Each class is one `type` of
problem, documented by its docstring.
"""

import logging
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from fastapi import FastAPI, Request
from fastapi.encoders import jsonable_encoder
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from sqlalchemy.exc import DataError, IntegrityError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from starlette.exceptions import HTTPException
from starlette.routing import Match

logger = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"


class FieldError(BaseModel):
    """One field at fault."""

    field: str = Field(description="Where, as `genotype.normal[3]`.")
    detail: str = Field(description="What is wrong and what would be right.")


class ProblemBody(BaseModel):
    """The body of every error."""

    type: str = Field(description="A stable name, `urn:vgae-nas:problem:…`.")
    title: str
    status: int
    detail: str
    errors: list[FieldError] = Field([], description="The fields at fault, if any.")


class Problem(Exception):
    """An error that the client is told of, as problem details.

    Args:
        detail: what is wrong and what would be right.
        errors: (field, detail) pairs.
    """

    status: ClassVar[int] = 500
    name: ClassVar[str] = "internal"
    title: ClassVar[str] = "Internal error"

    def __init__(self, detail: str, errors: Sequence[tuple[str, str]] = ()) -> None:
        super().__init__(detail)
        self.detail = _printable(detail)
        self.errors = [FieldError(field=_printable(field), detail=_printable(text)) for field, text in errors]

    def body(self) -> ProblemBody:
        """The problem in the form in which it is sent, and in which a failed job keeps it."""
        return ProblemBody(
            type=f"urn:vgae-nas:problem:{self.name}",
            title=self.title,
            status=self.status,
            detail=self.detail,
            errors=self.errors,
        )


class InvalidRequest(Problem):
    """A field is missing, malformed or out of range."""

    status, name, title = 422, "invalid-request", "Invalid request"

    @classmethod
    def of(cls, field: str, detail: str) -> "InvalidRequest":
        """Makes the problem of a single field."""
        return cls(f"{field}: {detail}", [(field, detail)])

    def within(self, place: str) -> "InvalidRequest":
        """The same problem of a part of a request."""
        errors = [(f"{place}.{error.field}", error.detail) for error in self.errors]
        return InvalidRequest(f"{place}: {self.detail}", errors)


class Unauthorized(Problem):
    """The request needs a key, and has none that opens."""

    status, name, title = 401, "unauthorized", "Unauthorized"


class Forbidden(Problem):
    """The key of the request does not open this."""

    status, name, title = 403, "forbidden", "Forbidden"


class NotFound(Problem):
    """There is nothing under this id or path."""

    status, name, title = 404, "not-found", "Not found"


class MethodNotAllowed(Problem):
    """The path exists but not with this method."""

    status, name, title = 405, "method-not-allowed", "Method not allowed"


class Conflict(Problem):
    """The state of the thing does not allow this now."""

    status, name, title = 409, "conflict", "Conflict"


class BodyTooLarge(Problem):
    """The request's body is over the limit."""

    status, name, title = 413, "body-too-large", "Body too large"


class RequestTimeout(Problem):
    """The request's body came too slowly."""

    status, name, title = 408, "request-timeout", "Request timeout"


class UnsupportedMediaType(Problem):
    """The body is of a type that this path does not read."""

    status, name, title = 415, "unsupported-media-type", "Unsupported media type"


class TooManyRequests(Problem):
    """The key of the request has nothing left for now.

    Args:
        detail: what it may do.
        seconds: after which it has something again.
    """

    status, name, title = 429, "too-many-requests", "Too many requests"

    def __init__(self, detail: str, seconds: int = 1) -> None:
        super().__init__(f"{detail}; try again in {seconds} s")
        self.seconds = seconds


class UnknownHost(Problem):
    """The request is for a host that this service is not, as a page of another site can send it."""

    status, name, title = 421, "unknown-host", "Unknown host"


class Unavailable(Problem):
    """The database does not answer; the same request can succeed later."""

    status, name, title = 503, "unavailable", "Unavailable"


class JobFailed(Problem):
    """A job ended in an error; kept with the job, never sent as an answer."""

    status, name, title = 500, "job-failed", "Job failed"


_BY_STATUS: Mapping[int, type[Problem]] = {
    kind.status: kind
    for kind in (NotFound, MethodNotAllowed, RequestTimeout, BodyTooLarge, UnsupportedMediaType, Unavailable)
}

_CONTENT = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemBody"}}}

RETRY_SECONDS = 5
"""Seconds after which a request is worth repeating that found the service unavailable."""

RESPONSES: dict[int | str, dict[str, Any]] = {
    "4XX": {"description": "A problem", "content": _CONTENT},
    "503": {
        "description": "The database does not answer, or too many requests wait for it",
        "content": _CONTENT,
        "headers": {"Retry-After": {"description": "Seconds to wait.", "schema": {"type": "integer"}}},
    },
}
"""The OpenAPI entries of all problems, by status; `app/openapi.py` adds the schema that they name."""


def response(problem: Problem, **others: str) -> JSONResponse:
    """A problem as an HTTP response, with other headers by name."""
    headers = {}
    if isinstance(problem, Unavailable):
        headers["Retry-After"] = str(RETRY_SECONDS)
    if isinstance(problem, TooManyRequests):
        headers["Retry-After"] = str(problem.seconds)
    if isinstance(problem, Unauthorized):
        headers["WWW-Authenticate"] = "Bearer"
    if isinstance(problem, RequestTimeout):
        headers["Connection"] = "close"
    return JSONResponse(
        jsonable_encoder(problem.body()),
        status_code=problem.status,
        media_type=MEDIA_TYPE,
        headers=headers | others,
    )


def of_database(error: OperationalError | PoolTimeout) -> Unavailable:
    """The problem of a database that does not answer, or for which too many wait."""
    if isinstance(error, PoolTimeout):
        return Unavailable("too many requests wait for the database; try again in a few seconds")
    return Unavailable("the database does not answer; try again in a few seconds")


def from_validation(errors: Sequence[Any], prefix: str = "") -> InvalidRequest:
    """A problem from pydantic's errors, each with the path of its field."""
    fields = [(_path(error["loc"], prefix), _explain(error)) for error in errors]
    detail = "; ".join(f"{field}: {text}" for field, text in fields[:5])
    return InvalidRequest(detail, fields)


def install(app: FastAPI) -> None:
    """Makes the application answer every error with a problem."""

    @app.exception_handler(Problem)
    def on_problem(_request: Request, problem: Problem) -> JSONResponse:
        return response(problem)

    @app.exception_handler(RequestValidationError)
    def on_invalid(_request: Request, error: RequestValidationError) -> JSONResponse:
        return response(from_validation(error.errors()))

    @app.exception_handler(DataError)
    def on_unstorable(_request: Request, error: DataError) -> JSONResponse:
        return response(InvalidRequest(f"a value cannot be stored: {error.orig}"))

    @app.exception_handler(IntegrityError)
    def on_changed(request: Request, error: IntegrityError) -> JSONResponse:
        logger.warning("%s %s: %s", request.method, request.url.path, error)
        return response(Conflict("something that the request refers to changed meanwhile; try again"))

    @app.exception_handler(UnicodeEncodeError)
    def on_no_text(_request: Request, error: UnicodeEncodeError) -> JSONResponse:
        character = ascii(error.object[error.start])
        return response(InvalidRequest(f"the request holds {character}, half of a surrogate pair: no text"))

    @app.exception_handler(HTTPException)
    def on_http(request: Request, error: HTTPException) -> JSONResponse:
        kind = _BY_STATUS.get(error.status_code)
        if kind is NotFound:
            return response(NotFound(f"there is nothing at {request.url.path}"))
        if kind is MethodNotAllowed:
            allowed = ", ".join(_methods(request))
            detail = f"{request.url.path} does not take {request.method}; it takes {allowed}"
            return response(MethodNotAllowed(detail), Allow=allowed)
        return response((kind or InvalidRequest)(str(error.detail)))

    @app.exception_handler(OperationalError)
    @app.exception_handler(PoolTimeout)
    def on_database(_request: Request, error: OperationalError | PoolTimeout) -> JSONResponse:
        logger.error("database: %s", error)
        return response(of_database(error))

    @app.exception_handler(Exception)
    def on_bug(request: Request, error: Exception) -> JSONResponse:
        request_id = str(request.scope.get("request_id", ""))
        told = {"request_id": request_id}
        logger.error("%s %s", request.method, request.url.path, exc_info=error, extra=told)
        detail = "this is a fault of the service, not of the request; it was logged"
        return response(Problem(detail), **{"X-Request-ID": request_id})


def _methods(request: Request) -> list[str]:
    """The methods that the path of a request takes."""
    # a path like `/v1/genotypes/batch` fits that of one genotype too, and there is none of that id
    named = request.app.openapi()["paths"].get(request.url.path)
    if named is not None:
        return sorted(method.upper() for method in named)

    def takes(method: str) -> bool:
        asked = {**request.scope, "method": method}
        return any(route.matches(asked)[0] is Match.FULL for route in request.app.routes)

    return [method for method in ("DELETE", "GET", "PATCH", "POST", "PUT") if takes(method)]


def _printable(text: str) -> str:
    """A text without halves of surrogate pairs, which a client can send and no answer can hold."""
    return text.encode("utf-8", "backslashreplace").decode()


def _path(location: Sequence[Any], prefix: str) -> str:
    parts = [part for part in location if part not in ("body", "query", "path", "header")]
    path = prefix
    for part in parts:
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else str(part)
    return path or "body"


def _explain(error: Any) -> str:
    if error["type"] == "json_invalid":
        return f"is not valid JSON: {error.get('ctx', {}).get('error', '')}"
    if error["type"] == "missing":
        return "is missing"
    if error["type"] == "extra_forbidden":
        return "is not a known field"
    message = str(error["msg"]).removeprefix("Value error, ").removeprefix("Input should be ")
    given = error.get("input")
    shown = (
        f" (got {given!r})" if isinstance(given, str | int | float | bool) and len(repr(given)) < 80 else ""
    )
    return (
        f"must be {message}{shown}"
        if str(error["msg"]).startswith("Input should be ")
        else f"{message}{shown}"
    )
