"""The limits on the size of a request's body and on the time it takes, held while it arrives."""

import asyncio
import time

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.problems import BodyTooLarge, RequestTimeout, response

SLOW = "the body came too slowly; send it again, at 1 kB a second or faster"

PATIENCE_SECONDS = 30.0
"""Time in which the first of a body must come."""

SLOWEST = 1_000.0
"""Bytes a second that a body must bring after that, on average."""


class BodyLimitMiddleware:
    """Refuses bodies over a limit, by their stated length or as soon as too much has come, or too slowly.

    Args:
        app: the application inside.
        max_body_bytes: of any request.
        max_upload_bytes: of one that is `multipart/form-data`.
    """

    def __init__(self, app: ASGIApp, max_body_bytes: int, max_upload_bytes: int) -> None:
        self.app, self.max_body_bytes, self.max_upload_bytes = app, max_body_bytes, max_upload_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        headers = dict(scope["headers"])
        upload = headers.get(b"content-type", b"").startswith(b"multipart/form-data")
        limit = self.max_upload_bytes if upload else self.max_body_bytes
        detail = f"the body is over the limit of {limit} bytes"
        stated = headers.get(b"content-length", b"")
        if stated.isdigit() and int(stated) > limit:
            return await response(BodyTooLarge(detail))(scope, receive, send)
        seen, began, whole = 0, time.monotonic(), False

        async def counted() -> Message:
            nonlocal seen, whole
            if whole:
                return await receive()  # waits for the client to go
            left = began + PATIENCE_SECONDS + seen / SLOWEST - time.monotonic()
            try:
                async with asyncio.timeout(left):
                    message = await receive()
            except TimeoutError:
                raise HTTPException(RequestTimeout.status, SLOW) from None
            seen += len(message.get("body", b""))
            whole = not message.get("more_body", False)
            if seen > limit:
                raise HTTPException(BodyTooLarge.status, detail)
            return message

        try:
            await self.app(scope, counted, send)
        except HTTPException as error:  # raised above, while a middleware read the body
            problem = BodyTooLarge if error.status_code == BodyTooLarge.status else RequestTimeout
            await response(problem(str(error.detail)))(scope, receive, send)
