"""Genotypes: a normal and a reduction cell, discrete or straight from the search.

A batch of discrete genotypes is one int64 tensor of shape `[batch, cell, node, slot, 2]`: for each
cell (normal, reduce), each intermediate node and each of its kept edges, sorted by predecessor, the
operation's index and the predecessor's number. Everything that handles many genotypes at once works
on that form; `Genotype` is the form that people read.
"""

import ast
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from models.genotypes.search_space import CELLS, SearchSpace

Edge = tuple[str, int]
"""(operation, predecessor), as DARTS writes it."""

MAX_TEXT = 10_000
"""Characters of a genotype's text form that are read; a real one has about 500."""

_FIELDS = ("normal", "normal_concat", "reduce", "reduce_concat")


class GenotypeError(ValueError):
    """A genotype that the search space does not allow.

    Args:
        field: the part at fault, as `normal[3]`.
        detail: what is wrong and what would be right.
    """

    def __init__(self, field: str, detail: str) -> None:
        super().__init__(f"{field}: {detail}")
        self.field = field
        self.detail = detail


@dataclass(frozen=True)
class Genotype:
    """A discrete genotype with the fields of the DARTS code.

    The edges into one node are kept sorted by predecessor. Their order means nothing to the network
    (a node sums its edges), so two genotypes are equal exactly if their networks are.

    Args:
        normal: (operation, predecessor) pairs, `predecessors` for each intermediate node in turn.
        normal_concat: the nodes that the output node concatenates.
        reduce: the same for the reduction cell.
        reduce_concat: the same for the reduction cell.
    """

    normal: tuple[Edge, ...]
    normal_concat: tuple[int, ...]
    reduce: tuple[Edge, ...]
    reduce_concat: tuple[int, ...]

    def as_dict(self) -> dict[str, Any]:
        """The DARTS JSON form: lists in place of tuples."""
        return {
            "normal": [list(edge) for edge in self.normal],
            "normal_concat": list(self.normal_concat),
            "reduce": [list(edge) for edge in self.reduce],
            "reduce_concat": list(self.reduce_concat),
        }

    def text(self) -> str:
        """The DARTS text form, `Genotype(normal=[('sep_conv_3x3', 1), …], …)`."""
        fields = {
            "normal": list(self.normal),
            "normal_concat": _range_text(self.normal_concat),
            "reduce": list(self.reduce),
            "reduce_concat": _range_text(self.reduce_concat),
        }
        return f"Genotype({', '.join(f'{name}={value}' for name, value in fields.items())})"

    def digest(self) -> str:
        """32 hex digits that are the same exactly for equal genotypes."""
        return _digest(json.dumps(self.as_dict()))

    def count(self, operation: str) -> dict[str, int]:
        """Counts the edges of each cell that carry an operation, as `{"normal": 1, "reduce": 0}`."""
        return {cell: sum(op == operation for op, _ in getattr(self, cell)) for cell in CELLS}


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def from_dict(value: Mapping[str, Any], space: SearchSpace) -> Genotype:
    """A genotype from its DARTS JSON form.

    Args:
        value: `normal` and `reduce` as lists of [operation, predecessor]; the two `_concat` fields
            may be left out.
        space: the search space that it must be legal in.

    Raises:
        GenotypeError: naming the first field at fault.
    """
    for name in value:
        if name not in _FIELDS:
            raise GenotypeError(str(name), f"unknown field; a genotype has {', '.join(_FIELDS)}")
    cells: dict[str, Any] = {}
    for cell in CELLS:
        if cell not in value:
            raise GenotypeError(cell, "missing; a genotype has a normal and a reduce cell")
        cells[cell] = _read_cell(value[cell], cell, space)
        concat_name = f"{cell}_concat"
        concat = value.get(concat_name, space.concat)
        if not isinstance(concat, Sequence) or isinstance(concat, str) or list(concat) != list(space.concat):
            raise GenotypeError(concat_name, f"must be {list(space.concat)} in the space {space.name!r}")
        cells[concat_name] = space.concat
    return Genotype(**cells)


def from_text(text: str, space: SearchSpace) -> Genotype:
    """A genotype from its DARTS text form, read as syntax and never evaluated.

    Args:
        text: `Genotype(normal=[…], normal_concat=range(2, 6), reduce=[…], reduce_concat=…)`,
            at most `MAX_TEXT` characters; a leading `NAME =` is allowed.
        space: the search space that it must be legal in.

    Raises:
        GenotypeError: naming the first field at fault, `text` if the whole cannot be read.
    """
    if len(text) > MAX_TEXT:
        raise GenotypeError("text", f"has {len(text)} characters; at most {MAX_TEXT} are read")
    try:
        statements = ast.parse(text.strip()).body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise GenotypeError("text", f"is not of the form Genotype(normal=[…], …): {error}") from None
    statement = statements[0] if len(statements) == 1 else None
    call = statement.value if isinstance(statement, ast.Expr | ast.Assign) else None
    if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name) or call.func.id != "Genotype":
        raise GenotypeError("text", "must be one call of the form Genotype(normal=[…], …)")
    if call.args:
        raise GenotypeError("text", "fields must be named, as in normal=[…]")
    fields: dict[str, Any] = {}
    for keyword in call.keywords:
        name = keyword.arg or "**"
        if name in fields:
            raise GenotypeError(name, "is given twice")
        fields[name] = _literal(keyword.value, name)
    return from_dict(fields, space)


def to_tensor(genotypes: Sequence[Genotype], space: SearchSpace) -> Tensor:
    """Genotypes as one int64 tensor `[batch, cell, node, slot, (operation, predecessor)]`."""
    index = {name: i for i, name in enumerate(space.operations)}
    rows = [[(index[op], node) for cell in CELLS for op, node in getattr(g, cell)] for g in genotypes]
    shape = (len(rows), len(CELLS), space.intermediates, space.predecessors, 2)
    return torch.tensor(rows, dtype=torch.int64).reshape(shape)


def from_tensor(batch: Tensor, space: SearchSpace) -> list[Genotype]:
    """The genotypes of a tensor as `to_tensor` makes it, with edges sorted by predecessor."""
    names = space.operations
    genotypes = []
    for normal, reduce in batch.flatten(2, 3).tolist():
        genotypes.append(
            Genotype(
                normal=tuple((names[op], node) for op, node in normal),
                normal_concat=space.concat,
                reduce=tuple((names[op], node) for op, node in reduce),
                reduce_concat=space.concat,
            )
        )
    return genotypes


def described(batch: Tensor, space: SearchSpace) -> list[tuple[dict[str, Any], str]]:
    """The DARTS JSON form and the digest of every genotype of a tensor, as `Genotype` has them.

    For many genotypes at once: equal edges are one list, and one piece of text, in all of them.
    """
    width = space.inputs + space.intermediates
    edges = [[name, node] for name in space.operations for node in range(width)]
    texts, concat = [json.dumps(edge) for edge in edges], list(space.concat)
    operation, predecessor = batch.flatten(2, 3).unbind(-1)  # [batch, cell, edge]
    forms = []
    for normal, reduce in (operation * width + predecessor).tolist():
        form = {
            "normal": [edges[edge] for edge in normal],
            "normal_concat": concat,
            "reduce": [edges[edge] for edge in reduce],
            "reduce_concat": concat,
        }
        cells = [", ".join([texts[edge] for edge in cell]) for cell in (normal, reduce)]
        text = (
            f'{{"normal": [{cells[0]}], "normal_concat": {concat}, '
            f'"reduce": [{cells[1]}], "reduce_concat": {concat}}}'
        )
        forms.append((form, _digest(text)))
    return forms


def random_tensor(count: int, space: SearchSpace, generator: torch.Generator) -> Tensor:
    """Genotypes drawn uniformly from all legal ones of a space, in the form of `to_tensor`.

    Args:
        count: how many.
        space: the search space.
        generator: a CPU generator; its state decides the draw.
    """
    shape = (count, len(CELLS), space.intermediates)
    choices = torch.tensor(space.choices)
    picks = torch.randint(len(choices), (*shape, space.predecessors), generator=generator)
    # the best `predecessors` of independent uniform scores are a uniform subset
    width = space.inputs + space.intermediates - 1
    scores = torch.rand((*shape, width), generator=generator)
    scores = scores.masked_fill(~legal_predecessors(space), -1.0)
    predecessors = scores.topk(space.predecessors, dim=-1).indices.sort(dim=-1).values
    return torch.stack([choices[picks], predecessors], dim=-1)


def edits(genotypes: Tensor, starts: Tensor) -> Tensor:
    """How many edges of each genotype its start has not: an edge is an operation on a predecessor.

    Args:
        genotypes: int64 `[batch, cell, node, slot, 2]`, in the form of `to_tensor`.
        starts: of the same shape.

    Returns:
        int64 `[batch]`, from 0 to the number of edges.
    """
    ours, theirs = genotypes[..., :, None, :], starts[..., None, :, :]  # [batch, cell, node, slot, slot, 2]
    kept = (ours == theirs).all(-1).any(-1)
    return (~kept).flatten(1).sum(1)


def legal_predecessors(space: SearchSpace) -> Tensor:
    """Boolean `[node, predecessor]`: which earlier nodes an intermediate node can take."""
    width = space.inputs + space.intermediates - 1
    limit = torch.arange(space.inputs, space.inputs + space.intermediates)
    return torch.arange(width) < limit[:, None]


@dataclass(frozen=True)
class ContinuousGenotype:
    """A genotype straight from the search: operation weights and an edge weight on every legal edge.

    Args:
        normal: `[edge][operation]`, edges ordered as `SearchSpace.edges`, each row summing to 1.
        normal_edges: `[edge]`, the weights of the edges into one node summing to 1.
        reduce: the same for the reduction cell.
        reduce_edges: the same for the reduction cell.
    """

    normal: tuple[tuple[float, ...], ...]
    normal_edges: tuple[float, ...]
    reduce: tuple[tuple[float, ...], ...]
    reduce_edges: tuple[float, ...]

    def as_dict(self) -> dict[str, Any]:
        """The JSON form: lists in place of tuples."""
        return {
            "normal": [list(row) for row in self.normal],
            "normal_edges": list(self.normal_edges),
            "reduce": [list(row) for row in self.reduce],
            "reduce_edges": list(self.reduce_edges),
        }


def continuous_from_dict(value: Mapping[str, Any], space: SearchSpace) -> ContinuousGenotype:
    """A continuous genotype from its JSON form.

    Weights are brought to an exact sum of 1 if they are within 1e-3 of it.

    Args:
        value: `normal`, `normal_edges`, `reduce`, `reduce_edges`, and perhaps `operations`, the names of the
            weights of an edge in their order; without them it is the order of the search space.
        space: the search space.

    Raises:
        GenotypeError: naming the first field at fault.
    """
    names = [name for cell in CELLS for name in (cell, f"{cell}_edges")]
    for name in [*names, *value]:
        if name not in value:
            raise GenotypeError(name, f"missing; a continuous genotype has {', '.join(names)}")
        if name not in (*names, "operations"):
            raise GenotypeError(str(name), f"unknown field; a continuous genotype has {', '.join(names)}")
    columns = _columns(value.get("operations"), space)
    fields: dict[str, Any] = {}
    for cell in CELLS:
        rows = _weights(value[cell], cell, (len(space.edges), len(space.operations)))[:, columns]
        _require_sums(rows.sum(dim=1), torch.ones(len(space.edges)), cell, "weights of each edge")
        edges = _weights(value[f"{cell}_edges"], f"{cell}_edges", (len(space.edges),))
        node = torch.tensor([j - space.inputs for _, j in space.edges])
        sums = torch.zeros(space.intermediates, dtype=torch.float64).index_add(0, node, edges)
        _require_sums(sums, torch.ones(space.intermediates), f"{cell}_edges", "weights into each node")
        fields[cell] = tuple(map(tuple, (rows / rows.sum(dim=1, keepdim=True)).tolist()))
        fields[f"{cell}_edges"] = tuple((edges / sums[node]).tolist())
    return ContinuousGenotype(**fields)


def _columns(operations: Any, space: SearchSpace) -> list[int]:
    """Where the weight of each operation of the space stands among weights in a given order."""
    if operations is None:
        return list(range(len(space.operations)))
    if not isinstance(operations, list) or sorted(map(str, operations)) != sorted(space.operations):
        raise GenotypeError(
            "operations", f"must name each of {', '.join(space.operations)} once, in the order of the weights"
        )
    return [operations.index(name) for name in space.operations]


def discretise(continuous: ContinuousGenotype, space: SearchSpace) -> Genotype:
    """The discrete genotype of a continuous one, as PC-DARTS derives it (Xu et al., 2020, section 3.3).

    An edge's strength is its weight times that of its best operation other than `none`; each node
    keeps its `predecessors` strongest edges, each with that operation.
    """
    choices = torch.tensor(space.choices)
    cells: list[Tensor] = []
    for cell in CELLS:
        rows = torch.tensor(getattr(continuous, cell), dtype=torch.float64)[:, choices]
        edges = torch.tensor(getattr(continuous, f"{cell}_edges"), dtype=torch.float64)
        best, operation = (rows * edges[:, None]).max(dim=1)
        nodes, first = [], 0
        for node in range(space.inputs, space.inputs + space.intermediates):
            into = slice(first, first + node)
            kept = best[into].topk(space.predecessors).indices.sort().values
            nodes.append(torch.stack([choices[operation[into][kept]], kept], dim=-1))
            first += node
        cells.append(torch.stack(nodes))
    return from_tensor(torch.stack(cells)[None], space)[0]


def _read_cell(value: Any, cell: str, space: SearchSpace) -> tuple[Edge, ...]:
    expected = space.intermediates * space.predecessors
    if not isinstance(value, Sequence) or isinstance(value, str):
        raise GenotypeError(cell, "must be a list of [operation, predecessor] pairs")
    if len(value) != expected:
        raise GenotypeError(cell, f"has {len(value)} edges; the space {space.name!r} has {expected} a cell")
    edges = [_read_edge(pair, f"{cell}[{i}]", i, space) for i, pair in enumerate(value)]
    ordered: list[Edge] = []
    for first in range(0, expected, space.predecessors):
        into = edges[first : first + space.predecessors]
        taken = [node for _, node in into]
        if len(set(taken)) < len(taken):
            raise GenotypeError(
                f"{cell}[{first + space.predecessors - 1}]",
                f"repeats predecessor {taken[-1]}; the edges into one node need different predecessors",
            )
        ordered.extend(sorted(into, key=lambda edge: edge[1]))
    return tuple(ordered)


def _read_edge(pair: Any, field: str, position: int, space: SearchSpace) -> Edge:
    if not isinstance(pair, Sequence) or isinstance(pair, str) or len(pair) != 2:
        raise GenotypeError(field, "must be a pair [operation, predecessor]")
    operation, predecessor = pair
    if operation == "none" or operation not in space.operations:
        names = ", ".join(space.operations[i] for i in space.choices)
        raise GenotypeError(field, f"unknown operation {operation!r}; must be one of {names}")
    node = space.inputs + position // space.predecessors
    if isinstance(predecessor, bool) or not isinstance(predecessor, int) or not 0 <= predecessor < node:
        raise GenotypeError(
            field, f"predecessor {predecessor!r} is out of range; node {node} takes 0 to {node - 1}"
        )
    return operation, predecessor


def _literal(node: ast.expr, field: str) -> Any:
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "range":
        bounds = [_literal(argument, field) for argument in node.args]
        if len(bounds) == 2 and all(type(b) is int and 0 <= b <= 100 for b in bounds) and not node.keywords:
            return list(range(*bounds))
        raise GenotypeError(field, "must be a list or range(first, end) with numbers from 0 to 100")
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
        raise GenotypeError(field, "must be written out with plain lists, strings and numbers") from None


def _range_text(nodes: tuple[int, ...]) -> str:
    return f"range({nodes[0]}, {nodes[-1] + 1})"


def _weights(value: Any, field: str, shape: tuple[int, ...]) -> Tensor:
    try:
        weights = torch.tensor(value, dtype=torch.float64)
    except (TypeError, ValueError, RuntimeError, OverflowError):
        raise GenotypeError(field, f"must be numbers of shape {list(shape)}") from None
    if tuple(weights.shape) != shape:
        raise GenotypeError(field, f"has the shape {list(weights.shape)}; must be {list(shape)}")
    if not bool(torch.isfinite(weights).all()) or bool((weights < 0).any()):
        raise GenotypeError(field, "weights must be finite and not negative")
    return weights


def _require_sums(sums: Tensor, expected: Tensor, field: str, what: str) -> None:
    if not torch.allclose(sums, expected.to(sums), atol=1e-3):
        worst = int((sums - expected).abs().argmax())
        raise GenotypeError(field, f"the {what} must sum to 1; number {worst} sums to {sums[worst]:.4g}")
