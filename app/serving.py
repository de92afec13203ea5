"""The server process: `/healthz` is answered at once, all else as soon as the application is loaded.

A connection that brings no request in time is closed, and one too many is refused.
"""

import asyncio
import json
import logging
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Any

from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from app import logs
from app.settings import get_settings
from app.threads import wait_passively

logger = logging.getLogger(__name__)

HEADER_SECONDS = 20.0
"""Time from a connection, or from the first byte of a request, to the end of the request's header."""

LINGER_SECONDS = 2.0
"""Time in which a client can read why its connection is closed."""

_END = b"\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
REFUSAL = b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 5" + _END
LATE = b"HTTP/1.1 408 Request Timeout" + _END

LIVE = json.dumps({"status": "ok"}).encode()


class Opening:
    """An ASGI application that is loaded in a thread while the process already listens.

    Loading takes seconds, most of them for PyTorch. Until it is done requests wait, but for `/healthz`: the
    process lives.

    Args:
        load: makes the application; its lifespan is entered when it is made.
    """

    def __init__(self, load: Callable[[], Any]) -> None:
        self._load = load
        self._loaded: asyncio.Task[ASGIApp] | None = None
        self._stack = AsyncExitStack()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            return await self._live(receive, send)
        assert self._loaded is not None
        if scope["type"] == "http" and scope["path"] == "/healthz" and not self._loaded.done():
            headers = [(b"content-type", b"application/json")]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            return await send({"type": "http.response.body", "body": LIVE})
        app = await asyncio.shield(self._loaded)
        await app(scope, receive, send)

    async def _live(self, receive: Receive, send: Send) -> None:
        """Answers the lifespan protocol, from the server's start to its end."""
        await receive()
        self._loaded = asyncio.create_task(self._open())
        await send({"type": "lifespan.startup.complete"})
        await receive()
        self._loaded.cancel()
        await self._stack.aclose()
        await send({"type": "lifespan.shutdown.complete"})

    async def _open(self) -> ASGIApp:
        try:
            app: Any = await asyncio.to_thread(self._load)
            await self._stack.enter_async_context(app.router.lifespan_context(app))
        except Exception:
            logger.exception("the application could not be loaded")
            raise SystemExit(1) from None
        loaded: ASGIApp = app
        return loaded


class Protocol(HttpToolsProtocol):
    """HTTP by uvicorn, with an end to waiting for headers and a bound on connections, `limit_concurrency`."""

    _timer: asyncio.TimerHandle | None = None
    _over = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)  # type: ignore[arg-type]
        if self.limit_concurrency is not None and len(self.connections) >= self.limit_concurrency:
            self._end(REFUSAL)
        else:
            self._await_header()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if not self._over:
            super().data_received(data)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._await_header()

    def on_headers_complete(self) -> None:
        self._stop_waiting()
        super().on_headers_complete()

    def _await_header(self) -> None:
        if self._timer is None:
            self._timer = self.loop.call_later(HEADER_SECONDS, self._end, LATE)

    def _stop_waiting(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _end(self, answer: bytes) -> None:
        """Answers and closes, unless an earlier request is still being answered."""
        self._timer = None
        if self.cycle is None or self.cycle.response_complete:
            self._over = True
            self.transport.write(answer)
            self.transport.write_eof()
            # closed at once, with what the client has sent unread, it would reset and lose the answer
            self._timer = self.loop.call_later(LINGER_SECONDS, self.transport.close)


def opening() -> Opening:
    """The application of one server process, as uvicorn makes it."""
    wait_passively()
    settings = get_settings()
    logs.configure(settings.log_format, settings.log_level)
    return Opening(_load)


def _load() -> Any:
    import torch

    from app.main import create_app

    # requests run side by side, and threads that share one small product wait more than they compute
    torch.set_num_threads(1)
    return create_app()
