"""Genotypes: the cells of a search space, discrete or straight from the search.

A batch of discrete genotypes is one int64 tensor of shape `[batch, cell, edge, 2]`: for each cell and each
of its kept edges, ordered by the node that they enter and then by predecessor, the operation's index and
the predecessor's number. Everything that handles many genotypes at once works on that form; `Genotype` is
the form that people read.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from models.genotypes.search_space import SearchSpace

Edge = tuple[str, int]
"""(operation, predecessor), as DARTS writes it."""


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
    """A discrete genotype.

    The edges into one node are kept sorted by predecessor. Their order means nothing to the network
    (a node sums its edges), so two genotypes are equal exactly if their cells are.

    Args:
        space: the search space that it is legal in.
        cells: for each cell its (operation, predecessor) pairs, for each node in turn that chooses edges.
    """

    space: SearchSpace
    cells: tuple[tuple[Edge, ...], ...]

    def as_dict(self) -> dict[str, Any]:
        """The JSON form: the edges of each cell by its name, and for DARTS the nodes it concatenates."""
        form: dict[str, Any] = {}
        for name, edges in zip(self.space.cells, self.cells, strict=True):
            form[name] = [list(edge) for edge in edges]
            if self.space.concat:
                form[f"{name}_concat"] = list(self.space.concat)
        return form

    def digest(self) -> str:
        """32 hex digits that are the same exactly for equal genotypes of a search space."""
        return _digest(json.dumps(self.as_dict()))

    def count(self, operation: str) -> dict[str, int]:
        """Counts the edges of each cell that carry an operation, as `{"normal": 1, "reduce": 0}`."""
        cells = zip(self.space.cells, self.cells, strict=True)
        return {name: sum(op == operation for op, _ in edges) for name, edges in cells}


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def from_dict(value: Mapping[str, Any], space: SearchSpace) -> Genotype:
    """A genotype from its JSON form.

    Args:
        value: each cell by its name, as a list of [operation, predecessor]; in spaces that concatenate nodes
            perhaps `normal_concat` and the like.
        space: the search space that it must be legal in.

    Raises:
        GenotypeError: naming the first field at fault.
    """
    concats = {f"{cell}_concat" for cell in space.cells} if space.concat else set()
    for name in value:
        if name not in (*space.cells, *concats):
            names = ", ".join(sorted((*space.cells, *concats)))
            raise GenotypeError(
                str(name), f"unknown field; a genotype of the space {space.name!r} has {names}"
            )
    cells = []
    for cell in space.cells:
        if cell not in value:
            names = " and ".join(space.cells)
            raise GenotypeError(cell, f"missing; a genotype of the space {space.name!r} has {names}")
        cells.append(_read_cell(value[cell], cell, space))
        concat = value.get(f"{cell}_concat", space.concat)
        if not isinstance(concat, Sequence) or isinstance(concat, str) or list(concat) != list(space.concat):
            raise GenotypeError(f"{cell}_concat", f"must be {list(space.concat)} in the space {space.name!r}")
    return Genotype(space, tuple(cells))


def to_tensor(genotypes: Sequence[Genotype], space: SearchSpace) -> Tensor:
    """Genotypes as one int64 tensor `[batch, cell, edge, (operation, predecessor)]`."""
    index = {name: i for i, name in enumerate(space.operations)}
    rows = [[(index[op], node) for edges in g.cells for op, node in edges] for g in genotypes]
    shape = (len(rows), len(space.cells), len(space.kept), 2)
    return torch.tensor(rows, dtype=torch.int64).reshape(shape)


def from_tensor(batch: Tensor, space: SearchSpace) -> list[Genotype]:
    """The genotypes of a tensor as `to_tensor` makes it, with edges sorted by predecessor."""
    names = space.operations
    return [
        Genotype(space, tuple(tuple((names[op], node) for op, node in edges) for edges in cells))
        for cells in batch.tolist()
    ]


def described(batch: Tensor, space: SearchSpace) -> list[tuple[dict[str, Any], str]]:
    """The JSON form and the digest of every genotype of a tensor, as `Genotype` has them.

    For many genotypes at once: equal edges are one list, and one piece of text, in all of them.
    """
    width = space.candidates.stop
    edges = [[name, node] for name in space.operations for node in range(width)]
    texts, concat = [json.dumps(edge) for edge in edges], list(space.concat)
    operation, predecessor = batch.unbind(-1)  # [batch, cell, edge]
    forms = []
    for cells in (operation * width + predecessor).tolist():
        form: dict[str, Any] = {}
        parts = []
        for name, numbers in zip(space.cells, cells, strict=True):
            form[name] = [edges[edge] for edge in numbers]
            parts.append(f'"{name}": [{", ".join([texts[edge] for edge in numbers])}]')
            if concat:
                form[f"{name}_concat"] = concat
                parts.append(f'"{name}_concat": {concat}')
        forms.append((form, _digest(f"{{{', '.join(parts)}}}")))
    return forms


def random_tensor(count: int, space: SearchSpace, generator: torch.Generator) -> Tensor:
    """Genotypes drawn uniformly from all legal ones of a space, in the form of `to_tensor`.

    Args:
        count: how many.
        space: the search space.
        generator: a CPU generator; its state decides the draw.
    """
    cells, choices = len(space.cells), torch.tensor(space.choices)
    picks = torch.randint(len(choices), (count, cells, len(space.kept)), generator=generator)
    scores = torch.zeros(count, cells, len(space.choosing), space.candidates.stop)
    if space.predecessors != "all":
        # the best of independent uniform scores are a uniform subset
        scores = torch.rand(scores.shape, generator=generator)
    return torch.stack([choices[picks], best_predecessors(scores, space)], dim=-1)


def every(space: SearchSpace) -> Tensor:
    """All genotypes of a space that keeps every edge of its one cell, in the form of `to_tensor`."""
    (_,) = space.cells
    operations = torch.cartesian_prod(*[torch.tensor(space.choices)] * len(space.edges))
    predecessors = torch.tensor([i for i, _ in space.edges]).expand_as(operations)
    return torch.stack([operations, predecessors], dim=-1)[:, None]


def best_predecessors(scores: Tensor, space: SearchSpace) -> Tensor:
    """The predecessors that each chooser keeps: the legal ones of the largest scores, or all of them.

    Args:
        scores: finite, `[…, chooser, candidate]`.
        space: the search space.

    Returns:
        int64 `[…, edge]`, sorted within each node.
    """
    if space.predecessors == "all":
        kept = torch.tensor([i for i, _ in space.edges], device=scores.device)
        return kept.expand(*scores.shape[:-2], -1)
    scores = scores.masked_fill(~legal_predecessors(space).to(scores.device), -torch.inf)
    return scores.topk(space.predecessors, dim=-1).indices.sort(dim=-1).values.flatten(-2)


def edits(genotypes: Tensor, starts: Tensor, space: SearchSpace) -> Tensor:
    """How many edges of each genotype its start has not: an edge is an operation on a predecessor.

    Args:
        genotypes: int64 `[batch, cell, edge, 2]`, in the form of `to_tensor`.
        starts: of the same shape.
        space: their search space.

    Returns:
        int64 `[batch]`, from 0 to the number of edges.
    """
    changed = []
    for slot in space.slots:
        ours, theirs = genotypes[:, :, slot, None], starts[:, :, None, slot]  # [batch, cell, slot, slot, 2]
        changed.append((~(ours == theirs).all(-1).any(-1)).flatten(1))
    return torch.cat(changed, dim=1).sum(1)


def legal_predecessors(space: SearchSpace) -> Tensor:
    """Boolean `[chooser, candidate]`: which earlier nodes a node can take."""
    return torch.arange(space.candidates.stop) < torch.tensor(space.choosing)[:, None]


@dataclass(frozen=True)
class ContinuousGenotype:
    """A genotype straight from the search: operation weights and an edge weight on every legal edge.

    Args:
        space: the search space.
        operations: `[cell][edge][operation]`, edges ordered as `SearchSpace.edges`, each row summing to 1.
        edges: `[cell][edge]`, the weights of the edges into one node summing to 1.
    """

    space: SearchSpace
    operations: tuple[tuple[tuple[float, ...], ...], ...]
    edges: tuple[tuple[float, ...], ...]

    def as_dict(self) -> dict[str, Any]:
        """The JSON form: of each cell the operations' weights by its name, and those of its edges."""
        form: dict[str, Any] = {}
        for name, operations, edges in zip(self.space.cells, self.operations, self.edges, strict=True):
            form[name] = [list(row) for row in operations]
            form[f"{name}_edges"] = list(edges)
        return form


def continuous_from_dict(value: Mapping[str, Any], space: SearchSpace) -> ContinuousGenotype:
    """A continuous genotype from its JSON form.

    Weights are brought to an exact sum of 1 if they are within 1e-3 of it.

    Args:
        value: of each cell the weights by its name and those of its edges, as `normal` and `normal_edges`,
            which may be left out where a space keeps all edges; and perhaps `operations`, the names of the
            weights of an edge in their order, without which it is the order of the search space.
        space: the search space.

    Raises:
        GenotypeError: naming the first field at fault.
    """
    names = [name for cell in space.cells for name in (cell, f"{cell}_edges")]
    if space.predecessors == "all":
        value = {**_equal_edges(space), **value}
    for name in [*names, *value]:
        if name not in value:
            raise GenotypeError(name, f"missing; a continuous genotype has {', '.join(names)}")
        if name not in (*names, "operations"):
            raise GenotypeError(str(name), f"unknown field; a continuous genotype has {', '.join(names)}")
    columns = _columns(value.get("operations"), space)
    operations, edges = [], []
    node = torch.tensor([j - space.inputs for _, j in space.edges])
    for cell in space.cells:
        rows = _weights(value[cell], cell, (len(space.edges), len(space.operations)))[:, columns]
        _require_sums(rows.sum(dim=1), torch.ones(len(space.edges)), cell, "weights of each edge")
        shares = _weights(value[f"{cell}_edges"], f"{cell}_edges", (len(space.edges),))
        sums = torch.zeros(len(space.choosing), dtype=torch.float64).index_add(0, node, shares)
        _require_sums(sums, torch.ones(len(space.choosing)), f"{cell}_edges", "weights into each node")
        operations.append(tuple(map(tuple, (rows / rows.sum(dim=1, keepdim=True)).tolist())))
        edges.append(tuple((shares / sums[node]).tolist()))
    return ContinuousGenotype(space, tuple(operations), tuple(edges))


def _equal_edges(space: SearchSpace) -> dict[str, list[float]]:
    """Equal weights of the edges into each node, of every cell."""
    return {f"{cell}_edges": [1 / node for _, node in space.edges] for cell in space.cells}


def _columns(operations: Any, space: SearchSpace) -> list[int]:
    """Where the weight of each operation of the space stands among weights in a given order."""
    if operations is None:
        return list(range(len(space.operations)))
    if not isinstance(operations, list) or sorted(map(str, operations)) != sorted(space.operations):
        raise GenotypeError(
            "operations", f"must name each of {', '.join(space.operations)} once, in the order of the weights"
        )
    return [operations.index(name) for name in space.operations]


def discretise(continuous: ContinuousGenotype) -> Genotype:
    """The discrete genotype of a continuous one, as PC-DARTS derives it (Xu et al., 2020, section 3.3).

    An edge's strength is its weight times that of its best operation among those that may be chosen; each
    node keeps its strongest edges, or all, each with that operation.
    """
    space = continuous.space
    choices = torch.tensor(space.choices)
    rows = torch.tensor(continuous.operations, dtype=torch.float64)[..., choices]
    edges = torch.tensor(continuous.edges, dtype=torch.float64)
    strength, best = (rows * edges[..., None]).max(dim=2)  # [cell, edge]
    source = torch.tensor([i for i, _ in space.edges])
    chooser = torch.tensor([j - space.inputs for _, j in space.edges])
    scores = torch.zeros(len(space.cells), len(space.choosing), space.candidates.stop, dtype=torch.float64)
    scores[:, chooser, source] = strength
    operations = torch.zeros(scores.shape, dtype=torch.int64)
    operations[:, chooser, source] = choices[best]
    kept = best_predecessors(scores, space)
    into = torch.tensor(space.kept) - space.inputs
    cell = torch.arange(len(space.cells))[:, None]
    return from_tensor(torch.stack([operations[cell, into, kept], kept], dim=-1)[None], space)[0]


def _read_cell(value: Any, cell: str, space: SearchSpace) -> tuple[Edge, ...]:
    expected = len(space.kept)
    if not isinstance(value, Sequence) or isinstance(value, str):
        raise GenotypeError(cell, "must be a list of [operation, predecessor] pairs")
    if len(value) != expected:
        raise GenotypeError(cell, f"has {len(value)} edges; the space {space.name!r} has {expected} a cell")
    pairs = zip(value, space.kept, strict=True)
    edges = [_read_edge(pair, f"{cell}[{i}]", node, space) for i, (pair, node) in enumerate(pairs)]
    ordered: list[Edge] = []
    for slot in space.slots:
        into = edges[slot]
        taken = [node for _, node in into]
        if len(set(taken)) < len(taken):
            raise GenotypeError(
                f"{cell}[{slot.stop - 1}]",
                f"repeats predecessor {taken[-1]}; the edges into one node need different predecessors",
            )
        ordered.extend(sorted(into, key=lambda edge: edge[1]))
    return tuple(ordered)


def _read_edge(pair: Any, field: str, node: int, space: SearchSpace) -> Edge:
    if not isinstance(pair, Sequence) or isinstance(pair, str) or len(pair) != 2:
        raise GenotypeError(field, "must be a pair [operation, predecessor]")
    operation, predecessor = pair
    names = [space.operations[i] for i in space.choices]
    if operation not in names:
        raise GenotypeError(field, f"unknown operation {operation!r}; must be one of {', '.join(names)}")
    if isinstance(predecessor, bool) or not isinstance(predecessor, int):
        raise GenotypeError(field, f"predecessor must be an integer (got {predecessor!r})")
    if not 0 <= predecessor < node:
        raise GenotypeError(
            field, f"predecessor {predecessor!r} is out of range; node {node} takes 0 to {node - 1}"
        )
    return operation, predecessor


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
