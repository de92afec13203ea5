"""Genotypes as graphs: what the VGAE encodes and decodes."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from models.genotypes.genotype import ContinuousGenotype, best_predecessors
from models.genotypes.search_space import SearchSpace

if TYPE_CHECKING:
    from torch_geometric.data import Data

KINDS = ("input", "intermediate", "output")


@dataclass(frozen=True)
class Graph:
    """A batch of graphs, each the cells of a genotype joined without an edge between them.

    Nodes are numbered cell by cell, in the order of `SearchSpace.cells`. The edge from predecessor `i` to
    node `j` stands at `[i, j]`. Edges into an output apart are identity (`skip_connect`). Where `none` can
    be chosen it is an edge that is not there: its adjacency is 0, and its operation still `none`.

    Args:
        kinds: int64 `[nodes]`, an index of `KINDS`; the same for every graph of a space (F_N).
        adjacency: float32 `[batch, nodes, nodes]`, 1 where there is an edge (A). An edge of a
            continuous genotype counts as its share of the weights into its node times the edges kept
            there, at most 1, and by what is not `none` where that can be chosen; so a discrete genotype
            is the special case.
        operations: float32 `[batch, nodes, nodes, operations]`, one-hot, or a mixture for a
            continuous genotype; 0 where no edge is kept (F_E).
    """

    kinds: Tensor
    adjacency: Tensor
    operations: Tensor

    def __len__(self) -> int:
        return self.adjacency.shape[0]

    def to(self, device: torch.device | str) -> "Graph":
        """Copies the batch to another device."""
        return Graph(self.kinds.to(device), self.adjacency.to(device), self.operations.to(device))

    def select(self, rows: Tensor) -> "Graph":
        """Selects graphs of the batch by their numbers."""
        return Graph(self.kinds, self.adjacency[rows], self.operations[rows])

    def to_pyg(self, position: int) -> "Data":
        """One graph of the batch for PyG: `x` (kinds), `edge_index`, `edge_attr` (operations)."""
        from torch_geometric.data import Data

        source, target = self.adjacency[position].nonzero(as_tuple=True)
        return Data(
            x=self.kinds,
            edge_index=torch.stack([source, target]),
            edge_attr=self.operations[position, source, target],
        )


def node_kinds(space: SearchSpace) -> Tensor:
    """int64 `[nodes]`: the kind of every node of the joined graph."""
    cell = [0] * space.inputs + [1] * space.intermediates + [2]
    return torch.tensor(cell * len(space.cells))


def legal_edges(space: SearchSpace) -> Tensor:
    """int64 `[2, edges]`: every (predecessor, node) pair of the joined graph that can be chosen."""
    pairs = [(i + block.start, j + block.start) for block in space.blocks for i, j in space.edges]
    return torch.tensor(pairs).T.contiguous()


def possible_edges(space: SearchSpace) -> Tensor:
    """int64 `[2, edges]`: every pair that can carry an edge: the legal ones, and those into outputs apart."""
    into = [(i + block.start, block.stop - 1) for block in space.blocks for i in space.concat]
    return torch.cat([legal_edges(space), torch.tensor(into, dtype=torch.int64).view(-1, 2).T], dim=1)


class Cells(NamedTuple):
    """A batch of graphs as the layers of the VGAE take it: cell by cell, and the batch as the last dimension.

    All cells have the same small number of nodes and no edge between them, so all sums over neighbours
    run over `nodes_per_cell` nodes, for all graphs of the batch side by side.

    Args:
        adjacency: `[cell, target, source, batch]`.
        looped: the same with a self-loop at every node.
        propagation: `D^-1/2 (A + I) D^-1/2`, of the same shape, with degrees of incoming edges.
        operations: `[operation, cell, target, source, batch]`, at a self-loop the mean of the
            operations into the node.
        absent: `[node, node, batch]` of the whole graph, source first: 1 - A - I.
        present: A in the same form.
        predecessors: int64 `[cell, edge, batch]`, those chosen for every node, where all graphs are of
            discrete genotypes that choose as many for each.
    """

    adjacency: Tensor
    looped: Tensor
    propagation: Tensor
    operations: Tensor
    absent: Tensor
    present: Tensor
    predecessors: Tensor | None = None

    def join(self, other: "Cells") -> "Cells":
        """Both batches as one."""

        def joined(first: Tensor | None, second: Tensor | None) -> Any:
            return None if first is None or second is None else torch.cat([first, second], dim=-1)

        return Cells(*map(joined, self, other))


def cells(graph: Graph, space: SearchSpace, discrete: bool = False) -> Cells:
    """Turns a batch of graphs into the form that the layers of the VGAE take.

    Args:
        graph: the batch.
        space: its search space.
        discrete: whether it is known that all graphs are of discrete genotypes.
    """
    size = space.nodes_per_cell
    by_cell = [
        (graph.adjacency[:, block, block], graph.operations[:, block, block]) for block in space.blocks
    ]
    adjacency = torch.stack([adjacency for adjacency, _ in by_cell]).permute(0, 3, 2, 1)
    operations = torch.stack([operations for _, operations in by_cell]).permute(4, 0, 3, 2, 1)
    loops = torch.eye(size, device=adjacency.device)[:, :, None]
    looped, degree = adjacency + loops, adjacency.sum(2, keepdim=True)
    mean = (adjacency * operations).sum(3, keepdim=True) / degree.clamp(min=1.0)
    scale = (degree + 1).rsqrt()
    present = graph.adjacency.permute(1, 2, 0)
    predecessors = None
    if discrete and space.predecessors != "all":
        chosen = adjacency[:, space.choosers, space.candidates]
        predecessors = chosen.topk(space.predecessors, dim=2).indices.flatten(1, 2)
    return Cells(
        adjacency.contiguous(),
        looped.contiguous(),
        (looped * scale * scale.transpose(1, 2)).contiguous(),
        (operations + loops * mean).contiguous(),
        (1 - present - torch.eye(space.nodes, device=present.device)[:, :, None]).contiguous(),
        present.contiguous(),
        predecessors,
    )


def from_tensor(genotypes: Tensor, space: SearchSpace) -> Graph:
    """The graphs of discrete genotypes in the form of `genotype.to_tensor`."""
    operation, predecessor = genotypes.flatten(1, 2).unbind(-1)  # [batch, cell * edge]
    offset = torch.tensor([block.start for block in space.blocks]).repeat_interleave(len(space.kept))
    target = (offset + torch.tensor(space.kept).repeat(len(space.cells))).expand(len(genotypes), -1)
    graph = _with_outputs(len(genotypes), space)
    row = torch.arange(len(genotypes))[:, None]
    graph.adjacency[row, predecessor + offset, target] = 1.0
    graph.operations[row, predecessor + offset, target, operation] = 1.0
    return _without_none(graph, space)


def from_continuous(genotypes: list[ContinuousGenotype], space: SearchSpace) -> Graph:
    """The graphs of continuous genotypes: every legal edge, with its weight and its mixture."""
    graph = _with_outputs(len(genotypes), space)
    source, target = legal_edges(space)
    kept = torch.tensor([space.kept_into(node) for _, node in space.edges]).repeat(len(space.cells))
    edges = torch.tensor([genotype.edges for genotype in genotypes]).flatten(1)
    graph.adjacency[:, source, target] = (edges * kept).clamp(max=1.0)
    mixtures = torch.tensor([genotype.operations for genotype in genotypes]).flatten(1, 2)
    graph.operations[:, source, target] = mixtures
    return _without_none(graph, space)


def to_tensor(graph: Graph, space: SearchSpace) -> Tensor:
    """The legal genotypes nearest to a batch of (possibly soft) graphs.

    Each node keeps as many legal edges as its space has it keep, those of the largest adjacency, each with
    its largest operation that may be chosen. On graphs of discrete genotypes this is the inverse of
    `from_tensor`; on a decoder's scores it is the decoding rule of VGAE-NAS, and always legal.

    Returns:
        int64 in the form of `genotype.to_tensor`, on the CPU.
    """
    adjacency, operations = graph.adjacency.cpu(), graph.operations.cpu()
    choices, into = torch.tensor(space.choices), torch.tensor(space.kept) - space.inputs
    cells = []
    for block in space.blocks:
        # [batch, chooser, candidate]; finite, so that no legal edge can tie with an illegal one
        scores = adjacency[:, block, block][:, space.candidates, space.choosers].transpose(1, 2)
        kept = best_predecessors(torch.nan_to_num(scores), space)  # [batch, edge]
        mixtures = operations[:, block, block][:, space.candidates, space.choosers]
        best = mixtures[..., choices].argmax(dim=-1).transpose(1, 2)
        row = torch.arange(len(kept))[:, None]
        cells.append(torch.stack([choices[best[row, into, kept]], kept], dim=-1))
    return torch.stack(cells, dim=1)


def _without_none(graph: Graph, space: SearchSpace) -> Graph:
    """Takes away the edges on which `none` was chosen, or the share that it has, where it can be chosen."""
    if space.none:
        graph.adjacency.mul_(1 - graph.operations[..., space.operation("none")])
    return graph


def _with_outputs(batch: int, space: SearchSpace) -> Graph:
    """Graphs with the edges into outputs apart, and no others."""
    nodes = space.nodes
    adjacency = torch.zeros(batch, nodes, nodes)
    operations = torch.zeros(batch, nodes, nodes, len(space.operations))
    for block in space.blocks:
        into = [block.start + node for node in space.concat]
        adjacency[:, into, block.stop - 1] = 1.0
        operations[:, into, block.stop - 1, space.operation("skip_connect")] = 1.0
    return Graph(node_kinds(space), adjacency, operations)
