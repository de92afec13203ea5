"""Layers on batches of cells (`graph.Cells`): features first, then cell, node and graph.

The graph layers equal PyG's `GATConv` and `GCNConv` on the same graphs, and have their names for weights.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.genotypes.graph import Cells, possible_edges
from models.genotypes.search_space import SearchSpace


class ColumnLinear(nn.Linear):
    """A linear layer on the first dimension, `[inputs, …]` to `[outputs, …]`."""

    def forward(self, x: Tensor) -> Tensor:
        out = (self.weight @ x.flatten(1)).view(-1, *x.shape[1:])
        return out if self.bias is None else out + self.bias.view(-1, *[1] * (x.dim() - 1))


class Placed(NamedTuple):
    """Latents of nodes, and where the nodes are.

    Args:
        z: `[latent dimension, cell, node, batch]`.
        position: `[features, cell, node]`, the same in all graphs, or none.
    """

    z: Tensor
    position: Tensor | None

    def nodes(self, chosen: slice) -> "Placed":
        """Those of some nodes of each cell."""
        return Placed(self.z[:, :, chosen], None if self.position is None else self.position[:, :, chosen])

    def joined(self) -> Tensor:
        """Latents with the positions behind them, `[latent dimension + features, cell, node, batch]`."""
        if self.position is None:
            return self.z
        return torch.cat([self.z, self.position[..., None].expand(-1, *self.z.shape[1:])])


class PlacedLinear(nn.Linear):
    """A linear layer on latents with their positions behind them, `Placed` to `[outputs, cell, node, batch]`.

    Positions are the same in all graphs, so their share is computed once.
    """

    def forward(self, x: Placed) -> Tensor:  # type: ignore[override]
        return placed_linear(x, self.weight, self.bias)


def placed_linear(x: Placed, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """What `PlacedLinear` computes, of weights `[outputs, latent dimension + features]`."""
    z, position = x
    out = (weight[:, : len(z)] @ z.flatten(1)).view(-1, *z.shape[1:])
    shared = None if bias is None else bias[:, None, None, None]
    if position is not None:
        placed = (weight[:, len(z) :] @ position.flatten(1)).view(-1, *position.shape[1:], 1)
        shared = placed if shared is None else placed + shared
    return out if shared is None else out + shared


class OneHotEmbedding(nn.Embedding):
    """An embedding of one-hot rows, `[rows, kinds]` to `[rows, features]`.

    Sums of products with zeros and ones: the gradient of a look-up by index would scatter.
    """

    def forward(self, one_hot: Tensor) -> Tensor:
        return (one_hot[..., None] * self.weight).sum(1)


class DenseGAT(nn.Module):
    """Graph attention (Veličković et al., 2018) with edge features, as PyG's `GATConv` computes it.

    `h_j = sum_i a_ij W x_i + b`, where `a_ij` is the softmax over the predecessors `i` of `j` (and
    `j` itself) of `LeakyReLU(s·W x_i + t·W x_j + u·W_e e_ij)`. On a continuous graph a predecessor counts
    in the softmax by its adjacency. A self-loop has the mean edge score of the node's edges.

    Args:
        inputs, outputs: features of a node; `heads` divides `outputs`.
        heads: number of attention heads.
        edge_dim: features of an edge.
    """

    def __init__(self, inputs: int, outputs: int, heads: int, edge_dim: int) -> None:
        super().__init__()
        width = outputs // heads
        self.heads = heads
        self.lin = ColumnLinear(inputs, outputs, bias=False)
        self.lin_edge = ColumnLinear(edge_dim, outputs, bias=False)
        self.att_src = nn.Parameter(torch.empty(heads, width))
        self.att_dst = nn.Parameter(torch.empty(heads, width))
        self.att_edge = nn.Parameter(torch.empty(heads, width))
        self.bias = nn.Parameter(torch.zeros(outputs))
        for parameter in (self.lin.weight, self.att_src, self.att_dst, self.att_edge):
            nn.init.xavier_uniform_(parameter)

    def forward(self, x: Tensor, cells: Cells, operations: Tensor) -> Tensor:
        """New features of every node, `[outputs, cell, node, batch]`.

        Args:
            x: `[inputs, cell, node]`, the same in every graph.
            cells: the batch.
            operations: `[edge_dim, operations]`, the features of an edge by its operation.
        """
        h = self.lin(x).unflatten(0, (self.heads, -1))  # [head, width, cell, node]
        leaving = (h * self.att_src[..., None, None]).sum(1)  # [head, cell, node]
        entering = (h * self.att_dst[..., None, None]).sum(1)
        scores = self.lin_edge(operations).unflatten(0, (self.heads, -1))  # [head, width, operation]
        scores = (scores * self.att_edge[..., None]).sum(1)
        edge = (scores @ cells.operations.flatten(1)).view(self.heads, *cells.looped.shape)
        logits = F.leaky_relu(edge + leaving[:, :, None, :, None] + entering[..., None, None], 0.2)
        logits = logits.masked_fill(cells.looped == 0, -torch.inf)
        share = cells.looped * (logits - logits.detach().amax(3, keepdim=True)).exp()
        share = share / share.sum(3, keepdim=True)  # [head, cell, target, source, batch]
        sums = contract("hwcs,hctsb->hwctb", h, share)
        return sums.flatten(0, 1) + self.bias[:, None, None, None]


class DenseGCN(nn.Module):
    """Graph convolution (Kipf, Welling, 2017), `D^-1/2 (A + I) D^-1/2 X W + b`, as PyG's `GCNConv`."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.lin = ColumnLinear(inputs, outputs, bias=False)
        self.bias = nn.Parameter(torch.zeros(outputs))
        nn.init.xavier_uniform_(self.lin.weight)

    def forward(self, x: Tensor, cells: Cells) -> Tensor:
        """New features of every node, `[outputs, cell, node, batch]`, from `[inputs, cell, node, batch]`."""
        h = self.lin(x).unsqueeze(2)  # [output, cell, 1, source, batch]
        return (h * cells.propagation).sum(3) + self.bias[:, None, None, None]


class IncomingEdges(nn.Module):
    """A vector for every (edge, operation) of a search space, summed into the node that the edge enters.

    Args:
        space: the search space.
        outputs: features of a node.
    """

    slots: Tensor

    def __init__(self, space: SearchSpace, outputs: int) -> None:
        super().__init__()
        size = space.nodes_per_cell
        source, target = possible_edges(space)
        slots = (target // size * size + target % size) * size + source % size
        self.register_buffer("slots", slots, persistent=False)  # in [cell, target, source]
        self.shape = (len(space.cells), size, size)
        self.targets, self.sources = space.targets, space.sources
        self.vectors = nn.Parameter(0.5 * torch.randn(len(slots), len(space.operations), outputs))

    def forward(self, cells: Cells) -> Tensor:
        """The sums, `[outputs, cell, node, batch]`."""
        vectors = self.vectors.new_zeros(cells.adjacency[..., 0].numel(), *self.vectors.shape[1:])
        vectors = vectors.index_copy(0, self.slots, self.vectors).unflatten(0, self.shape)
        carrying = (slice(None), self.targets, self.sources)  # no other pair of nodes has an edge
        edges = cells.adjacency[carrying] * cells.operations[:, *carrying]
        sums = torch.einsum("octsb,ctsof->fctb", edges, vectors[carrying])
        return F.pad(sums, (0, 0, self.targets.start, 0))


class EdgeClassifier(nn.Module):
    """The operation of an edge, by two layers on the latents of both its ends.

    The first layer is linear in both ends until its ReLU, so it acts once on every node, not on every pair.

    Args:
        inputs: features of a node.
        hidden: width of the first layer.
        operations: how many there are to choose from.
    """

    def __init__(self, inputs: int, hidden: int, operations: int) -> None:
        super().__init__()
        bound = (2 * inputs) ** -0.5  # as `nn.Linear` on the features of both ends would draw them
        self.ends = nn.Linear(inputs, 2 * hidden, bias=False)
        nn.init.uniform_(self.ends.weight, -bound, bound)
        self.bias = nn.Parameter(torch.empty(hidden).uniform_(-bound, bound))
        self.score = ColumnLinear(hidden, operations)

    def project(self, sources: Placed, targets: Placed) -> tuple[Tensor, Tensor]:
        """The shares of nodes in the first layer, as sources and as targets of edges, each `[hidden, …]`."""
        of_source, of_target = self.ends.weight.chunk(2)
        return placed_linear(sources, of_source), placed_linear(targets, of_target, self.bias)

    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        """Logits `[operations, …]` of edges, from what `project` gives for both their ends, broadcast."""
        return self.score(F.relu(source + target))


def contract(equation: str, left: Tensor, right: Tensor) -> Tensor:
    """`torch.einsum` of two factors; in compiled code, by sums of products that the compiler fuses.

    It would call a library for a batched product, and on graphs so small the call costs more than the
    product does.
    """
    if not torch.compiler.is_compiling():
        return torch.einsum(equation, left, right)
    factors, result = equation.split("->")
    names = result + "".join(sorted(set(factors) - set(result) - {","}))
    wide = []
    for axes, factor in zip(factors.split(","), (left, right), strict=True):
        order = [axes.index(name) for name in names if name in axes]
        shape = [factor.shape[axes.index(name)] if name in axes else 1 for name in names]
        wide.append(factor.permute(order).view(shape))
    return (wide[0] * wide[1]).sum(tuple(range(len(result), len(names))))
