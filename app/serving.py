"""The server process: `/healthz` is answered at once, all else as soon as the application is loaded."""

import asyncio
import json
import logging
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Any

from starlette.types import ASGIApp, Receive, Scope, Send

logger = logging.getLogger(__name__)

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
