"""The variational graph auto-encoder over genotypes (Hemmi, Tanigaki, Onishi, 2025, section 3).

Every graph of a space has the same 14 nodes, so a batch is dense: `[batch, nodes, nodes]`. The dense
layers equal PyG's `GATConv` and `GCNConv` on the same graphs.

How sums and means are taken: reconstruction is a mean over the edges plus a mean over the pairs
without one, the edge classifier's loss a mean over the edges, and the KL term a mean over nodes
divided by the number of nodes, all as PyG's `VGAE` has them. With sums, or with the KL term not
divided, KL outweighs the rest and the decoder reconstructs nothing.
"""

from dataclasses import dataclass, fields
from itertools import combinations
from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from annotated_types import Ge, Gt, Le
from torch import Tensor, nn

from models.graph import KINDS, Graph, legal_edges, node_kinds, possible_edges
from models.search_space import SearchSpace

MAX_LOGSTD = 10.0
"""Above it, a standard deviation is cut off, as in PyG."""


@dataclass(frozen=True)
class LatentRecipe:
    """All hyper-parameters of a latent space.

    `encoder` is one of the paper's two. An epoch takes `batch_size` members, all if there are fewer, and
    `random_genotypes` of the space beside them. `positions`, `incoming`, `directed` and `exclusive` are the
    additions beyond the paper; `docs/latent-space.md` says what each one does.

    Raises:
        ValueError: `heads` does not divide `hidden`.
    """

    encoder: Literal["gat-gcn", "gcn"] = "gat-gcn"
    embedding: Annotated[int, Ge(1), Le(256)] = 16
    hidden: Annotated[int, Ge(1), Le(1024)] = 32
    heads: Annotated[int, Ge(1), Le(16)] = 4
    latent_dimension: Annotated[int, Ge(1), Le(64)] = 4
    batch_size: Annotated[int, Ge(2), Le(100_000)] = 100_000
    random_genotypes: Annotated[int, Ge(0), Le(10_000)] = 0
    max_epochs: Annotated[int, Ge(1), Le(500_000)] = 500_000
    early_end: bool = False
    learning_rate: Annotated[float, Gt(0), Le(1)] = 1e-3
    learning_rate_min: Annotated[float, Ge(0), Le(1)] = 2.5e-4
    positive_weight: Annotated[float, Ge(0), Le(1000)] = 2.0
    negative_weight: Annotated[float, Ge(0), Le(1000)] = 1.0
    edge_weight: Annotated[float, Ge(0), Le(1000)] = 0.5
    kl_weight: Annotated[float, Ge(0), Le(1000)] = 1.0
    positions: bool = False
    incoming: bool = False
    directed: bool = False
    exclusive: bool = False

    def __post_init__(self) -> None:
        if self.hidden % self.heads:
            raise ValueError(f"hidden ({self.hidden}) must be a multiple of heads ({self.heads})")


PRESETS: dict[str, LatentRecipe] = {
    "paper": LatentRecipe(),
    "paper-gcn": LatentRecipe(encoder="gcn"),
    "default": LatentRecipe(
        embedding=32,
        hidden=64,
        batch_size=256,
        random_genotypes=128,
        max_epochs=3_000,
        early_end=True,
        learning_rate=4e-3,
        learning_rate_min=1e-4,
        edge_weight=4.0,
        kl_weight=0.1,
        positions=True,
        incoming=True,
        directed=True,
        exclusive=True,
    ),
}


class DenseGAT(nn.Module):
    """Graph attention (Veličković et al., 2018) with edge features, as PyG's `GATConv` computes it.

    `h_j = sum_i a_ij W x_i + b`, where `a_ij` is the softmax over the predecessors `i` of `j` (and
    `j` itself) of `LeakyReLU(s·W x_i + t·W x_j + e_ij)`. On a continuous graph a predecessor counts
    in the softmax by its adjacency. A self-loop has the mean edge score of the node's edges.

    The features of a node are the same in every graph, and only the pairs of `possible_edges` are
    looked at, with the edges outermost and all graphs and heads side by side.

    Args:
        space: the search space.
        inputs, outputs: features of a node; `heads` divides `outputs`.
    """

    pairs: Tensor
    leaves: Tensor
    enters: Tensor

    def __init__(self, space: SearchSpace, inputs: int, outputs: int, heads: int) -> None:
        super().__init__()
        width = outputs // heads
        self.weight = nn.Linear(inputs, heads * width, bias=False)
        self.source = nn.Parameter(torch.empty(heads, width))
        self.target = nn.Parameter(torch.empty(heads, width))
        self.bias = nn.Parameter(torch.zeros(heads * width))
        self.heads = heads
        for parameter in (self.source, self.target):
            nn.init.xavier_uniform_(parameter)
        nn.init.xavier_uniform_(self.weight.weight)
        self.register_buffer("pairs", possible_edges(space), persistent=False)
        ends = F.one_hot(self.pairs, space.nodes).float()
        self.register_buffer("leaves", ends[0], persistent=False)  # [edge, node]
        self.register_buffer("enters", ends[1].T.contiguous(), persistent=False)  # [node, edge]

    def forward(self, x: Tensor, adjacency: Tensor, operations: Tensor, scores: Tensor) -> Tensor:
        """New features of every node, `[batch, nodes, outputs]`.

        Args:
            x: `[nodes, inputs]`.
            adjacency, operations: of a `Graph`.
            scores: `[operations, heads]`, of each operation's features.
        """
        source, target = self.pairs
        present = adjacency[:, source, target].T[..., None]  # [edge, batch, 1]
        edge = operations[:, source, target].transpose(0, 1) @ scores  # [edge, batch, head]
        h = self.weight(x).unflatten(-1, (self.heads, -1))  # [node, head, width]
        leaving, entering = (h * self.source).sum(-1), (h * self.target).sum(-1)  # [node, head]
        mean = self._into(present * edge) / self._into(present).clamp(min=1.0)
        logits = self.leaves @ leaving + self.enters.T @ entering
        logits = F.leaky_relu(logits[:, None] + edge, 0.2)
        own = F.leaky_relu((leaving + entering)[:, None] + mean, 0.2)  # [node, batch, head]
        largest = torch.maximum(logits.amax(0), own.amax(0)).detach()
        share, own = present * (logits - largest).exp(), (own - largest).exp()
        arriving = (self.leaves @ h.flatten(1)).unflatten(1, h.shape[1:])  # [edge, head, width]
        total = self._into(share) + own
        sums = self._into(share[..., None] * arriving[:, None]) + own[..., None] * h[:, None]
        return (sums / total[..., None]).flatten(2).transpose(0, 1) + self.bias

    def _into(self, x: Tensor) -> Tensor:
        """Sums over the edges that enter each node, `[edge, …]` to `[node, …]`."""
        return (self.enters @ x.flatten(1)).unflatten(1, x.shape[1:])


class DenseGCN(nn.Module):
    """Graph convolution (Kipf, Welling, 2017), `D^-1/2 (A + I) D^-1/2 X W + b`, as PyG's `GCNConv`."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Linear(inputs, outputs, bias=False)
        self.bias = nn.Parameter(torch.zeros(outputs))
        nn.init.xavier_uniform_(self.weight.weight)

    def forward(self, x: Tensor, adjacency: Tensor) -> Tensor:
        """New features of every node, `[batch, nodes, outputs]`."""
        return propagation(adjacency) @ self.weight(x) + self.bias


def propagation(adjacency: Tensor) -> Tensor:
    """`(D^-1/2 (A + I) D^-1/2)` transposed, `[batch, target, source]`, with degrees of incoming edges."""
    looped = adjacency.transpose(1, 2) + torch.eye(adjacency.shape[1], device=adjacency.device)
    scale = looped.sum(2).rsqrt()
    return looped * scale[:, :, None] * scale[:, None]


class Encoder(nn.Module):
    """Genotype graphs to the mean and log standard deviation of each node's latent (eq. 3)."""

    pairs: Tensor
    kinds: Tensor

    def __init__(self, space: SearchSpace, recipe: LatentRecipe) -> None:
        super().__init__()
        self.recipe = recipe
        hidden = recipe.hidden
        self.register_buffer("kinds", F.one_hot(node_kinds(space), len(KINDS)).float(), persistent=False)
        self.kind = nn.Embedding(len(KINDS), recipe.embedding)
        self.gat: DenseGAT | None = None
        if recipe.encoder == "gat-gcn":
            self.operation = nn.Embedding(len(space.operations), recipe.embedding)
            self.gat = DenseGAT(space, recipe.embedding, hidden, recipe.heads)
            self.edge = nn.Linear(recipe.embedding, hidden, bias=False)
            self.edge_attention = nn.Parameter(torch.empty(recipe.heads, hidden // recipe.heads))
            nn.init.xavier_uniform_(self.edge_attention)
        else:
            self.gcn = DenseGCN(recipe.embedding, hidden)
        if recipe.positions:
            self.position = nn.Embedding(space.nodes, recipe.embedding)
        if recipe.incoming:
            # one vector for every (edge, operation), in place of one for every operation
            self.register_buffer("pairs", possible_edges(space), persistent=False)
            shape = (self.pairs.shape[1], len(space.operations), hidden)
            self.incoming = nn.Parameter(0.5 * torch.randn(shape))
            self.direct = nn.Linear(hidden, 2 * recipe.latent_dimension)
        self.mu = DenseGCN(hidden, recipe.latent_dimension)
        self.logstd = DenseGCN(hidden, recipe.latent_dimension)

    def forward(self, graph: Graph) -> tuple[Tensor, Tensor]:
        """`mu` and `logstd`, each `[batch, nodes, latent dimension]`."""
        # products with constant 0/1 matrices in place of look-ups, whose gradient would scatter
        x = self.kinds @ self.kind.weight
        if self.recipe.positions:
            x = x + self.position.weight
        if self.gat is not None:
            features = self.edge(self.operation.weight).unflatten(-1, (self.recipe.heads, -1))
            by_operation = (features * self.edge_attention).sum(-1)  # [operation, head]
            h = self.gat(x, graph.adjacency, graph.operations, by_operation)
        else:
            h = self.gcn(x, graph.adjacency)
        h = F.relu(h)
        # both graph convolutions in one product
        weight = torch.cat([self.mu.weight.weight, self.logstd.weight.weight])
        bias = torch.cat([self.mu.bias, self.logstd.bias])
        mu, logstd = (propagation(graph.adjacency) @ F.linear(h, weight) + bias).chunk(2, dim=-1)
        if self.recipe.incoming:
            source, target = self.pairs
            weighted = graph.operations[:, source, target] * graph.adjacency[:, source, target, None]
            messages = torch.einsum("bpo,pof->bpf", weighted, self.incoming)
            own = torch.zeros_like(h).index_add(1, target, messages)
            direct_mu, direct_logstd = self.direct(F.relu(own)).chunk(2, dim=-1)
            mu, logstd = mu + direct_mu, logstd + direct_logstd
        return mu, logstd.clamp(max=MAX_LOGSTD)


class Decoder(nn.Module):
    """Latents to the score of every edge (eq. 4) and of every operation on it.

    Operations are scored on the pairs of `possible_edges` only: no other carries an edge, or a loss.
    """

    pairs: Tensor
    ends: Tensor

    def __init__(self, space: SearchSpace, recipe: LatentRecipe) -> None:
        super().__init__()
        self.recipe = recipe
        self.register_buffer("pairs", possible_edges(space), persistent=False)
        inputs = recipe.latent_dimension
        if recipe.positions:
            self.position = nn.Embedding(space.nodes, recipe.embedding)
            inputs += recipe.embedding
        if recipe.directed:
            self.source = _mlp(inputs, recipe.hidden, recipe.hidden)
            self.target = _mlp(inputs, recipe.hidden, recipe.hidden)
        self.classify = _mlp(2 * inputs, recipe.hidden, len(space.operations))
        # [edge, node]: picks the two ends of every edge by a product, whose gradient needs no scatter
        ends = F.one_hot(self.pairs, space.nodes).float()
        self.register_buffer("ends", ends, persistent=False)

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Logits of edges `[batch, nodes, nodes]` and of operations `[batch, possible edges, operations]`.

        Args:
            z: `[batch, nodes, latent dimension]`.
        """
        if self.recipe.positions:
            z = torch.cat([z, self.position.weight.expand(len(z), -1, -1)], dim=-1)
        source, target = (self.source(z), self.target(z)) if self.recipe.directed else (z, z)
        edges = source @ target.transpose(1, 2)
        ends = torch.cat([self.ends[0] @ z, self.ends[1] @ z], dim=-1)
        return edges, self.classify(ends)


@dataclass(frozen=True)
class Losses:
    """Equations 5 to 7: the parts of the loss and their weighted sum, each a scalar."""

    total: Tensor
    positive: Tensor
    negative: Tensor
    edge: Tensor
    kl: Tensor


LOSSES = tuple(field.name for field in fields(Losses))
"""Their names."""


class VGAE(nn.Module):
    """Encoder, decoder and loss.

    Args:
        space: the search space of the genotypes.
        recipe: the hyper-parameters.
    """

    legal: Tensor
    none: Tensor
    sets: Tensor
    kinds: Tensor

    def __init__(self, space: SearchSpace, recipe: LatentRecipe) -> None:
        super().__init__()
        self.space, self.recipe = space, recipe
        self.encoder, self.decoder = Encoder(space, recipe), Decoder(space, recipe)
        legal = torch.zeros(space.nodes, space.nodes, dtype=torch.bool)
        legal[tuple(legal_edges(space))] = True
        self.register_buffer("legal", legal, persistent=False)
        none = torch.zeros(len(space.operations), dtype=torch.bool)
        if "none" in space.operations:
            none[space.operation("none")] = True
        self.register_buffer("none", none, persistent=False)
        # every set of predecessors that a node could have, [sets, predecessors]
        sets = list(combinations(range(space.inputs + space.intermediates - 1), space.predecessors))
        self.register_buffer("sets", torch.tensor(sets), persistent=False)
        self.register_buffer("kinds", node_kinds(space), persistent=False)

    def encode(self, graph: Graph) -> tuple[Tensor, Tensor]:
        """`mu` and `logstd` of every node, `[batch, nodes, latent dimension]`."""
        mu, logstd = self.encoder(graph)
        return mu, logstd

    def decode(self, z: Tensor) -> Graph:
        """Scores as a soft graph; `graph.to_tensor` turns it into legal genotypes."""
        edges, scores = self.decoder(z)
        operations = scores.new_zeros(*edges.shape, scores.shape[-1])
        operations[:, self.decoder.pairs[0], self.decoder.pairs[1]] = scores
        return Graph(self.kinds, edges, operations)

    def forward(self, graph: Graph, noise: Tensor) -> Losses:
        """The loss on a batch, with `z = mu + noise * exp(logstd)`.

        Args:
            graph: the batch, discrete or continuous.
            noise: standard normal, `[batch, nodes, latent dimension]`.
        """
        mu, logstd = self.encode(graph)
        edges, operations = self.decoder(mu + noise * logstd.exp())
        recipe, adjacency = self.recipe, graph.adjacency
        source, target = self.decoder.pairs
        weights = adjacency[:, source, target]
        if recipe.exclusive:
            positive, negative = self._exclusive(edges, adjacency), edges.new_zeros(())
            operations = operations.masked_fill(self.none, -1e4)
            weights = weights * self.legal[source, target]
        else:
            absent = 1 - adjacency - torch.eye(adjacency.shape[1], device=edges.device)
            positive = -(adjacency * F.logsigmoid(edges)).sum() / adjacency.sum()
            negative = -(absent * F.logsigmoid(-edges)).sum() / absent.sum()
        wanted = graph.operations[:, source, target]
        crossed = -(wanted * F.log_softmax(operations, dim=-1)).sum(-1)
        edge = (weights * crossed).sum() / weights.sum()
        nodes = mu.shape[1]
        kl = -0.5 * (1 + 2 * logstd - mu**2 - (2 * logstd).exp()).sum(-1).mean() / nodes
        total = (
            recipe.positive_weight * positive
            + recipe.negative_weight * negative
            + recipe.edge_weight * edge
            + recipe.kl_weight * kl
        )
        return Losses(total, positive, negative, edge, kl)

    def _exclusive(self, edges: Tensor, adjacency: Tensor) -> Tensor:
        """Cross-entropy of the predecessors of each node, given that there are so many.

        Given its number of predecessors, a set `S` has probability proportional to
        `exp(sum of the scores in S)`. So the best set is the best scores: decoding by the two best
        predecessors is decoding at the mode, and every decoded graph is legal.
        """
        legal = self._windows(self.legal[None])
        scores = self._windows(edges).masked_fill(~legal, -1e4)  # [batch, node, predecessor]
        wanted = self._windows(adjacency) * legal
        normaliser = scores[..., self.sets].sum(-1).logsumexp(-1)
        return (normaliser - (wanted * scores).sum(-1)).mean()

    def _windows(self, x: Tensor) -> Tensor:
        """`[batch, nodes, nodes]` to `[batch, intermediate nodes of both cells, predecessor]`."""
        size, first = self.space.nodes_per_cell, self.space.inputs
        cells = [
            x[:, offset : offset + size - 2, offset + first : offset + size - 1].transpose(1, 2)
            for offset in range(0, self.space.nodes, size)
        ]
        return torch.cat(cells, dim=1)


def _mlp(inputs: int, hidden: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, hidden), nn.ReLU(), nn.Linear(hidden, outputs))
