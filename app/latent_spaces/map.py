"""The map of a latent space as a picture."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from app.drawing import Form, render
from app.genotypes.tables import Origin
from app.latent_spaces.schemas import MapOut

MARKERS = {
    Origin.SEARCHED: "o",
    Origin.PUBLISHED: "s",
    Origin.REGISTERED: "D",
    Origin.GENERATED: "^",
    Origin.RANDOM: "x",
}
PALETTE = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#f0e442", "#999999")
"""Colours that the colour-blind tell apart too (Okabe, Ito)."""


@dataclass(frozen=True)
class Values:
    """Numbers that colours show in place of data sets.

    Args:
        name: what they are.
        numbers: one for each point; not a number where it is not known.
    """

    name: str
    numbers: list[float]


def values_of(space_map: MapOut, colour: str, operation: str) -> Values | None:
    """The numbers that a map's colours show; `None` for data sets."""
    points = space_map.items
    if colour == "accuracy":
        unknown = float("nan")
        accuracies = [unknown if point.accuracy is None else point.accuracy for point in points]
        return Values("best accuracy (%)", accuracies)
    if colour == "parameters":
        return Values("parameters (M)", [point.parameters / 1e6 for point in points])
    if colour == "operation":
        return Values(f"share of {operation}", [point.operations.get(operation, 0.0) for point in points])
    return None


def draw(space_map: MapOut, title: str, form: Form, values: Values | None) -> bytes:
    """The map with a marker for each origin, and a colour for each data set or by numbers.

    Args:
        space_map: the points.
        title: over the picture.
        form: `svg` or `png`.
        values: what colours show; `None` for data sets.
    """
    figure = Figure(figsize=(7, 5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    points = space_map.items
    datasets = sorted({point.dataset or "none" for point in points})
    colours = {name: PALETTE[i % len(PALETTE)] for i, name in enumerate(datasets)}
    shown: Any = [colours[point.dataset or "none"] for point in points]
    if values is not None:
        shown = values.numbers
    norm = _norm(values.numbers) if values is not None else None
    for origin, marker in MARKERS.items():
        rows = [i for i, point in enumerate(points) if point.origin == origin]
        drawn = axes.scatter(
            [points[i].x for i in rows],
            [points[i].y for i in rows],
            c=[shown[i] for i in rows],
            marker=marker,
            s=40,
            plotnonfinite=True,
            norm=norm,
        )
    if values is not None:
        figure.colorbar(drawn, label=values.name)
    axes.set_xlabel(_axis(space_map, 0))
    axes.set_ylabel(_axis(space_map, 1))
    axes.set_title(title)
    legend = _legend(colours if values is None else {}, {point.origin for point in points})
    axes.legend(handles=legend, loc="best", fontsize=8)
    return render(figure, form)


def _norm(numbers: list[float]) -> Normalize:
    finite = [number for number in numbers if np.isfinite(number)] or [0.0]
    return Normalize(min(finite), max(finite))


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
