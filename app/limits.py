"""The limit on the size of a request's body, held while it arrives."""

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.problems import BodyTooLarge, response


class BodyLimitMiddleware:
    """Refuses bodies over a limit, by their stated length or as soon as too much has come.

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
        seen = 0

        async def counted() -> Message:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > limit:
                raise HTTPException(BodyTooLarge.status, detail)
            return message

        try:
            await self.app(scope, counted, send)
        except HTTPException:  # raised above, while a middleware read the body
            await response(BodyTooLarge(detail))(scope, receive, send)
