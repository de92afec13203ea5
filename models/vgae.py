"""The variational graph auto-encoder over genotypes (Hemmi, Tanigaki, Onishi, 2025, section 3).

Every graph of a space has the same two cells of seven nodes, so a batch is dense: `graph.Cells`. Its layers
are in `layers.py`.

How sums and means are taken: reconstruction is a mean over the edges plus a mean over the pairs
without one, the edge classifier's loss a mean over the edges, and the KL term a mean over nodes
divided by the number of nodes, all as PyG's `VGAE` has them. With sums, or with the KL term not
divided, KL outweighs the rest and the decoder reconstructs nothing.
"""

from dataclasses import dataclass, fields
from itertools import combinations
from typing import Annotated, Literal, cast

import torch
import torch.nn.functional as F
from annotated_types import Ge, Gt, Le
from torch import Tensor, nn

from models.genotype import legal_predecessors
from models.graph import KINDS, Cells, Graph, cells, from_tensor, node_kinds, possible_edges
from models.layers import DenseGAT, DenseGCN, contract, convolve
from models.search_space import CELLS, SearchSpace

MAX_LOGSTD = 10.0
"""Above it, a standard deviation is cut off, as in PyG."""


@dataclass(frozen=True)
class LatentRecipe:
    """All hyper-parameters of a latent space.

    `encoder` is one of the paper's two. An epoch takes `batch_size` members, all if there are fewer, and
    `random_genotypes` of the space beside them. `positions`, `incoming`, `directed` and `exclusive` are the
    additions beyond the paper; `docs/latent-space.md` says what each one does and buys.

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


class Encoder(nn.Module):
    """Genotype graphs to the mean and log standard deviation of each node's latent (eq. 3)."""

    kinds: Tensor
    slots: Tensor

    def __init__(self, space: SearchSpace, recipe: LatentRecipe) -> None:
        super().__init__()
        self.recipe = recipe
        self.shape = (len(CELLS), space.nodes_per_cell)
        hidden = recipe.hidden
        self.register_buffer("kinds", F.one_hot(node_kinds(space), len(KINDS)).float(), persistent=False)
        self.kind = nn.Embedding(len(KINDS), recipe.embedding)
        self.gat: DenseGAT | None = None
        if recipe.encoder == "gat-gcn":
            self.operation = nn.Embedding(len(space.operations), recipe.embedding)
            self.gat = DenseGAT(recipe.embedding, hidden, recipe.heads)
            self.edge = nn.Linear(recipe.embedding, hidden, bias=False)
            self.edge_attention = nn.Parameter(torch.empty(recipe.heads, hidden // recipe.heads))
            nn.init.xavier_uniform_(self.edge_attention)
        else:
            self.gcn = DenseGCN(recipe.embedding, hidden)
        if recipe.positions:
            self.position = nn.Embedding(space.nodes, recipe.embedding)
        if recipe.incoming:
            # one vector for every (edge, operation), in place of one for every operation
            source, target = possible_edges(space)
            cell, size = target // space.nodes_per_cell, space.nodes_per_cell
            slots = (cell * size + target % size) * size + source % size
            self.register_buffer("slots", slots, persistent=False)  # in [cell, target, source]
            shape = (len(slots), len(space.operations), hidden)
            self.incoming = nn.Parameter(0.5 * torch.randn(shape))
            self.direct = nn.Linear(hidden, 2 * recipe.latent_dimension)
        self.mu = DenseGCN(hidden, recipe.latent_dimension)
        self.logstd = DenseGCN(hidden, recipe.latent_dimension)

    def forward(self, cells: Cells) -> tuple[Tensor, Tensor]:
        """`mu` and `logstd`, each `[latent dimension, cell, node, batch]`."""
        # sums of products with constant 0/1 values in place of a look-up, whose gradient would scatter
        x = (self.kinds[..., None] * self.kind.weight).sum(1)
        if self.recipe.positions:
            x = x + self.position.weight
        x = x.T.unflatten(1, self.shape)
        if self.gat is not None:
            # attention times the features of every operation, the two weights first: that is less work
            weight = self.edge.weight.unflatten(0, (self.recipe.heads, -1))
            attention = (weight * self.edge_attention[..., None]).sum(1)  # [head, embedding]
            h = self.gat(x, cells, (attention[:, None] * self.operation.weight).sum(-1))
        else:
            h = self.gcn(x[..., None], cells)
        # both graph convolutions in one
        weight = torch.cat([self.mu.weight.weight, self.logstd.weight.weight])
        both = convolve(F.relu(h), cells, weight, torch.cat([self.mu.bias, self.logstd.bias]))
        if self.recipe.incoming:
            own = F.relu(self._incoming(cells))
            both = both + torch.einsum("of,f...->o...", self.direct.weight, own)
            both = both + self.direct.bias[:, None, None, None]
        mu, logstd = both.chunk(2)
        return mu, logstd.clamp(max=MAX_LOGSTD)

    def _incoming(self, cells: Cells) -> Tensor:
        """Sums of the vectors of every node's edges, `[hidden, cell, node, batch]`."""
        vectors = self.incoming.new_zeros(cells.adjacency[..., 0].numel(), *self.incoming.shape[1:])
        vectors = vectors.index_copy(0, self.slots, self.incoming)
        vectors = vectors.unflatten(0, cells.adjacency.shape[:3])  # [cell, target, source, operation, hidden]
        weighted = cells.adjacency * cells.operations
        return torch.einsum("octsb,ctsof->fctb", weighted, vectors)


class Decoder(nn.Module):
    """Latents to the score of every edge (eq. 4) and of every operation on it.

    Operations are scored from every node but a cell's output to every node but its inputs: no other pair
    can carry an edge, or a loss.
    """

    def __init__(self, space: SearchSpace, recipe: LatentRecipe) -> None:
        super().__init__()
        self.recipe = recipe
        self.inputs = space.inputs
        inputs = recipe.latent_dimension
        if recipe.positions:
            self.position = nn.Embedding(space.nodes, recipe.embedding)
            inputs += recipe.embedding
        if recipe.directed:
            self.source = _mlp(inputs, recipe.hidden, recipe.hidden)
            self.target = _mlp(inputs, recipe.hidden, recipe.hidden)
        self.classify = _mlp(2 * inputs, recipe.hidden, len(space.operations))

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Logits of edges and of operations, `[operation, cell, target, source, batch]`.

        Those of edges are `edges`, or where edges are exclusive the `predecessors` alone.

        Args:
            z: `[latent dimension, cell, node, batch]`.
        """
        z = self.placed(z)
        leaving, entering = self.ends(z)
        edges = self.predecessors(z) if self.recipe.exclusive else self.edges(z)
        return edges, self.operations(leaving[:, :, None, :-1], entering[:, :, :, None])

    def placed(self, z: Tensor) -> Tensor:
        """Latents with the positions of their nodes, where the recipe has them."""
        if not self.recipe.positions:
            return z
        position = self.position.weight.T.unflatten(1, z.shape[1:3])[..., None]
        return torch.cat([z, position.expand(-1, *z.shape[1:])])

    def edges(self, z: Tensor) -> Tensor:
        """Logits of edges between all nodes of the graph, `[node, node, batch]`, the source first."""
        source, target = self._maps(z)
        return contract("fib,fjb->ijb", source.flatten(1, 2), target.flatten(1, 2))

    def predecessors(self, z: Tensor) -> Tensor:
        """Logits of edges into the intermediate nodes of a cell, `[cell, target, source, batch]`."""
        source, target = self._maps(z)
        return contract("fcsb,fctb->ctsb", source[:, :, :-2], target[:, :, self.inputs : -1])

    def _maps(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Every node as the source and as the target of an edge."""
        if not self.recipe.directed:
            return z, z
        return _columns(self.source, z), _columns(self.target, z)

    def ends(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """What every node brings to the operations of its edges.

        The classifier's first layer acts on both ends of an edge alone, so it runs once a node, not once
        a pair.

        Returns:
            as a source `[hidden, cell, node, batch]`, and as a target the same of all nodes but the inputs.
        """
        first, _ = _linears(self.classify)
        both = (torch.cat(first.weight.chunk(2, dim=1)) @ z.flatten(1)).view(-1, *z.shape[1:])
        leaving, entering = both.chunk(2)
        return leaving, entering[:, :, self.inputs :] + first.bias[:, None, None, None]

    def operations(self, leaving: Tensor, entering: Tensor) -> Tensor:
        """Logits of operations, `[operation, …]`, of both `ends` of edges, `[hidden, …]`."""
        _, last = _linears(self.classify)
        hidden = F.relu(leaving + entering)
        scores = (last.weight @ hidden.flatten(1)).view(-1, *hidden.shape[1:])
        return scores + last.bias.view(-1, *[1] * (hidden.dim() - 1))


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
        # [target, source, 1] of one cell, without the targets and sources that no edge can have
        legal = F.pad(legal_predecessors(space), (0, 1, 0, 1))[..., None]
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
        mu, logstd = self.encoder(cells(graph, self.space))
        return mu.flatten(1, 2).permute(2, 1, 0), logstd.flatten(1, 2).permute(2, 1, 0)

    def decode(self, z: Tensor) -> Graph:
        """Scores as a soft graph; `graph.to_tensor` turns it into legal genotypes.

        Args:
            z: `[batch, nodes, latent dimension]`.
        """
        placed = self.decoder.placed(self._by_cell(z))
        leaving, entering = self.decoder.ends(placed)
        edges = self.decoder.edges(placed)
        scores = self.decoder.operations(leaving[:, :, None, :-1], entering[:, :, :, None])
        size, first = self.space.nodes_per_cell, self.space.inputs
        operations = scores.new_zeros(len(z), *edges.shape[:2], len(scores))
        for cell, offset in enumerate(range(0, self.space.nodes, size)):
            sources, targets = slice(offset, offset + size - 1), slice(offset + first, offset + size)
            operations[:, sources, targets] = scores[:, cell].permute(3, 2, 1, 0)
        return Graph(self.kinds, edges.permute(2, 0, 1), operations)

    def genotypes(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """The legal genotypes that latents decode to.

        Each intermediate node takes its best legal predecessors, each of these edges its best operation.
        Of all other edges no operation is scored: the same genotypes as of `decode`, for less.

        Args:
            z: `[batch, nodes, latent dimension]`.

        Returns:
            int64 in the form of `genotype.to_tensor`, and boolean `[batch]`: whether the scores, taken as
            they stand (edges by a threshold, where they are not exclusive), are another graph.
        """
        placed = self.decoder.placed(self._by_cell(z))
        scores = torch.nan_to_num(self.decoder.predecessors(placed))
        scores = scores.masked_fill(~self.legal[:-1, :-1], -torch.inf)
        kept = scores.topk(self.space.predecessors, dim=2).indices.sort(dim=2).values
        leaving, entering = self.decoder.ends(placed)
        rows = kept.flatten(1, 2).expand(len(leaving), -1, -1, -1)
        leaving = leaving.gather(2, rows).view(-1, *kept.shape)
        logits = self.decoder.operations(leaving, entering[:, :, :-1, None])
        choices = torch.tensor(self.space.choices, device=logits.device)
        operations = choices[logits[choices].argmax(0)]
        genotypes = torch.stack([operations, kept], dim=-1).permute(3, 0, 1, 2, 4)
        if self.recipe.exclusive:
            return genotypes, torch.zeros(len(z), dtype=torch.bool, device=z.device)
        raw = (self.decoder.edges(placed) > 0).permute(2, 0, 1).triu(1)
        same = (raw == (from_tensor(genotypes.cpu(), self.space).adjacency > 0).to(raw.device)).all((1, 2))
        return genotypes, ~(same & (logits.argmax(0) == operations).flatten(0, 2).all(0))

    def forward(self, batch: Cells, noise: Tensor) -> Losses:
        """The loss on a batch, with `z = mu + noise * exp(logstd)`.

        Args:
            batch: of discrete or continuous graphs.
            noise: standard normal, `[batch, nodes, latent dimension]`.
        """
        mu, logstd = self.encoder(batch)
        edges, scores = self.decoder(mu + self._by_cell(noise) * logstd.exp())
        recipe, first = self.recipe, self.space.inputs
        weights, wanted = batch.adjacency[:, first:, :-1], batch.operations[:, :, first:, :-1]
        if recipe.exclusive:
            positive, negative = self._exclusive(edges, batch.adjacency), edges.new_zeros(())
            scores = scores.masked_fill(self.none[:, None, None, None, None], -1e4)
            weights = weights * self.legal
        else:
            missed = F.softplus(-edges)  # -log sigmoid(x); and -log sigmoid(-x) = x + softplus(-x)
            positive = (batch.present * missed).sum() / batch.present.sum()
            negative = (batch.absent * (edges + missed)).sum() / batch.absent.sum()
        crossed = -(wanted * F.log_softmax(scores, dim=0)).sum(0)
        edge = (weights * crossed).sum() / weights.sum()
        nodes = self.space.nodes
        kl = -0.5 * (1 + 2 * logstd - mu**2 - (2 * logstd).exp()).sum(0).mean() / nodes
        total = (
            recipe.positive_weight * positive
            + recipe.negative_weight * negative
            + recipe.edge_weight * edge
            + recipe.kl_weight * kl
        )
        return Losses(total, positive, negative, edge, kl)

    def _by_cell(self, z: Tensor) -> Tensor:
        """`[batch, nodes, latent dimension]` to `[latent dimension, cell, node, batch]`."""
        return z.permute(2, 1, 0).unflatten(1, (-1, self.space.nodes_per_cell))

    def _exclusive(self, scores: Tensor, adjacency: Tensor) -> Tensor:
        """Cross-entropy of the predecessors of each node, given that there are so many.

        Given its number of predecessors, a set `S` has probability proportional to
        `exp(sum of the scores in S)`. So the best set is the best scores: decoding by the two best
        predecessors is decoding at the mode, and every decoded graph is legal.

        Args:
            scores: of `Decoder.predecessors`.
            adjacency: `[cell, target, source, batch]`.
        """
        legal = self.legal[:-1, :-1]
        scores = scores.masked_fill(~legal, -1e4)
        wanted = adjacency[:, self.space.inputs : -1, :-2] * legal  # [cell, target, source, batch]
        normaliser = scores[:, :, self.sets].sum(3).logsumexp(2)
        return (normaliser - (wanted * scores).sum(2)).mean()


def _columns(mlp: nn.Sequential, x: Tensor) -> Tensor:
    """An MLP on every column of `[features, …]`."""
    first, last = _linears(mlp)
    hidden = F.relu(first.weight @ x.flatten(1) + first.bias[:, None])
    return (last.weight @ hidden + last.bias[:, None]).view(-1, *x.shape[1:])


def _mlp(inputs: int, hidden: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, hidden), nn.ReLU(), nn.Linear(hidden, outputs))


def _linears(mlp: nn.Sequential) -> tuple[nn.Linear, nn.Linear]:
    first, _, last = mlp
    return cast(nn.Linear, first), cast(nn.Linear, last)
