"""One epoch of the `paper` preset on ten graphs: the plain PyG loop against ours, in turn in one run.

Both start from the same weights and draw the same noise. The PyG loop is the usual one: a `Batch` of
the ten graphs, `GATConv`, `GCNConv`, `VGAE`, `torch.optim.Adam`, `CosineAnnealingLR`.
"""

import json
import time
from collections.abc import Callable
from dataclasses import replace
from statistics import median

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch_geometric.data import Batch
from torch_geometric.nn import VGAE as PyGVGAE  # noqa: N811
from torch_geometric.nn import GATConv, GCNConv

from models.genotypes.genotype import random_tensor
from models.genotypes.graph import Graph, from_tensor
from models.genotypes.search_space import DARTS
from models.latent_spaces.fit import LatentFit
from models.latent_spaces.vgae import DEFAULT_SEED, PRESETS, LatentRecipe

GRAPHS, COMPARED, EPOCHS, ROUNDS = 10, 100, 200, 7
OURS = 20 * EPOCHS
"""Epochs of ours in a round, which then takes about as long as that of PyG's loop."""


class PlainEncoder(nn.Module):
    """The paper's encoder of PyG's layers."""

    def __init__(self, recipe: LatentRecipe) -> None:
        super().__init__()
        self.kind = nn.Embedding(3, recipe.embedding)
        self.operation = nn.Embedding(len(DARTS.operations), recipe.embedding)
        width = recipe.hidden // recipe.heads
        self.gat = GATConv(recipe.embedding, width, recipe.heads, edge_dim=recipe.embedding)
        self.mu = GCNConv(recipe.hidden, recipe.latent_dimension)
        self.logstd = GCNConv(recipe.hidden, recipe.latent_dimension)

    def forward(self, kinds: Tensor, edge_index: Tensor, operations: Tensor) -> tuple[Tensor, Tensor]:
        """`mu` and `logstd` of every node."""
        h = F.relu(self.gat(self.kind(kinds), edge_index, operations @ self.operation.weight))
        return self.mu(h, edge_index), self.logstd(h, edge_index)


class PlainLoop:
    """The usual training loop, with the weights of ours to start from."""

    def __init__(self, graph: Graph, ours: LatentFit) -> None:
        recipe = ours.recipe
        self.recipe = recipe
        batch = Batch.from_data_list([graph.to_pyg(i) for i in range(len(graph))])
        self.kinds, self.edge_index, self.operations = batch.x, batch.edge_index, batch.edge_attr
        absent = 1 - graph.adjacency - torch.eye(DARTS.nodes)
        row, source, target = absent.nonzero(as_tuple=True)
        self.absent = torch.stack([source, target]) + row * DARTS.nodes
        self.net = PyGVGAE(PlainEncoder(recipe))
        self.classifier = nn.Sequential(
            nn.Linear(2 * recipe.latent_dimension, recipe.hidden),
            nn.ReLU(),
            nn.Linear(recipe.hidden, len(DARTS.operations)),
        )
        self._copy(ours)
        parameters = [*self.net.parameters(), *self.classifier.parameters()]
        self.optimizer = torch.optim.Adam(parameters, recipe.learning_rate)
        self.schedule = torch.optim.lr_scheduler.CosineAnnealingLR(
            self.optimizer, recipe.max_epochs, recipe.learning_rate_min
        )

    def epoch(self, noise: Tensor) -> Tensor:
        """One step; its loss."""
        recipe = self.recipe
        self.optimizer.zero_grad()
        mu, logstd = self.net.encoder(self.kinds, self.edge_index, self.operations)
        z = mu + noise.flatten(0, 1) * logstd.exp()
        source, target = self.edge_index
        positive = -F.logsigmoid((z[source] * z[target]).sum(1)).mean()
        negative = -F.logsigmoid(-(z[self.absent[0]] * z[self.absent[1]]).sum(1)).mean()
        scores = self.classifier(torch.cat([z[source], z[target]], dim=1))
        edge = F.cross_entropy(scores, self.operations)
        kl = self.net.kl_loss(mu, logstd) / DARTS.nodes
        loss = (
            recipe.positive_weight * positive
            + recipe.negative_weight * negative
            + recipe.edge_weight * edge
            + recipe.kl_weight * kl
        )
        loss.backward()
        self.optimizer.step()
        self.schedule.step()
        return loss.detach()

    @torch.no_grad()
    def _copy(self, ours: LatentFit) -> None:
        encoder, theirs, decoder = ours.net.encoder, self.net.encoder, ours.net.decoder
        assert encoder.gat is not None
        theirs.kind.weight.copy_(encoder.kind.weight)
        theirs.operation.weight.copy_(encoder.operation.T)
        for linear in ("lin", "lin_edge"):
            getattr(theirs.gat, linear).weight.copy_(getattr(encoder.gat, linear).weight)
        for attention in ("att_src", "att_dst", "att_edge"):
            getattr(theirs.gat, attention).copy_(getattr(encoder.gat, attention)[None])
        mu, logstd = encoder.posterior.lin.weight.chunk(2)
        theirs.mu.lin.weight.copy_(mu)
        theirs.logstd.lin.weight.copy_(logstd)
        first, _, last = self.classifier
        first.weight.copy_(torch.cat(decoder.classifier.ends.weight.chunk(2), dim=1))
        first.bias.copy_(decoder.classifier.bias)
        last.load_state_dict(decoder.classifier.score.state_dict())


def noises(ours: LatentFit) -> Callable[[int], Tensor]:
    """The noise that ours draws in its next epochs."""
    generator = torch.Generator().manual_seed(ours.seed * 1_000_003 + ours.epoch)
    return lambda count: torch.randn(
        count, GRAPHS, DARTS.nodes, ours.recipe.latent_dimension, generator=generator
    )


def nothing() -> None:
    """There is nothing to check between epochs."""


def compare(graph: Graph, recipe: LatentRecipe) -> float:
    """The relative difference of both losses after some epochs from the same weights and noise."""
    ours = LatentFit(graph, DARTS, replace(recipe, max_epochs=COMPARED), DEFAULT_SEED, torch.device("cpu"))
    plain, draw = PlainLoop(graph, ours), noises(ours)
    losses = [plain.epoch(draw(1)[0]) for _ in range(COMPARED)]
    mean = float(torch.stack(losses).mean())
    return abs(ours.run(nothing).losses["total"] - mean) / mean


def main() -> None:
    """Prints the medians and their ratio."""
    recipe = PRESETS["paper"]
    graph = from_tensor(random_tensor(GRAPHS, DARTS, torch.Generator().manual_seed(0)), DARTS)
    difference = compare(graph, recipe)
    ours = LatentFit(graph, DARTS, recipe, DEFAULT_SEED, torch.device("cpu"))
    plain, draw = PlainLoop(graph, ours), noises(ours)
    generator = torch.Generator().manual_seed(0)
    began = time.perf_counter()
    ours.advance(recipe.max_epochs, generator)
    compile_s = time.perf_counter() - began
    times: dict[str, list[float]] = {"pyg": [], "ours": []}
    for _ in range(ROUNDS):
        began = time.perf_counter()
        for _ in range(EPOCHS):
            plain.epoch(draw(1)[0])
        times["pyg"].append((time.perf_counter() - began) / EPOCHS)
        began, start = time.perf_counter(), ours.epoch
        while ours.epoch < start + OURS:
            ours.advance(recipe.max_epochs, generator)
        times["ours"].append((time.perf_counter() - began) / OURS)
    pyg, fast = (1e6 * median(times[name]) for name in ("pyg", "ours"))
    figures = {
        "pyg_us_per_epoch": round(pyg),
        "ours_us_per_epoch": round(fast),
        "ratio": round(pyg / fast, 1),
        "loss_difference_after_100_epochs": difference,
        "compile_s": round(compile_s, 1),
        "projected_minutes_500k": round(500_000 * fast / 60e6, 1),
        "note": ours.note,
        "threads": torch.get_num_threads(),
        "device": "cpu",
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
