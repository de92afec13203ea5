"""The cells of a genotype as a picture, written as XML; none is read.

Data flows from left to right. Every edge has a row of its own, with the box of its operation in the
column of its target, so that no line runs through a box: a line leaves its source downwards and turns
into its row.
"""

from xml.etree import ElementTree  # nosec B405

from models.genotypes.genotype import Edge, Genotype
from models.genotypes.search_space import SearchSpace

ROW, BOX, GAP, RADIUS = 34, (116, 26), 76, 15
"""Height of a row, size of a box, room for a node beside it and its radius, in pixels."""

INPUTS, TOP, MARGIN = 78, 74, 40
"""Distance of the input columns, height of title and inputs, and the border."""

COLOURS = {
    "max_pool_3x3": "#9ecae1",
    "avg_pool_3x3": "#c6dbef",
    "skip_connect": "#e0e0e0",
    "sep_conv_3x3": "#a1d99b",
    "sep_conv_5x5": "#74c476",
    "dil_conv_3x3": "#fdd0a2",
    "dil_conv_5x5": "#fdae6b",
    "nor_conv_1x1": "#dadaeb",
    "nor_conv_3x3": "#a1d99b",
}

NODE = "#fff2ae"

CHANGED = "#c2185b"
"""The colour of what another genotype does not have."""

TITLES = {"normal": "Normal cell", "reduce": "Reduction cell"}
"""Of cells whose name says too little."""

SVG = "http://www.w3.org/2000/svg"


def draw(genotype: Genotype, title: str, beside: Genotype | None = None) -> bytes:
    """All cells, one above the other, as SVG.

    Args:
        genotype: which cells.
        title: over the picture, and for screen readers.
        beside: another genotype of the search space; edges that it does not have are marked.
    """
    space = genotype.space
    columns = space.inputs * INPUTS + len(space.choosing) * (BOX[0] + GAP)
    height = TOP + len(space.kept) * ROW + 24
    width, total = columns + 3 * MARGIN + 30, len(space.cells) * height + 30
    root = ElementTree.Element("svg", xmlns=SVG, viewBox=f"0 0 {width} {total}", width=str(width), role="img")
    root.attrib["font-family"] = "Helvetica, Arial, sans-serif"
    ElementTree.SubElement(root, "title").text = title
    _add(root, "rect", width=width, height=total, fill="white")
    _arrow(root)
    _text(root, width / 2, 22, title, size=15)
    others = genotype.cells if beside is None else beside.cells
    for number, (name, edges, other) in enumerate(zip(space.cells, genotype.cells, others, strict=True)):
        cell = _add(root, "g", transform=f"translate(0 {30 + number * height})")
        changed = _changed(edges, other, space)
        _cell(cell, TITLES.get(name, name.capitalize()), edges, changed, space, columns + 2 * MARGIN)
    drawn: bytes = ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)
    return drawn


def _changed(edges: tuple[Edge, ...], other: tuple[Edge, ...], space: SearchSpace) -> list[bool]:
    """Which edges of a cell the other one's same node does not have; their order within a node is nothing."""
    theirs = set(zip(other, space.kept, strict=True))
    return [edge not in theirs for edge in zip(edges, space.kept, strict=True)]


def _cell(
    cell: ElementTree.Element,
    name: str,
    edges: tuple[Edge, ...],
    changed: list[bool],
    space: SearchSpace,
    output: float,
) -> None:
    labels = [f"c_{{k-{space.inputs - i}}}" for i in range(space.inputs)]
    labels += [str(i) for i in range(space.intermediates)]
    places: list[tuple[float, float]] = [(MARGIN + i * INPUTS, 52) for i in range(space.inputs)]
    first = space.inputs * INPUTS + MARGIN
    bottom = TOP + len(edges) * ROW
    for column, slot in enumerate(space.slots):
        middle = TOP + (slot.start + slot.stop) / 2 * ROW
        places.append((first + column * (BOX[0] + GAP) + BOX[0] + GAP / 2, middle))
    _text(cell, output / 2, 16, name, size=13)
    for row, ((operation, source), node) in enumerate(zip(edges, space.kept, strict=True)):
        left, y = first + (node - space.inputs) * (BOX[0] + GAP), TOP + (row + 0.5) * ROW
        x, start = places[source]
        absent = operation == "none"
        _line(cell, f"M{x} {start} V{y} H{left}", absent, changed[row])
        target_x, target_y = places[node]
        _line(cell, f"M{left + BOX[0]} {y} L{target_x - RADIUS} {target_y}", absent, changed[row])
        _box(cell, left, y, operation, changed[row])
    if space.output == "apart":
        for x, y in places[space.inputs :]:
            _line(cell, f"M{x} {y} H{output}")
        _add(cell, "rect", x=output, y=TOP, width=44, height=bottom - TOP, rx=6, fill=NODE, stroke="#333333")
        _text(cell, output + 22, (TOP + bottom) / 2 + 4, "c_{k}")
    else:
        labels.append("c_{k}")
    for (x, y), label in zip(places, labels, strict=True):
        shape = {"rx": 26, "ry": RADIUS - 2} if label.startswith("c_") else {"rx": RADIUS, "ry": RADIUS}
        _add(cell, "ellipse", cx=x, cy=y, fill=NODE, stroke="#333333", **shape)
        _text(cell, x, y + 4, label)


def _box(cell: ElementTree.Element, left: float, y: float, operation: str, changed: bool) -> None:
    width, height = BOX
    box = _add(cell, "rect", x=left, y=y - height / 2, width=width, height=height, rx=4)
    box.attrib |= {"fill": COLOURS.get(operation, "#ffffff"), "stroke": CHANGED if changed else "#333333"}
    if changed:
        box.attrib |= {"stroke-width": "3", "class": "changed"}
    _text(cell, left + width / 2, y + 4, operation)


def _line(cell: ElementTree.Element, path: str, absent: bool = False, changed: bool = False) -> None:
    colour = CHANGED if changed else "#bbbbbb" if absent else "#555555"
    line = _add(cell, "path", d=path, fill="none", stroke=colour)
    line.set("marker-end", "url(#arrow)")
    if absent:
        line.set("stroke-dasharray", "3 4")


def _arrow(root: ElementTree.Element) -> None:
    marker = _add(_add(root, "defs"), "marker", id="arrow", viewBox="0 0 8 8", refX=8, refY=4, orient="auto")
    marker.attrib.update({"markerWidth": "7", "markerHeight": "7"})
    _add(marker, "path", d="M0 0 L8 4 L0 8 z", fill="#555555")


def _text(parent: ElementTree.Element, x: float, y: float, text: str, size: int = 12) -> None:
    element = _add(parent, "text", x=x, y=y, fill="#111111")
    element.attrib.update({"text-anchor": "middle", "font-size": str(size)})
    element.text, _, subscript = text.partition("_{")
    if subscript:
        lower = _add(element, "tspan", dy=size / 3)
        lower.set("font-size", str(round(0.75 * size)))
        lower.text = subscript.rstrip("}")


def _add(parent: ElementTree.Element, tag: str, **attributes: float | str) -> ElementTree.Element:
    return ElementTree.SubElement(parent, tag, {name: str(value) for name, value in attributes.items()})
