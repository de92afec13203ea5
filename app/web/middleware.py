"""Problems as people see them: whoever asks for a page and may not have it gets a page, not JSON."""

import json
from typing import Any
from urllib.parse import quote

from fastapi import Request
from fastapi.responses import RedirectResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.problems import MEDIA_TYPE
from app.requests import DATA, DOCUMENTS
from app.web.pages import page


class ProblemPages:
    """Answers with a page where a page was asked for and a problem came; without a key, with the login.

    Args:
        app: the application inside.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"].startswith(DATA + DOCUMENTS) or not _wants_page(scope):
            return await self.app(scope, receive, send)
        begun: Message | None = None
        body = b""

        async def hold(message: Message) -> None:
            nonlocal begun, body
            if message["type"] == "http.response.start" and _is_problem(message):
                begun = message
            elif begun is None:
                await send(message)
            else:
                body += message.get("body", b"")
                if not message.get("more_body"):
                    await _answer(Request(scope), json.loads(body))(scope, receive, send)

        await self.app(scope, receive, hold)


def _answer(request: Request, problem: dict[str, Any]) -> ASGIApp:
    if problem["status"] == 401:
        asked = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        return RedirectResponse(f"/login?next={quote(asked, safe='')}", 303)
    return page(request, "problem.html", problem["status"], problem=problem)


def _wants_page(scope: Scope) -> bool:
    return any(name == b"accept" and b"text/html" in value for name, value in scope["headers"])


def _is_problem(message: Message) -> bool:
    return any(
        name == b"content-type" and value.startswith(MEDIA_TYPE.encode())
        for name, value in message["headers"]
    )
