"""What every request gets: a check of its host, an id, headers for browsers, a count, a line in the log."""

import logging
import re
import time
from collections.abc import Sequence
from urllib.parse import urlsplit
from uuid import uuid4

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app import logs
from app.metrics import REQUEST_SECONDS, REQUESTS
from app.problems import UnknownHost, response

logger = logging.getLogger(__name__)

_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")

DOCUMENTS = ("/docs", "/redoc", "/static-offline-docs")
"""Paths of the API's own documents, whose pages have scripts and styles in themselves."""

DATA = ("/v1/", "/openapi.json", "/metrics", "/healthz", "/readyz")
"""Paths that answer with data, or with pictures; all others are pages."""

UNCOUNTED = "/metrics"

_COMMON = [
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"DENY"),
    (b"cross-origin-opener-policy", b"same-origin"),
]
DATA_HEADERS = [
    *_COMMON,
    (
        b"content-security-policy",
        b"default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'none'",
    ),
]
PAGE_HEADERS = [
    *_COMMON,
    (
        b"content-security-policy",
        # Plotly adds an empty style element and fills it by script, which the digest of nothing allows; the
        # other digest is of styles of maps that it carries with it
        b"default-src 'none'; script-src 'self'; style-src 'self' "
        b"'sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=' "
        b"'sha256-ji27qzEtxXZW+7dun6UwjHXJ18e6WAin1VvNtkzIE/o='; img-src 'self' data: blob:; "
        b"connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    ),
]
DOCUMENT_HEADERS = [
    *_COMMON,
    (
        b"content-security-policy",
        b"default-src 'self'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; "
        b"img-src 'self' data:; worker-src blob:; frame-ancestors 'none'",
    ),
]


class RequestMiddleware:
    """The outermost layer of the application.

    An id that the client sends as `X-Request-ID` is kept, if it is one; it is in the answer, in every line of
    the log and in the jobs that the request starts.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        scope["request_id"] = request_id = _request_id(scope)
        added = [(b"x-request-id", request_id.encode())]
        added += _headers(scope["path"])
        logs.bind(request_id=request_id)
        began, status = time.perf_counter(), 500

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], *added]
            await send(message)

        try:
            await self.app(scope, receive, answer)
        finally:
            _note(scope, status, time.perf_counter() - began)
            logs.unbind()


class HostMiddleware:
    """Refuses requests for hosts that this service is not: pages of other sites can rebind a name to it.

    Args:
        app: the application inside.
        allowed: names; `*` is any, `*.example.org` any below it.
    """

    def __init__(self, app: ASGIApp, allowed: Sequence[str]) -> None:
        self.app, self.allowed = app, [name.lower() for name in allowed]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and "*" not in self.allowed:
            host = _host(Headers(scope=scope).get("host", ""))
            if not any(host == name or _is_below(host, name) for name in self.allowed):
                detail = f"this service answers as {', '.join(self.allowed)}; see the setting allowed_hosts"
                return await response(UnknownHost(detail))(scope, receive, send)
        await self.app(scope, receive, send)


def _headers(path: str) -> list[tuple[bytes, bytes]]:
    """What browsers may do with an answer, by its path."""
    if path.startswith(DATA):
        return DATA_HEADERS
    return DOCUMENT_HEADERS if path.startswith(DOCUMENTS) else PAGE_HEADERS


def _host(header: str) -> str:
    """The name in a `Host` header, without its port."""
    try:
        return urlsplit(f"//{header}").hostname or ""
    except ValueError:  # half of an IPv6 address
        return ""


def _is_below(host: str, name: str) -> bool:
    return name.startswith("*.") and host.endswith(name[1:])


def _request_id(scope: Scope) -> str:
    """The client's, or a new one."""
    for name, value in scope["headers"]:
        if name == b"x-request-id":
            given = str(value.decode("latin-1"))
            return given if _ID.fullmatch(given) else uuid4().hex
    return uuid4().hex


def _note(scope: Scope, status: int, seconds: float) -> None:
    route = scope.get("route")
    handler = getattr(route, "path", "none")
    if handler == UNCOUNTED:
        return
    REQUESTS.labels(scope["method"], handler, status).inc()
    REQUEST_SECONDS.labels(scope["method"], handler).observe(seconds)
    # clients poll: what was merely read is not worth a line
    level = logging.DEBUG if scope["method"] == "GET" and status < 400 else logging.INFO
    if logger.isEnabledFor(level):
        told = {"method": scope["method"], "path": scope["path"], "status": status}
        logger.log(level, "request", extra={**told, "milliseconds": round(1e3 * seconds, 1)})
