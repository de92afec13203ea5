"""The variational graph auto-encoder over genotypes (Hemmi, Tanigaki, Onishi, 2025, section 3).

Every graph of a space has the same cells of as many nodes, so a batch is dense: `graph.Cells`. Its layers
are in `layers.py`.

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

from models.genotypes.genotype import best_predecessors, legal_predecessors, random_tensor
from models.genotypes.graph import KINDS, Cells, Graph, cells, from_tensor, node_kinds
from models.genotypes.search_space import SearchSpace
from models.latent_spaces.layers import (
    ColumnLinear,
    DenseGAT,
    DenseGCN,
    EdgeClassifier,
    IncomingEdges,
    OneHotEmbedding,
    Placed,
    PlacedLinear,
    contract,
)

DEFAULT_SEED = 2024
"""The paper's."""

DECODED_TOGETHER = 512
"""Latents that are decoded at once: so many stay in a processor's cache."""

MAX_LOGSTD = 10.0
"""Above it, a standard deviation is cut off, as in PyG."""


@dataclass(frozen=True)
class LatentRecipe:
    """All hyper-parameters of a latent space.

    `encoder` is one of the paper's two. With an `accuracy_weight` the space learns its members' accuracies
    too, as `accuracy.AccuracyFit` has it. An epoch takes `batch_size` members, all if there are fewer, and
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
    accuracy_weight: Annotated[float, Ge(0), Le(1000)] = 0.0
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
        latent_dimension=10,
        batch_size=256,
        random_genotypes=128,
        max_epochs=1_500,
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


SPANNING, SPANNING_SEED = 1_000, 2024
"""Random genotypes that span the box of a space that was trained on such."""


class Encoder(nn.Module):
    """Genotype graphs to the mean and log standard deviation of each node's latent (eq. 3)."""

    kinds: Tensor

    def __init__(self, space: SearchSpace, recipe: LatentRecipe) -> None:
        super().__init__()
        self.recipe = recipe
        self.shape = (len(space.cells), space.nodes_per_cell)
        embedding, hidden = recipe.embedding, recipe.hidden
        self.register_buffer("kinds", F.one_hot(node_kinds(space), len(KINDS)).float(), persistent=False)
        self.kind = OneHotEmbedding(len(KINDS), embedding)
        self.gat: DenseGAT | None = None
        if recipe.encoder == "gat-gcn":
            self.operation = nn.Parameter(torch.randn(embedding, len(space.operations)))
            self.gat = DenseGAT(embedding, hidden, recipe.heads, edge_dim=embedding)
        else:
            self.gcn = DenseGCN(embedding, hidden)
        if recipe.positions:
            self.position = nn.Parameter(torch.randn(space.nodes, embedding))
        if recipe.incoming:
            self.incoming = IncomingEdges(space, hidden)
            self.direct = ColumnLinear(hidden, 2 * recipe.latent_dimension)
        self.posterior = DenseGCN(hidden, 2 * recipe.latent_dimension)  # mu and logstd at once

    def forward(self, cells: Cells) -> tuple[Tensor, Tensor]:
        """`mu` and `logstd`, each `[latent dimension, cell, node, batch]`."""
        x = self.kind(self.kinds)
        if self.recipe.positions:
            x = x + self.position
        x = x.T.unflatten(1, self.shape)
        h = self.gcn(x[..., None], cells) if self.gat is None else self.gat(x, cells, self.operation)
        both = self.posterior(F.relu(h), cells)
        if self.recipe.incoming:
            both = both + self.direct(F.relu(self.incoming(cells)))
        mu, logstd = both.chunk(2)
        return mu, logstd.clamp(max=MAX_LOGSTD)


class Decoder(nn.Module):
    """Latents to the score of every edge (eq. 4) and of every operation on it.

    Operations are scored from every node but a cell's output to every node but its inputs: no other pair
    can carry an edge, or a loss.
    """

    into: Tensor

    def __init__(self, space: SearchSpace, recipe: LatentRecipe) -> None:
        super().__init__()
        self.space, self.recipe = space, recipe
        self.register_buffer("into", torch.tensor(space.kept) - space.choosers.start, persistent=False)
        inputs, hidden = recipe.latent_dimension, recipe.hidden
        if recipe.positions:
            self.position = nn.Parameter(torch.randn(space.nodes, recipe.embedding))
            inputs += recipe.embedding
        if recipe.directed:
            self.source, self.target = (
                nn.Sequential(PlacedLinear(inputs, hidden), nn.ReLU(), ColumnLinear(hidden, hidden))
                for _ in range(2)
            )
        self.classifier = EdgeClassifier(inputs, hidden, len(space.operations))

    def placed(self, z: Tensor) -> Placed:
        """Latents, `[latent dimension, cell, node, batch]`, and the positions that the recipe may have."""
        return Placed(z, self.position.T.unflatten(1, z.shape[1:3]) if self.recipe.positions else None)

    def edges(self, x: Placed) -> Tensor:
        """Logits of edges between all nodes of the graph, `[node, node, batch]`, the source first."""
        source, target = self._maps(x, x)
        return contract("fib,fjb->ijb", source.flatten(1, 2), target.flatten(1, 2))

    def predecessors(self, x: Placed) -> Tensor:
        """Logits of edges into the choosers of a cell, `[cell, target, source, batch]`."""
        source, target = self._maps(x.nodes(self.space.candidates), x.nodes(self.space.choosers))
        return contract("fcsb,fctb->ctsb", source, target)

    def operations(self, x: Placed) -> Tensor:
        """Logits of operations on every pair, `[operation, cell, target, source, batch]`."""
        sources, targets = x.nodes(self.space.sources), x.nodes(self.space.targets)
        source, target = self.classifier.project(sources, targets)
        return self.classifier(source[:, :, None], target[:, :, :, None])

    def operations_from(self, x: Placed, predecessors: Tensor) -> Tensor:
        """Logits of operations on the edges from chosen predecessors alone.

        Args:
            x: latents of nodes.
            predecessors: int64 `[cell, edge, batch]`.

        Returns:
            `[operation, cell, edge, batch]`.
        """
        sources, targets = x.nodes(self.space.candidates), x.nodes(self.space.choosers)
        source, target = self.classifier.project(sources, targets)
        source = source.gather(2, predecessors.expand(len(source), -1, -1, -1))
        if self.space.predecessors == "all":
            return self.classifier(source, target[:, :, self.into])
        by_node = source.unflatten(2, (-1, self.space.predecessors))
        return self.classifier(by_node, target[:, :, :, None]).flatten(2, 3)

    def _maps(self, sources: Placed, targets: Placed) -> tuple[Tensor, Tensor]:
        """Nodes as the sources and as the targets of edges."""
        if self.recipe.directed:
            return self.source(sources), self.target(targets)
        return sources.joined(), targets.joined()


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
        # of one cell, [chooser, candidate, 1]
        self.register_buffer("legal", legal_predecessors(space)[..., None], persistent=False)
        none = torch.zeros(len(space.operations), dtype=torch.bool)
        if "none" in space.operations and not space.none:
            none[space.operation("none")] = True
        self.register_buffer("none", none, persistent=False)
        # every set of predecessors that a node could have, [sets, predecessors]; none where it has them all
        taken = 0 if space.predecessors == "all" else space.predecessors
        sets = list(combinations(range(space.candidates.stop), taken))
        self.register_buffer("sets", torch.tensor(sets, dtype=torch.int64), persistent=False)
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
        edges, scores = self.decoder.edges(placed), self.decoder.operations(placed)
        operations = scores.new_zeros(len(z), *edges.shape[:2], len(scores))
        for cell, block in enumerate(self.space.blocks):
            within = operations[:, block, block]
            within[:, self.space.sources, self.space.targets] = scores[:, cell].permute(3, 2, 1, 0)
        return Graph(self.kinds, edges.permute(2, 0, 1), operations)

    def genotypes(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """The legal genotypes that latents decode to.

        Each node takes its best legal predecessors, or all, each of these edges its best operation.
        Of all other edges no operation is scored: the same genotypes as of `decode`, for less.

        Args:
            z: `[batch, nodes, latent dimension]`.

        Returns:
            int64 in the form of `genotype.to_tensor`, and boolean `[batch]`: whether the scores, taken as
            they stand (edges by a threshold, where they are not exclusive), are another graph.
        """
        placed = self.decoder.placed(self._by_cell(z))
        scores = torch.nan_to_num(self.decoder.predecessors(placed))
        kept = best_predecessors(scores.permute(3, 0, 1, 2), self.space).permute(1, 2, 0)
        logits = self.decoder.operations_from(placed, kept)
        choices = torch.tensor(self.space.choices, device=logits.device)
        operations = choices[logits[choices].argmax(0)]
        genotypes = torch.stack([operations, kept], dim=-1).permute(2, 0, 1, 3)
        if self.recipe.exclusive:
            return genotypes, torch.zeros(len(z), dtype=torch.bool, device=z.device)
        raw = (self.decoder.edges(placed) > 0).permute(2, 0, 1).triu(1)
        same = (raw == (from_tensor(genotypes.cpu(), self.space).adjacency > 0).to(raw.device)).all((1, 2))
        return genotypes, ~(same & (logits.argmax(0) == operations).flatten(0, 1).all(0))

    def forward(self, batch: Cells, noise: Tensor) -> Losses:
        """The loss on a batch, with `z = mu + noise * exp(logstd)`.

        Args:
            batch: of discrete or continuous graphs.
            noise: standard normal, `[batch, nodes, latent dimension]`.
        """
        mu, logstd = self.encoder(batch)
        return self.losses(batch, mu, logstd, noise)

    def losses(self, batch: Cells, mu: Tensor, logstd: Tensor, noise: Tensor) -> Losses:
        """The loss on a batch that is encoded already, each half `[latent dimension, cell, node, batch]`."""
        recipe, placed = self.recipe, self.decoder.placed(mu + self._by_cell(noise) * logstd.exp())
        if recipe.exclusive:
            scores = self.decoder.predecessors(placed)
            positive, negative = self._exclusive(scores, batch.adjacency), scores.new_zeros(())
        else:
            edges = self.decoder.edges(placed)
            missed = F.softplus(-edges)  # -log sigmoid(x); and -log sigmoid(-x) = x + softplus(-x)
            positive = (batch.present * missed).sum() / batch.present.sum()
            negative = (batch.absent * (edges + missed)).sum() / batch.absent.sum()
        chosen = recipe.exclusive and batch.predecessors is not None
        edge = self._chosen_operations(placed, batch) if chosen else self._operations(placed, batch)
        kl = -0.5 * (1 + 2 * logstd - mu**2 - (2 * logstd).exp()).sum(0).mean() / self.space.nodes
        total = (
            recipe.positive_weight * positive
            + recipe.negative_weight * negative
            + recipe.edge_weight * edge
            + recipe.kl_weight * kl
        )
        return Losses(total, positive, negative, edge, kl)

    def _operations(self, placed: Placed, batch: Cells) -> Tensor:
        """Cross-entropy of the operations on all pairs, a mean by the weights of the edges."""
        space, scores = self.space, self.decoder.operations(placed)
        weights = batch.adjacency[:, space.targets, space.sources]
        wanted = batch.operations[:, :, space.targets, space.sources]
        if space.none:  # an edge that is not there has an operation to tell as well: `none`
            weights = wanted.sum(0)
        if self.recipe.exclusive:
            scores = scores.masked_fill(self.none[:, None, None, None, None], -1e4)
            if space.output == "apart":  # the edges into it are given
                weights = weights * F.pad(self.legal, (0, 0, 0, 1, 0, 1))
        crossed = -(wanted * F.log_softmax(scores, dim=0)).sum(0)
        return (weights * crossed).sum() / weights.sum()

    def _chosen_operations(self, placed: Placed, batch: Cells) -> Tensor:
        """The same where all edges are known and of one weight: then no other pair needs a score."""
        space, predecessors = self.space, batch.predecessors
        assert predecessors is not None
        scores = self.decoder.operations_from(placed, predecessors)
        wanted = batch.operations[:, :, space.choosers, space.candidates]
        by_node = predecessors.unflatten(1, (wanted.shape[2], -1)).expand(len(wanted), -1, -1, -1, -1)
        wanted = wanted.gather(3, by_node).flatten(2, 3)
        scores = scores.masked_fill(self.none[:, None, None, None], -1e4)
        return -(wanted * F.log_softmax(scores, dim=0)).sum(0).mean()

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
        if self.space.predecessors == "all":
            return scores.new_zeros(())
        scores = scores.masked_fill(~self.legal, -1e4)
        wanted = adjacency[:, self.space.choosers, self.space.candidates] * self.legal
        normaliser = scores[:, :, self.sets].sum(3).logsumexp(2)
        return (normaliser - (wanted * scores).sum(2)).mean()


@torch.no_grad()
def encode(net: VGAE, graph: Graph) -> Tensor:
    """`mu` of every graph, `[batch, nodes, latent dimension]`."""
    return net.encode(graph)[0]


def spanning(net: VGAE, latents: Tensor) -> Tensor:
    """The latents that span the box of equation 8.

    A space that was trained on random genotypes beside its members decodes all that lies among them, so they
    span the box together with the members: then a step is as wide with five members as with a thousand. Where
    there are none, as in the paper, members alone do.

    Args:
        net: of the space.
        latents: of its members, `[members, nodes, latent dimension]`.
    """
    if net.recipe.random_genotypes == 0:
        return latents
    drawn = random_tensor(SPANNING, net.space, torch.Generator().manual_seed(SPANNING_SEED))
    return torch.cat([latents, encode(net, from_tensor(drawn, net.space))])


def decode(net: VGAE, z: Tensor) -> Tensor:
    """The genotypes of latents, always legal, in the form of `genotype.to_tensor`, on the CPU.

    Args:
        net: the space's VGAE.
        z: `[batch, nodes, latent dimension]`.
    """
    return decode_and_repair(net, z)[0]


def decode_and_repair(net: VGAE, z: Tensor) -> tuple[Tensor, Tensor]:
    """The same, and boolean `[batch]`: which latents' scores, as they stood, were another graph."""
    device = net.legal.device
    with torch.inference_mode():
        parts = [net.genotypes(part.to(device)) for part in z.split(DECODED_TOGETHER)]
    genotypes, repaired = zip(*parts, strict=True)  # joined outside, and so fit for gradients again
    return torch.cat(genotypes).cpu(), torch.cat(repaired).cpu()
