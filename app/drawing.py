"""Pictures of figures, as SVG and PNG."""

import io
from typing import Any, Literal

from matplotlib.figure import Figure

Form = Literal["svg", "png"]

MEDIA_TYPES: dict[Form, str] = {"svg": "image/svg+xml", "png": "image/png"}

RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {"content": {media_type: {} for media_type in MEDIA_TYPES.values()}}
}
"""The OpenAPI entry of an endpoint that answers with a picture."""


def render(figure: Figure, form: Form) -> bytes:
    """The content of a figure's file."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format=form, dpi=150)
    return buffer.getvalue()
