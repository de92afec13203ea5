"""Latent spaces: training a VGAE on member genotypes, their latents, and the map of them."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from models.graph import Graph, to_tensor
from models.search import NonFiniteLoss
from models.search_space import SearchSpace
from models.vgae import VGAE, LatentRecipe

DEFAULT_SEED = 2024
"""The paper's."""

PLATEAU = 0.01
"""Relative gain of the loss between two reports below which training may end early."""

Method = Literal["pca", "tsne"]


class LatentError(ValueError):
    """A latent space that cannot be made or asked, with what would be right."""


@dataclass(frozen=True)
class FitReport:
    """A point of the training curve.

    Args:
        epoch: from 1.
        losses: by name, of the last epoch.
        members_exact: the share of members that decode from their mean exactly, 0 to 1.
    """

    epoch: int
    losses: dict[str, float]
    members_exact: float

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


class LatentFit:
    """Trains a VGAE on all members at once, some epochs a call.

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

    def __init__(
        self, graph: Graph, space: SearchSpace, recipe: LatentRecipe, seed: int, device: torch.device
    ) -> None:
        if len(graph) < 2:
            raise LatentError(f"has {len(graph)} member; a latent space needs at least 2")
        self.graph, self.space, self.recipe, self.seed = graph.to(device), space, recipe, seed
        self.device, self.epoch, self.last_loss = device, 0, float("inf")
        self.ended = False
        torch.manual_seed(seed)
        self.net = VGAE(space, recipe).to(device)
        self.optimizer = torch.optim.Adam(self.net.parameters(), recipe.learning_rate)
        self.schedule = torch.optim.lr_scheduler.CosineAnnealingLR(
            self.optimizer, recipe.max_epochs, recipe.learning_rate_min
        )
        self.members = to_tensor(graph, space)

    @property
    def done(self) -> bool:
        """At the cap, or ended early on a plateau with every member exact."""
        return self.ended or self.epoch >= self.recipe.max_epochs

    def run(self, between_epochs: Callable[[], None]) -> FitReport:
        """Some more epochs, up to the next report.

        Raises:
            NonFiniteLoss: the loss is no longer a number.
        """
        count = min(self.REPORT_EVERY, self.recipe.max_epochs - self.epoch)
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.epoch)
        shape = (count, len(self.graph), self.space.nodes, self.recipe.latent_dimension)
        noise = torch.randn(shape, generator=generator).to(self.device)
        self.net.train()
        for row in noise:
            between_epochs()
            self.optimizer.zero_grad(set_to_none=True)
            losses = self.net.loss(self.graph, row)
            losses.total.backward()
            self.optimizer.step()
            self.schedule.step()
        self.epoch += count
        values = losses.as_dict()
        if not np.isfinite(values["total"]):
            raise NonFiniteLoss(self.epoch, "the loss is not finite; try a smaller learning_rate")
        exact = self.members_exact()
        gained = self.last_loss - values["total"] > PLATEAU * abs(self.last_loss)
        self.ended = self.recipe.early_end and exact == 1.0 and np.isfinite(self.last_loss) and not gained
        self.last_loss = min(self.last_loss, values["total"])
        return FitReport(self.epoch, values, exact)

    @torch.no_grad()
    def latents(self) -> tuple[Tensor, Tensor]:
        """`mu` and `logstd` of the members, `[members, nodes, latent dimension]`, on the CPU."""
        self.net.eval()
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
            "parts": [part.state_dict() for part in self._parts()],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes back to the report at which the state was taken."""
        for part, values in zip(self._parts(), state["parts"], strict=True):
            part.load_state_dict(values)
        self.epoch, self.last_loss, self.ended = state["epoch"], state["last_loss"], state["ended"]

    def _parts(self) -> tuple[Any, ...]:
        return self.net, self.optimizer, self.schedule


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
