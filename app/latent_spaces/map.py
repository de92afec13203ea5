"""The map of a latent space as a picture."""

import io
from typing import Literal

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from app.latent_spaces.schemas import MapOut

MARKERS = {"searched": "o", "published": "s", "registered": "D", "generated": "^", "random": "x"}
PALETTE = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#f0e442", "#999999")
"""Told apart also by the colour-blind (Okabe, Ito)."""


def draw(space_map: MapOut, title: str, form: Literal["svg", "png"]) -> bytes:
    """The map with a colour for each data set and a marker for each origin.

    Args:
        space_map: the points.
        title: over the picture.
        form: `svg` or `png`.
    """
    figure = Figure(figsize=(7, 5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    datasets = sorted({point.dataset or "none" for point in space_map.items})
    colours = {name: PALETTE[i % len(PALETTE)] for i, name in enumerate(datasets)}
    for origin, marker in MARKERS.items():
        points = [point for point in space_map.items if point.origin == origin]
        axes.scatter(
            [point.x for point in points],
            [point.y for point in points],
            c=[colours[point.dataset or "none"] for point in points],
            marker=marker,
            s=40,
        )
    axes.set_xlabel(_axis(space_map, 0))
    axes.set_ylabel(_axis(space_map, 1))
    axes.set_title(title)
    axes.legend(handles=_legend(colours, {point.origin for point in space_map.items}), loc="best", fontsize=8)
    buffer = io.BytesIO()
    figure.savefig(buffer, format=form, dpi=150)
    return buffer.getvalue()


def _axis(space_map: MapOut, axis: int) -> str:
    name = f"{'PC' if space_map.method == 'pca' else 't-SNE '}{axis + 1}"
    if space_map.explained_variance is None:
        return name
    return f"{name} ({space_map.explained_variance[axis]:.0%} of the variance)"


def _legend(colours: dict[str, str], origins: set[str]) -> list[Line2D]:
    by_dataset = [
        Line2D([], [], linestyle="", marker="o", color=colour, label=name) for name, colour in colours.items()
    ]
    by_origin = [
        Line2D([], [], linestyle="", marker=marker, color="#444444", label=origin)
        for origin, marker in MARKERS.items()
        if origin in origins
    ]
    return by_dataset + by_origin
