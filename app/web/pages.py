"""What all pages share: templates, the words of numbers and times, and who looks at them."""

from datetime import datetime
from functools import cache
from importlib.metadata import version
from typing import Any

from fastapi import Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, PackageLoader, StrictUndefined

from app.keys import browser


def page(request: Request, template: str, code: int = 200, **known: Any) -> HTMLResponse:
    """A page.

    Args:
        request: that asks for it.
        template: its file in `templates`.
        code: the status of the answer.
        known: what the template shows.
    """
    key = browser.key_of(request.scope)
    shared = {
        "path": request.url.path,
        "token": browser.token(key) if key else "",
        "signed_in": bool(key),
    }
    content = _environment().get_template(template).render(**shared, **known)
    return HTMLResponse(content, code, headers={"cache-control": "no-cache"})


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("app.web"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["version"] = version("vgae-nas")
    environment.filters |= {"count": _count, "short": _short, "figure": _figure, "when": _when}
    return environment


def _count(value: int | None) -> str:
    """A whole number with thousands apart."""
    return "–" if value is None else f"{value:,}"


def _short(value: float | None) -> str:
    """A number in three figures, with k, M or G."""
    if value is None:
        return "–"
    for limit, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= limit:
            return f"{value / limit:.3g} {unit}"
    return f"{value:.3g}"


def _figure(value: float | None, places: int = 2) -> str:
    """A measured number with so many places."""
    return "–" if value is None else f"{value:.{places}f}"


def _when(value: datetime | None) -> str:
    """A time to the minute."""
    return "–" if value is None else value.strftime("%Y-%m-%d %H:%M")
