"""`/static`: styles, modules and Plotly, all of them from packages that are installed."""

import gzip
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response
from starlette.staticfiles import StaticFiles

FOLDER = Path(__file__).with_name("static")

router = APIRouter(include_in_schema=False)


@router.get("/static/plotly.min.js")
def get_plotly(request: Request) -> Response:
    """Plotly's own script, from its wheel."""
    headers = {"cache-control": "public, max-age=86400", "vary": "accept-encoding"}
    if "gzip" in request.headers.get("accept-encoding", ""):
        return Response(
            _zipped(), media_type="text/javascript", headers={**headers, "content-encoding": "gzip"}
        )
    return Response(_plotly().read_bytes(), media_type="text/javascript", headers=headers)


class Files(StaticFiles):
    """The files of our own. Browsers ask each time whether they are still the same."""

    def file_response(self, *arguments: Any, **options: Any) -> Response:
        """A file, or 304 where it is the same."""
        answer = super().file_response(*arguments, **options)
        answer.headers["cache-control"] = "no-cache"
        return answer


@cache
def _zipped() -> bytes:
    return gzip.compress(_plotly().read_bytes(), 6)


def _plotly() -> Path:
    spec = find_spec("plotly")  # the package itself takes a second to import
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).with_name("package_data") / "plotly.min.js"
