"""Genotypes as graphs: what the VGAE encodes and decodes."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from models.genotypes.genotype import ContinuousGenotype, legal_predecessors
from models.genotypes.search_space import CELLS, SearchSpace

if TYPE_CHECKING:
    from torch_geometric.data import Data

KINDS = ("input", "intermediate", "output")


@dataclass(frozen=True)
class Graph:
    """A batch of graphs, each the two cells of a genotype joined without an edge between them.

    Nodes are numbered cell by cell, the normal cell first. The edge from predecessor `i` to node `j`
    stands at `[i, j]`. Edges into the output nodes are identity (`skip_connect`).

    Args:
        kinds: int64 `[nodes]`, an index of `KINDS`; the same for every graph of a space (F_N).
        adjacency: float32 `[batch, nodes, nodes]`, 1 where there is an edge (A). An edge of a
            continuous genotype counts as `predecessors` times its share of the weights into its node,
            at most 1, so that a discrete genotype is the special case.
        operations: float32 `[batch, nodes, nodes, operations]`, one-hot, or a mixture for a
            continuous genotype; 0 where there is no edge (F_E).
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

    def join(self, other: "Graph") -> "Graph":
        """Joins two batches of graphs of one search space."""
        adjacency = torch.cat([self.adjacency, other.adjacency])
        return Graph(self.kinds, adjacency, torch.cat([self.operations, other.operations]))

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
    return torch.tensor(cell * len(CELLS))


def legal_edges(space: SearchSpace) -> Tensor:
    """int64 `[2, edges]`: every (predecessor, node) pair of the joined graph that can be chosen."""
    offsets = [cell * space.nodes_per_cell for cell in range(len(CELLS))]
    pairs = [(i + offset, j + offset) for offset in offsets for i, j in space.edges]
    return torch.tensor(pairs).T.contiguous()


def possible_edges(space: SearchSpace) -> Tensor:
    """int64 `[2, edges]`: every pair that can carry an edge: the legal ones, and those into the outputs."""
    size = space.nodes_per_cell
    into = [(i, o) for o in range(size - 1, space.nodes, size) for i in range(o - space.intermediates, o)]
    return torch.cat([legal_edges(space), torch.tensor(into).T], dim=1)


class Cells(NamedTuple):
    """A batch of graphs as the layers of the VGAE take it: cell by cell, and the batch as the last dimension.

    Both cells have the same small number of nodes and no edge between them, so all sums over neighbours
    run over `nodes_per_cell` nodes, for all graphs of the batch side by side.

    Args:
        adjacency: `[cell, target, source, batch]`.
        looped: the same with a self-loop at every node.
        propagation: `D^-1/2 (A + I) D^-1/2`, of the same shape, with degrees of incoming edges.
        operations: `[operation, cell, target, source, batch]`, at a self-loop the mean of the
            operations into the node.
        absent: `[node, node, batch]` of the whole graph, source first: 1 - A - I.
        present: A in the same form.
    """

    adjacency: Tensor
    looped: Tensor
    propagation: Tensor
    operations: Tensor
    absent: Tensor
    present: Tensor


def cells(graph: Graph, space: SearchSpace) -> Cells:
    """Turns a batch of graphs into the form that the layers of the VGAE take."""
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
    return Cells(
        adjacency.contiguous(),
        looped.contiguous(),
        (looped * scale * scale.transpose(1, 2)).contiguous(),
        (operations + loops * mean).contiguous(),
        (1 - present - torch.eye(space.nodes, device=present.device)[:, :, None]).contiguous(),
        present.contiguous(),
    )


def from_tensor(genotypes: Tensor, space: SearchSpace) -> Graph:
    """The graphs of discrete genotypes in the form of `genotype.to_tensor`."""
    batch = genotypes.shape[0]
    operation, predecessor = genotypes.flatten(1, 3).unbind(-1)  # [batch, cell * node * slot]
    cell, node, _ = torch.meshgrid(
        torch.arange(len(CELLS)),
        torch.arange(space.intermediates),
        torch.arange(space.predecessors),
        indexing="ij",
    )
    offset = (cell * space.nodes_per_cell).flatten()
    target = (offset + space.inputs + node.flatten()).expand(batch, -1)
    graph = _with_outputs(batch, space)
    row = torch.arange(batch)[:, None]
    graph.adjacency[row, predecessor + offset, target] = 1.0
    graph.operations[row, predecessor + offset, target, operation] = 1.0
    return graph


def from_continuous(genotypes: list[ContinuousGenotype], space: SearchSpace) -> Graph:
    """The graphs of continuous genotypes: every legal edge, with its weight and its mixture."""
    graph = _with_outputs(len(genotypes), space)
    source, target = legal_edges(space)
    edges = torch.tensor([[*g.normal_edges, *g.reduce_edges] for g in genotypes])
    mixtures = torch.tensor([[*g.normal, *g.reduce] for g in genotypes])
    graph.adjacency[:, source, target] = (edges * space.predecessors).clamp(max=1.0)
    graph.operations[:, source, target] = mixtures
    return graph


def to_tensor(graph: Graph, space: SearchSpace) -> Tensor:
    """The legal genotypes nearest to a batch of (possibly soft) graphs.

    Each intermediate node keeps the `predecessors` legal edges of the largest adjacency, each with
    its largest operation other than `none`. On graphs of discrete genotypes this is the inverse of
    `from_tensor`; on a decoder's scores it is the decoding rule of VGAE-NAS, and always legal.

    Returns:
        int64 in the form of `genotype.to_tensor`, on the CPU.
    """
    adjacency, operations = graph.adjacency.cpu(), graph.operations.cpu()
    legal = legal_predecessors(space)  # [node, predecessor]
    choices = torch.tensor(space.choices)
    cells = []
    for block in space.blocks:
        # [batch, node, predecessor]; finite, so that no legal edge can tie with an illegal one
        scores = adjacency[:, block, block][:, space.candidates, space.choosers].transpose(1, 2)
        scores = torch.nan_to_num(scores)
        scores = scores.masked_fill(~legal, -torch.inf)
        kept = scores.topk(space.predecessors, dim=-1).indices.sort(dim=-1).values
        mixtures = operations[:, block, block][:, space.candidates, space.choosers]
        best = mixtures[..., choices].argmax(dim=-1).transpose(1, 2)
        cells.append(torch.stack([choices[best.gather(2, kept)], kept], dim=-1))
    return torch.stack(cells, dim=1)


def _with_outputs(batch: int, space: SearchSpace) -> Graph:
    nodes, size = space.nodes, space.nodes_per_cell
    adjacency = torch.zeros(batch, nodes, nodes)
    operations = torch.zeros(batch, nodes, nodes, len(space.operations))
    for output in range(size - 1, nodes, size):
        into = slice(output - space.intermediates, output)
        adjacency[:, into, output] = 1.0
        operations[:, into, output, space.operation("skip_connect")] = 1.0
    return Graph(node_kinds(space), adjacency, operations)
