"""The map of a latent space as a picture."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from app.drawing import Form, render
from app.genotypes.tables import Origin
from app.latent_spaces.schemas import MapOut, MapPoint
from app.latent_spaces.tables import LatentSpace

MARKERS = {
    Origin.SEARCHED: "o",
    Origin.PUBLISHED: "s",
    Origin.REGISTERED: "D",
    Origin.GENERATED: "^",
    Origin.RANDOM: "x",
}
PALETTE = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#f0e442", "#999999")
"""Colours that the colour-blind tell apart too (Okabe, Ito)."""

UNKNOWN = "#bbbbbb"
"""The colour of points of which what colours show is not known."""

RASTERED = 2_000
"""Points from which on they are one image in an SVG file, which would have megabytes otherwise."""


@dataclass(frozen=True)
class Shades:
    """What the colours of a map show: one value for each point.

    Args:
        name: what they are.
        values: numbers on one scale, or names; `None` where it is not known.
    """

    name: str
    values: Sequence[float | str | None]

    @property
    def names(self) -> list[str]:
        """The names among the values, in order."""
        return sorted({value for value in self.values if isinstance(value, str)})

    def colours(self) -> dict[str, str]:
        """The colour of each name."""
        return {name: PALETTE[i % len(PALETTE)] for i, name in enumerate(self.names)}


def shades_of(space_map: MapOut, colour: str, operation: str) -> Shades:
    """The values that a map's colours show."""
    points = space_map.items
    if colour == "accuracy":
        name = f"accuracy on {space_map.accuracy_dataset} (%)" if space_map.accuracy_dataset else "accuracy"
        return Shades(name, [point.accuracy for point in points])
    if colour == "parameters":
        return Shades("parameters (M)", [point.parameters / 1e6 for point in points])
    if colour == "operation":
        return Shades(f"share of {operation}", [point.operations.get(operation, 0.0) for point in points])
    if colour == "origin":
        return Shades("origin", [point.origin for point in points])
    return Shades("searched on", [point.dataset for point in points])


def title_of(space: LatentSpace, space_map: MapOut) -> str:
    """The caption of a map: which space, how many points, and how they came into two dimensions."""
    shipped = f"the ready space of {space.search_space}" if space.shipped else "a latent space"
    name = space.name or shipped
    method = "principal directions of the members" if space_map.method == "pca" else "t-SNE"
    return f"{name}: {len(space_map.items):,} architectures, {method}"


def draw(space_map: MapOut, title: str, form: Form, shades: Shades) -> bytes:
    """The map: a marker for each origin, best points by name, a line from each generated one to its start.

    Args:
        space_map: the points.
        title: over the picture.
        form: `svg` or `png`.
        shades: what colours show.
    """
    figure = Figure(figsize=(7, 5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    points, named = space_map.items, bool(shades.names)
    _draw_lines(axes, points)
    drawn = None
    for origin, marker in MARKERS.items():
        rows = [i for i, point in enumerate(points) if point.origin == origin]
        if rows:
            drawn = axes.scatter(
                [points[i].x for i in rows],
                [points[i].y for i in rows],
                c=_shown(shades, rows),
                marker=marker,
                s=40 if len(points) < RASTERED else 8,
                plotnonfinite=True,
                norm=None if named else _norm(shades.values),
                rasterized=len(points) >= RASTERED,
            )
    if drawn is not None and not named and any(value is not None for value in shades.values):
        figure.colorbar(drawn, label=shades.name)
    _mark_best(axes, points)
    axes.set_xlabel(_axis(space_map, 0))
    axes.set_ylabel(_axis(space_map, 1))
    axes.set_title(title, fontsize=10, parse_math=False)
    axes.legend(handles=_legend(shades, points), loc="best", fontsize=8, title=shades.name if named else None)
    return render(figure, form)


def _draw_lines(axes: Axes, points: Sequence[MapPoint]) -> None:
    places = {point.genotype_id: point for point in points}
    for point in points:
        start = places.get(point.start_genotype_id or "")
        if start is not None:
            axes.plot([start.x, point.x], [start.y, point.y], color=UNKNOWN, linewidth=0.6, zorder=0)


def _mark_best(axes: Axes, points: Sequence[MapPoint]) -> None:
    for point in points:
        if point.best_on:
            axes.scatter([point.x], [point.y], marker="*", s=160, color="none", edgecolors="black", zorder=4)
            label = ", ".join(point.best_on)
            axes.annotate(label, (point.x, point.y), (6, 6), textcoords="offset points", fontsize=8, zorder=5)


def _shown(shades: Shades, rows: Sequence[int]) -> Any:
    values = [shades.values[i] for i in rows]
    if shades.names:
        colours = shades.colours()
        return [colours.get(str(value), UNKNOWN) for value in values]
    if all(value is None for value in shades.values):
        return UNKNOWN
    return [float("nan") if value is None else value for value in values]


def _norm(values: Sequence[float | str | None]) -> Normalize | None:
    known = [value for value in values if isinstance(value, int | float) and np.isfinite(value)]
    return Normalize(min(known), max(known)) if known else None


def _axis(space_map: MapOut, axis: int) -> str:
    name = f"{'PC' if space_map.method == 'pca' else 't-SNE '}{axis + 1}"
    if space_map.explained_variance is None:
        return name
    return f"{name} ({space_map.explained_variance[axis]:.0%} of the variance)"


def _legend(shades: Shades, points: Sequence[MapPoint]) -> list[Line2D]:
    origins = {point.origin for point in points}
    by_name = [_mark("o", colour, name) for name, colour in shades.colours().items()]
    by_origin = [_mark(marker, "#444444", origin) for origin, marker in MARKERS.items() if origin in origins]
    best = [_mark("*", "black", "best point of …")] if any(point.best_on for point in points) else []
    return by_name + by_origin + best


def _mark(marker: str, colour: str, label: str) -> Line2D:
    return Line2D([], [], linestyle="", marker=marker, color=colour, label=label)
