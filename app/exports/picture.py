"""The cells of a genotype as a picture.

Data flows from left to right. Every edge has a row of its own, with the box of its operation in the
column of its target, so that no line runs through a box: a line leaves its source downwards and turns
into its row.
"""

from xml.etree import ElementTree

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
}

SVG = "http://www.w3.org/2000/svg"


def draw(genotype: Genotype, space: SearchSpace, title: str) -> bytes:
    """Both cells, one above the other, as SVG.

    Args:
        genotype: which cells.
        space: its search space.
        title: over the picture, and for screen readers.
    """
    columns = space.inputs * INPUTS + space.intermediates * (BOX[0] + GAP)
    rows = space.intermediates * space.predecessors
    width, height = columns + 3 * MARGIN + 30, TOP + rows * ROW + 24
    root = ElementTree.Element(
        "svg", xmlns=SVG, viewBox=f"0 0 {width} {2 * height + 30}", width=str(width), role="img"
    )
    root.attrib["font-family"] = "Helvetica, Arial, sans-serif"
    ElementTree.SubElement(root, "title").text = title
    _add(root, "rect", width=width, height=2 * height + 30, fill="white")
    _arrow(root)
    _text(root, width / 2, 22, title, size=15)
    for offset, name, edges in (
        (30, "Normal cell", genotype.normal),
        (30 + height, "Reduction cell", genotype.reduce),
    ):
        cell = _add(root, "g", transform=f"translate(0 {offset})")
        _cell(cell, name, edges, space, columns + 2 * MARGIN)
    drawn: bytes = ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)
    return drawn


def _cell(
    cell: ElementTree.Element, name: str, edges: tuple[Edge, ...], space: SearchSpace, output: float
) -> None:
    labels = [f"c_{{k-{space.inputs - i}}}" for i in range(space.inputs)]
    places: list[tuple[float, float]] = [(MARGIN + i * INPUTS, 52) for i in range(space.inputs)]
    first = space.inputs * INPUTS + MARGIN
    bottom = TOP + len(edges) * ROW
    for node in range(space.intermediates):
        middle = TOP + (node + 0.5) * space.predecessors * ROW
        places.append((first + node * (BOX[0] + GAP) + BOX[0] + GAP / 2, middle))
        labels.append(str(node))
    _text(cell, output / 2, 16, name, size=13)
    for row, (operation, source) in enumerate(edges):
        node = row // space.predecessors
        left, y = first + node * (BOX[0] + GAP), TOP + (row + 0.5) * ROW
        x, start = places[source]
        _line(cell, f"M{x} {start} V{y} H{left}")
        target_x, target_y = places[space.inputs + node]
        _line(cell, f"M{left + BOX[0]} {y} L{target_x - RADIUS} {target_y}")
        _box(cell, left, y, operation)
    for x, y in places[space.inputs :]:
        _line(cell, f"M{x} {y} H{output}")
    _add(cell, "rect", x=output, y=TOP, width=44, height=bottom - TOP, rx=6, fill="#fff2ae", stroke="#333333")
    _text(cell, output + 22, (TOP + bottom) / 2 + 4, "c_{k}")
    for (x, y), label in zip(places, labels, strict=True):
        shape = {"rx": 26, "ry": RADIUS - 2} if label.startswith("c_") else {"rx": RADIUS, "ry": RADIUS}
        _add(cell, "ellipse", cx=x, cy=y, fill="#fff2ae", stroke="#333333", **shape)
        _text(cell, x, y + 4, label)


def _box(cell: ElementTree.Element, left: float, y: float, operation: str) -> None:
    width, height = BOX
    fill = COLOURS.get(operation, "#ffffff")
    _add(
        cell, "rect", x=left, y=y - height / 2, width=width, height=height, rx=4, fill=fill, stroke="#333333"
    )
    _text(cell, left + width / 2, y + 4, operation)


def _line(cell: ElementTree.Element, path: str) -> None:
    _add(cell, "path", d=path, fill="none", stroke="#555555").set("marker-end", "url(#arrow)")


def _arrow(root: ElementTree.Element) -> None:
    marker = _add(_add(root, "defs"), "marker", id="arrow", viewBox="0 0 8 8", refX=8, refY=4, orient="auto")
    marker.attrib.update({"markerWidth": "7", "markerHeight": "7"})
    _add(marker, "path", d="M0 0 L8 4 L0 8 z", fill="#555555")


def _text(parent: ElementTree.Element, x: float, y: float, text: str, size: int = 12) -> None:
    element = _add(parent, "text", x=x, y=y, fill="#111111")
    element.attrib.update({"text-anchor": "middle", "font-size": str(size)})
    element.text = text


def _add(parent: ElementTree.Element, tag: str, **attributes: float | str) -> ElementTree.Element:
    return ElementTree.SubElement(parent, tag, {name: str(value) for name, value in attributes.items()})
