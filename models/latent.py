"""Latent spaces: training a VGAE on member genotypes, their latents, and the map of them."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from torch.func import functional_call, grad_and_value

from models.genotype import random_tensor
from models.graph import Graph, from_tensor, to_tensor
from models.search import NonFiniteLoss
from models.search_space import SearchSpace
from models.vgae import LOSSES, VGAE, LatentRecipe

DEFAULT_SEED = 2024
"""The paper's."""

PLATEAU = 0.01
"""Relative gain of the loss between two reports below which training may end early."""

HELD_OUT, HELD_OUT_SEED = 500, 7
"""Random genotypes on which every report measures how general the space is."""

COMPILER: dict[str, Any] = {"cpp.threads": 1, "cpp_wrapper": True}
"""Options of `torch.compile`: no Python between the steps, and one thread, as graphs are few and small."""

BETA1, BETA2, ADAM_EPSILON = 0.9, 0.999, 1e-8
"""Adam's, as PyTorch has them."""

Method = Literal["pca", "tsne"]


class LatentError(ValueError):
    """A latent space that cannot be made or asked, with what would be right."""


@dataclass(frozen=True)
class FitReport:
    """A point of the training curve.

    Args:
        epoch: from 1.
        losses: by name, the mean since the last report.
        members_exact: the share of members that decode from their mean exactly, 0 to 1.
        random_exact: the same of random genotypes that are not members.
        compiled: whether the epochs ran compiled; if not although there are many, `note` says why.
        note: anything that the reader of the curve should know.
    """

    epoch: int
    losses: dict[str, float]
    members_exact: float
    random_exact: float
    compiled: bool
    note: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


class LatentFit:
    """Trains a VGAE on its members, some epochs a call.

    An epoch is one step of Adam (Kingma, Ba, 2015) with a cosine schedule: over all members, or over a
    batch of them where there are more than the recipe's `batch_size`, and with the recipe's
    `random_genotypes` beside them. Over the same graphs for very many epochs, several epochs and the
    optimiser are compiled into one call.

    Args:
        graph: the members.
        space: their search space.
        recipe: the hyper-parameters.
        seed: of weights and noise.
        device: where it runs.

    Raises:
        LatentError: fewer than two members.
    """

    REPORT_EVERY = 500
    """Epochs between two reports."""

    EPOCHS_A_CALL = 10
    """Of a compiled call."""

    COMPILE_FROM = 50_000
    """Epochs from which on compiling, one to two minutes, pays."""

    def __init__(
        self, graph: Graph, space: SearchSpace, recipe: LatentRecipe, seed: int, device: torch.device
    ) -> None:
        if len(graph) < 2:
            raise LatentError(f"has {len(graph)} member; a latent space needs at least 2")
        self.graph, self.space, self.recipe, self.seed = graph.to(device), space, recipe, seed
        self.device, self.epoch, self.last_loss, self.ended = device, 0, float("inf"), False
        torch.manual_seed(seed)
        self.net = VGAE(space, recipe).to(device)
        self.parameters = {name: value.detach() for name, value in self.net.named_parameters()}
        self.moments = [{name: torch.zeros_like(v) for name, v in self.parameters.items()} for _ in range(2)]
        self.members = to_tensor(graph, space)
        self.held_out = random_tensor(HELD_OUT, space, torch.Generator().manual_seed(HELD_OUT_SEED))
        self.batched = recipe.random_genotypes > 0 or len(graph) > recipe.batch_size
        self.note: str | None = None
        self._compiled: Callable[..., Any] | None = None
        if not self.batched and recipe.max_epochs >= self.COMPILE_FROM:
            self._compiled = torch.compile(self._epochs, fullgraph=True, options=COMPILER)

    @property
    def done(self) -> bool:
        """At the cap, or ended early on a plateau with every member exact."""
        return self.ended or self.epoch >= self.recipe.max_epochs

    def run(self, between_epochs: Callable[[], None]) -> FitReport:
        """Some more epochs, up to the next report.

        Raises:
            NonFiniteLoss: the loss is no longer a number.
        """
        end = min(self.epoch + self.REPORT_EVERY, self.recipe.max_epochs)
        began, totals = self.epoch, torch.zeros(len(LOSSES), device=self.device)
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.epoch)
        while self.epoch < end:
            between_epochs()
            totals += self.advance(end, generator)
        self._keep(self.parameters)
        values = dict(zip(LOSSES, (totals / (self.epoch - began)).tolist(), strict=True))
        if not np.isfinite(values["total"]):
            raise NonFiniteLoss(self.epoch, "the loss is not finite; try a smaller learning_rate")
        exact = self.members_exact()
        gained = self.last_loss - values["total"] > PLATEAU * abs(self.last_loss)
        self.ended = self.recipe.early_end and exact == 1.0 and np.isfinite(self.last_loss) and not gained
        self.last_loss = min(self.last_loss, values["total"])
        return FitReport(
            self.epoch, values, exact, self._exact(self.held_out), self._compiled is not None, self.note
        )

    def advance(self, end: int, generator: torch.Generator) -> Tensor:
        """One call's worth of epochs, not past `end`; the sums of their losses in the order of `LOSSES`.

        Args:
            end: the epoch to stop at.
            generator: of noise, and of batches.
        """
        count = self.EPOCHS_A_CALL if self._compiled is not None else 1
        if self.epoch + count > end:
            count = 1
        graph = self._batch(generator) if self.batched else self.graph
        shape = (count, len(graph), self.space.nodes, self.recipe.latent_dimension)
        noise = torch.randn(shape, generator=generator).to(self.device)
        steps: tuple[Any, ...] = (
            self.parameters,
            *self.moments,
            graph.adjacency,
            graph.operations,
            noise,
            self._rates(count),
        )
        outcome = self._call_compiled(steps) if count == self.EPOCHS_A_CALL else self._epochs(*steps)
        parameters, first, second, losses = outcome
        self.parameters, self.moments = parameters, [first, second]
        self.epoch += count
        return losses

    @torch.no_grad()
    def latents(self) -> tuple[Tensor, Tensor]:
        """`mu` and `logstd` of the members, `[members, nodes, latent dimension]`, on the CPU."""
        mu, logstd = self.net.encode(self.graph)
        return mu.cpu(), logstd.cpu()

    def members_exact(self) -> float:
        """The share of members that decode from their mean exactly."""
        decoded = decode(self.net, self.latents()[0])
        return float((decoded == self.members).flatten(1).all(1).float().mean())

    def state_dict(self) -> dict[str, Any]:
        """All that `load_state_dict` needs to go on bit for bit."""
        return {
            "epoch": self.epoch,
            "last_loss": self.last_loss,
            "ended": self.ended,
            "parameters": self.parameters,
            "moments": self.moments,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes back to the report at which the state was taken."""
        self.epoch, self.last_loss, self.ended = state["epoch"], state["last_loss"], state["ended"]
        self.moments = [{n: v.to(self.device) for n, v in part.items()} for part in state["moments"]]
        self._keep({name: value.to(self.device) for name, value in state["parameters"].items()})

    def _epochs(
        self,
        parameters: dict[str, Tensor],
        first: dict[str, Tensor],
        second: dict[str, Tensor],
        adjacency: Tensor,
        operations: Tensor,
        noise: Tensor,
        rates: Tensor,
    ) -> tuple[dict[str, Tensor], dict[str, Tensor], dict[str, Tensor], Tensor]:
        """Steps of Adam on one batch, one for each row of noise: all of the training in pure functions."""

        def objective(values: dict[str, Tensor], noise: Tensor) -> tuple[Tensor, Tensor]:
            arguments = (Graph(self.net.kinds, adjacency, operations), noise)
            losses = functional_call(self.net, values, arguments)
            return losses.total, torch.stack([getattr(losses, name) for name in LOSSES])

        sums = noise.new_zeros(len(LOSSES))
        for row, (rate, scale1, scale2) in zip(noise.unbind(), rates.unbind(), strict=True):
            gradients, (_, losses) = grad_and_value(objective, has_aux=True)(parameters, row)
            first = {n: BETA1 * first[n] + (1 - BETA1) * g for n, g in gradients.items()}
            second = {n: BETA2 * second[n] + (1 - BETA2) * g * g for n, g in gradients.items()}
            parameters = {
                n: value - rate * (first[n] * scale1) / ((second[n] * scale2).sqrt() + ADAM_EPSILON)
                for n, value in parameters.items()
            }
            sums = sums + losses
        return parameters, first, second, sums

    def _call_compiled(self, steps: tuple[Any, ...]) -> Any:
        if self._compiled is None:
            return self._epochs(*steps)
        try:
            with _threads(1):
                return self._compiled(*steps)
        except Exception as error:  # whatever the compiler lacks here, the same function runs without it
            self._compiled, self.note = None, f"not compiled, so slower: {type(error).__name__}"
            return self._epochs(*steps)

    def _rates(self, count: int) -> Tensor:
        """Learning rate and Adam's two bias corrections of the next epochs, `[count, 3]`."""
        recipe = self.recipe
        t = torch.arange(self.epoch, self.epoch + count, dtype=torch.float64)
        cosine = (1 + torch.cos(torch.pi * t / recipe.max_epochs)) / 2
        rate = recipe.learning_rate_min + (recipe.learning_rate - recipe.learning_rate_min) * cosine
        corrections = (1 / (1 - BETA1 ** (t + 1)), 1 / (1 - BETA2 ** (t + 1)))
        return torch.stack([rate, *corrections], dim=1).float().to(self.device)

    def _batch(self, generator: torch.Generator) -> Graph:
        """Members, all or as many as a batch holds, and random genotypes."""
        graph = self.graph
        if len(graph) > self.recipe.batch_size:
            graph = graph.select(torch.randint(len(graph), (self.recipe.batch_size,), generator=generator))
        if self.recipe.random_genotypes:
            drawn = random_tensor(self.recipe.random_genotypes, self.space, generator)
            graph = graph.join(from_tensor(drawn, self.space).to(self.device))
        return graph

    def _keep(self, parameters: dict[str, Tensor]) -> None:
        self.parameters = parameters
        for name, parameter in self.net.named_parameters():
            parameter.data = parameters[name]

    def _exact(self, genotypes: Tensor) -> float:
        z = encode(self.net, from_tensor(genotypes, self.space).to(self.device))
        return float((decode(self.net, z) == genotypes).flatten(1).all(1).float().mean())


@contextmanager
def _threads(count: int) -> Iterator[None]:
    """So many threads for a while."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@torch.no_grad()
def encode(net: VGAE, graph: Graph) -> Tensor:
    """`mu` of every graph, `[batch, nodes, latent dimension]`."""
    return net.eval().encode(graph)[0]


@torch.no_grad()
def decode(net: VGAE, z: Tensor) -> Tensor:
    """The genotypes of latents, always legal, in the form of `genotype.to_tensor`.

    Args:
        net: the space's VGAE.
        z: `[batch, nodes, latent dimension]`.
    """
    device = net.legal.device
    return to_tensor(net.eval().decode(z.to(device)), net.space)


@dataclass(frozen=True)
class Projection:
    """A two-dimensional map.

    Args:
        points: `[latents, 2]`.
        explained_variance: the share of each axis, for `pca`.
    """

    points: list[list[float]]
    explained_variance: list[float] | None


def project(z: Tensor, method: Method, seed: int = DEFAULT_SEED) -> Projection:
    """The flattened latents in two dimensions.

    Args:
        z: `[latents, nodes, latent dimension]`.
        method: `pca` or `tsne` (scikit-learn's).
        seed: of t-SNE.

    Raises:
        LatentError: the method needs more points.
    """
    flat = z.flatten(1).double().numpy()
    needed = 2 if method == "pca" else 4
    if len(flat) < needed:
        raise LatentError(f"has {len(flat)} points; {method} needs at least {needed}")
    if method == "pca":
        from sklearn.decomposition import PCA

        pca = PCA(n_components=2, random_state=seed)
        points = pca.fit_transform(flat)
        return Projection(points.tolist(), np.nan_to_num(pca.explained_variance_ratio_).tolist())
    from sklearn.manifold import TSNE

    perplexity = min(30.0, (len(flat) - 1) / 3)
    points = TSNE(n_components=2, perplexity=perplexity, init="pca", random_state=seed).fit_transform(flat)
    return Projection(points.astype(float).tolist(), None)
