"""`/login` and `/logout`: a browser keeps a key in a cookie that scripts cannot read."""

from typing import Annotated

from fastapi import APIRouter, Form, Request
from fastapi.responses import RedirectResponse, Response

from app.dependencies import Reading
from app.keys import browser, service
from app.routes import Route
from app.web.pages import page

router = APIRouter(route_class=Route, include_in_schema=False)


@router.get("/login")
def show_login(request: Request, next: str = "/") -> Response:
    """The page that asks for a key."""
    return page(request, "login.html", next=_own(next), wrong=False)


@router.post("/login")
def login(
    request: Request,
    session: Reading,
    key: Annotated[str, Form(max_length=200)] = "",
    next: Annotated[str, Form(max_length=2_000)] = "/",
) -> Response:
    """Keeps a key that opens something, and goes to the page that was asked for."""
    text = key.strip()
    if not service.opens(session, text):
        return page(request, "login.html", 401, next=_own(next), wrong=True)
    answer = RedirectResponse(_own(next), 303)
    answer.set_cookie(
        browser.COOKIE, text, httponly=True, samesite="strict", secure=request.url.scheme == "https"
    )
    return answer


@router.post("/logout")
def logout() -> Response:
    """Forgets the key."""
    answer = Response(status_code=204)
    answer.delete_cookie(browser.COOKIE, httponly=True, samesite="strict")
    return answer


def _own(path: str) -> str:
    """A path of this service; the start for anything that leads elsewhere."""
    leads_here = path.startswith("/") and not path.startswith(("//", "/\\")) and path.isprintable()
    return path if leads_here else "/"
