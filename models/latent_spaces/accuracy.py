"""Training a latent space that knows accuracies."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from models.errors import LatentError
from models.genotypes.graph import Cells, Graph
from models.genotypes.search_space import SearchSpace
from models.latent_spaces.fit import LatentFit
from models.latent_spaces.vgae import LOSSES, VGAE, LatentRecipe, Losses

DECAY = 1e-3
"""The weight of the heads' own squares in the loss, so that few accuracies are not learnt by heart."""

Teacher = Callable[[Tensor], Tensor]
"""Tells scores of genotypes that were not evaluated, `[batch, data sets]`; NaN where it knows none."""


@dataclass(frozen=True)
class AccuracyLosses(Losses):
    """The parts of the loss with the mean squared error of the scores."""

    accuracy: Tensor


class WithHeads(nn.Module):
    """A VGAE with a linear head from `mu` to the score on each data set.

    Args:
        net: the VGAE.
        datasets: the number of heads.
    """

    def __init__(self, net: VGAE, datasets: int) -> None:
        super().__init__()
        self.net = net
        self.weight = nn.Parameter(torch.zeros(datasets, net.space.nodes * net.recipe.latent_dimension))
        self.bias = nn.Parameter(torch.zeros(datasets))

    def forward(self, batch: tuple[Cells, Tensor], noise: Tensor) -> AccuracyLosses:
        """The loss on a batch with its scores, `[batch, data sets]`, NaN where none is known."""
        cells, scores = batch
        mu, logstd = self.net.encoder(cells)
        losses = self.net.losses(cells, mu, logstd, noise)
        told = (self.weight @ mu.flatten(0, 2)).T + self.bias
        known = ~scores.isnan()
        error = ((told - scores.where(known, 0.0)) ** 2 * known).sum() / known.sum().clamp(min=1)
        error = error + DECAY * self.weight.square().sum()
        total = losses.total + self.net.recipe.accuracy_weight * error
        parts = {name: getattr(losses, name) for name in LOSSES if name != "total"}
        return AccuracyLosses(total=total, accuracy=error, **parts)


class AccuracyFit(LatentFit):
    """Trains a VGAE whose latents tell accuracies as well, by a linear head for each data set.

    The heads learn the scores of members from their means. Few genotypes are evaluated, and what they teach
    would be learnt by heart; so a teacher, fitted to the same evaluations, tells the scores of all others,
    the random genotypes among them. The heads are of the training alone.

    Args:
        graph, space, recipe, seed, device: as of `LatentFit`.
        scores: of the members, `[members, data sets]`, standard normal; NaN where a member has none.
        teacher: of the others.

    Raises:
        LatentError: fewer than two members, or no scores.
    """

    LOSSES = (*LOSSES, "accuracy")

    def __init__(
        self,
        graph: Graph,
        space: SearchSpace,
        recipe: LatentRecipe,
        seed: int,
        device: torch.device,
        scores: Tensor,
        teacher: Teacher,
    ) -> None:
        if not bool((~scores.isnan()).any()):
            raise LatentError("knows no accuracy of any member")
        self.teacher = teacher
        self.heads = scores.shape[1]
        super().__init__(graph, space, recipe, seed, device)
        self.scores = scores.where(~scores.isnan(), teacher(self.members)).to(device)

    def _trained(self) -> nn.Module:
        return WithHeads(self.net, self.heads)

    def _draws_batches(self) -> bool:
        return True

    def _batch(self, generator: torch.Generator) -> tuple[Cells, Tensor]:
        rows, drawn = self._chosen(generator)
        taught = self.teacher(drawn).to(self.scores)
        return self._joined(rows, drawn), torch.cat([self.scores[rows], taught])
