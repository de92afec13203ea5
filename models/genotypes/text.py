"""Genotypes in a line of text, in the forms that their papers' code prints.

`darts`: `Genotype(normal=[('sep_conv_3x3', 1), …], normal_concat=range(2, 6), …)`. `nats-bench`:
`|nor_conv_3x3~0|+|none~0|skip_connect~1|+|…|`, an operation and a predecessor for each edge, node by node; or
a digit for each edge.
"""

import re
from typing import Any

from models.genotypes.genotype import Genotype, GenotypeError, from_dict
from models.genotypes.pasted import FORM, fields_of
from models.genotypes.search_space import SearchSpace

MAX_TEXT = 10_000
"""Characters that are read; a real text has about 500."""

_NATS_BENCH = "|operation~node|+|operation~node|operation~node|+…"


def to_text(genotype: Genotype) -> str:
    """The text form of a genotype's search space."""
    if genotype.space.text == "nats-bench":
        (edges,) = genotype.cells
        nodes = ["".join(f"{op}~{node}|" for op, node in edges[slot]) for slot in genotype.space.slots]
        return "+".join(f"|{node}" for node in nodes)
    fields = genotype.as_dict()
    for name, value in fields.items():
        if name.endswith("_concat"):
            fields[name] = f"range({value[0]}, {value[-1] + 1})"
        else:
            fields[name] = [tuple(edge) for edge in value]
    return f"Genotype({', '.join(f'{name}={value}' for name, value in fields.items())})"


def from_text(text: str, space: SearchSpace) -> Genotype:
    """A genotype from its text form, read as syntax and never evaluated.

    Args:
        text: at most `MAX_TEXT` characters; the form of DARTS may be pasted as `pasted` has it.
        space: the search space that it must be legal in.

    Raises:
        GenotypeError: naming the first field at fault, `text` if the whole cannot be read.
    """
    if len(text) > MAX_TEXT:
        raise GenotypeError("text", f"has {len(text)} characters; at most {MAX_TEXT} are read")
    text = text.strip()
    if (space.text == "darts") == (text.startswith("|") or text.isdigit()):
        form = FORM if space.text == "darts" else f"{_NATS_BENCH}, or {len(space.edges)} digits"
        raise GenotypeError(
            "text", f"is of another search space; genotypes of the space {space.name!r} are written {form}"
        )
    if space.text == "darts":
        return from_dict(fields_of(text), space)
    edges = _from_digits(text, space) if text.isdigit() else _from_nodes(text, space)
    return from_dict({space.cells[0]: edges}, space)


def _from_digits(text: str, space: SearchSpace) -> list[list[Any]]:
    """Edges from the digits of their operations, which are ordered by the node that an edge leaves."""
    order = sorted(space.edges)
    if len(text) != len(order):
        raise GenotypeError(
            "text", f"has {len(text)} digits; the space {space.name!r} has {len(order)} edges"
        )
    for place, digit in enumerate(text, start=1):
        if digit not in "0123456789"[: len(space.codes)]:
            last = len(space.codes) - 1
            raise GenotypeError(
                "text", f"digit {place} is {digit}; the operations of {space.name!r} are 0 to {last}"
            )
    given = dict(zip(order, text, strict=True))
    return [[space.codes[int(given[edge])], edge[0]] for edge in space.edges]


def _from_nodes(text: str, space: SearchSpace) -> list[list[Any]]:
    """Edges from NATS-Bench's form."""
    edges: list[list[Any]] = []
    nodes = text.split("+")
    if len(nodes) != len(space.slots):
        raise GenotypeError(
            "text", f"has {len(nodes)} nodes with edges; the space {space.name!r} has {len(space.slots)}"
        )
    for node, (part, slot) in enumerate(zip(nodes, space.slots, strict=True), start=space.inputs):
        if not re.fullmatch(r"\|(?:[^|~+]{1,50}~\d{1,3}\|)+", part.strip(), re.ASCII):
            raise GenotypeError("text", f"must be of the form {_NATS_BENCH}; node {node} is {part[:100]!r}")
        into = [edge.rsplit("~", 1) for edge in part.strip().strip("|").split("|")]
        expected = slot.stop - slot.start
        if len(into) != expected:
            raise GenotypeError("text", f"has {len(into)} edges into node {node}; there must be {expected}")
        edges += [[operation, int(predecessor)] for operation, predecessor in into]
    return edges
