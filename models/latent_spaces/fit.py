"""Training a latent space: a VGAE on its member genotypes."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

# private, as PyTorch 2.11 to 2.14 have no public loop that is compiled as one body
from torch._higher_order_ops import while_loop
from torch.func import functional_call, grad_and_value

from models.errors import LatentError, require_finite
from models.genotypes.genotype import random_tensor
from models.genotypes.graph import Cells, Graph, cells, from_tensor, to_tensor
from models.genotypes.search_space import SearchSpace
from models.latent_spaces.vgae import LOSSES, VGAE, LatentRecipe, decode, encode

PLATEAU = 0.01
"""Relative gain of the loss between two reports below which training may end early."""

HELD_OUT, HELD_OUT_SEED = 500, 7
"""Random genotypes on which every report measures how general the space is."""

COMPILER: dict[str, Any] = {
    "cpp.threads": 1,
    "cpp_wrapper": True,
    "cpp.enable_floating_point_contract_flag": "fast",
}
"""Options of `torch.compile`: no Python between the steps, one thread, as graphs are few and small, and
products and sums fused."""

BETA1, BETA2, ADAM_EPSILON = 0.9, 0.999, 1e-8
"""Adam's, as PyTorch has them."""

Step = tuple[Tensor, Tensor, Tensor, Tensor]
"""Parameters as one vector, Adam's two moments of them, and losses in the order of `LOSSES`."""


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
        """The report as plain values for JSON."""
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

    EPOCHS_A_CALL = 100
    """Epochs of one call of the compiled loop."""

    COMPILE_FROM = 50_000
    """Epochs from which on compiling, up to a minute, pays."""

    LOSSES = LOSSES
    """The parts of the loss by name, in the order in which they are summed."""

    def __init__(
        self, graph: Graph, space: SearchSpace, recipe: LatentRecipe, seed: int, device: torch.device
    ) -> None:
        if len(graph) < 2:
            raise LatentError(f"has {len(graph)} member; a latent space needs at least 2")
        self.graph, self.space, self.recipe, self.seed = graph.to(device), space, recipe, seed
        self.device, self.epoch, self.last_loss, self.ended = device, 0, float("inf"), False
        torch.manual_seed(seed)
        self.net = VGAE(space, recipe).to(device)
        self.trained = self._trained().to(device)
        self.shapes = {name: value.shape for name, value in self.trained.named_parameters()}
        # all parameters one after the other, and Adam's two moments of them
        self.vector = torch.cat([value.detach().flatten() for value in self.trained.parameters()])
        self.exp_avg, self.exp_avg_sq = torch.zeros_like(self.vector), torch.zeros_like(self.vector)
        self.members = to_tensor(graph, space)
        discrete = from_tensor(self.members, space)
        self.discrete = torch.equal(discrete.adjacency, graph.adjacency.cpu()) and torch.equal(
            discrete.operations, graph.operations.cpu()
        )
        """Whether all members are discrete genotypes."""
        self.held_out = random_tensor(HELD_OUT, space, torch.Generator().manual_seed(HELD_OUT_SEED))
        self.batched = self._draws_batches()
        self.note: str | None = None
        self._compiled: Callable[..., Any] | None = None
        if not self.batched and recipe.max_epochs >= self.COMPILE_FROM:
            self._look_up()
            self._compiled = torch.compile(self._steps, fullgraph=True, options=COMPILER)

    def _trained(self) -> nn.Module:
        """The module whose parameters are trained, which makes losses of a batch and noise."""
        return self.net

    def _draws_batches(self) -> bool:
        """Whether the batches of epochs differ."""
        return self.recipe.random_genotypes > 0 or len(self.graph) > self.recipe.batch_size

    @cached_property
    def cells(self) -> Cells:
        """The members, where a step takes all of them."""
        return cells(self.graph, self.space, self.discrete)

    @property
    def epochs(self) -> int:
        """The number of epochs of the whole training, at most."""
        return self.recipe.max_epochs

    @property
    def progress(self) -> float:
        """The share of the whole training that is done, 0 to 1."""
        return self.epoch / self.epochs

    @property
    def done(self) -> bool:
        """Whether the training is at its cap, or ended early on a plateau with every member exact."""
        return self.ended or self.epoch >= self.recipe.max_epochs

    def run(self, between_epochs: Callable[[], None]) -> FitReport:
        """Trains on to the next report.

        Raises:
            NonFiniteLoss: the loss is no longer a number.
        """
        end = min(self.epoch + self.REPORT_EVERY, self.recipe.max_epochs)
        began, totals = self.epoch, torch.zeros(len(self.LOSSES), device=self.device)
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.epoch)
        with _denormals_as_zero():
            while self.epoch < end:
                between_epochs()
                totals += self.advance(end, generator)
        self._keep(self.vector)
        values = dict(zip(self.LOSSES, (totals / (self.epoch - began)).tolist(), strict=True))
        require_finite(self.epoch, values["total"])
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
        count = self.EPOCHS_A_CALL
        if self._compiled is None or self.epoch + count > end:
            count = 1
        noise, rates = self._draw(count, generator)
        if self._compiled is not None and count > 1:
            try:
                with _threads(1):
                    step = self._compiled(*self._state, self.cells, noise, rates)
                return self._take(step, count)
            except Exception as error:  # whatever the compiler lacks here, the steps run without it
                self._compiled, self.note = None, f"not compiled, so slower: {type(error).__name__}"
        sums = torch.zeros(len(self.LOSSES), device=self.device)
        for row, rate in zip(noise.unbind(), rates.unbind(), strict=True):
            batch = self._batch(generator) if self.batched else self.cells
            sums += self._take(self._step(*self._state, batch, row, rate), 1)
        return sums

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
        """The state from which `load_state_dict` goes on bit for bit, on as many threads."""
        return {
            "epoch": self.epoch,
            "last_loss": self.last_loss,
            "ended": self.ended,
            "vector": self.vector,
            "exp_avg": self.exp_avg,
            "exp_avg_sq": self.exp_avg_sq,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes back to the report at which the state was taken."""
        self.epoch, self.last_loss, self.ended = state["epoch"], state["last_loss"], state["ended"]
        self.exp_avg, self.exp_avg_sq = state["exp_avg"].to(self.device), state["exp_avg_sq"].to(self.device)
        self._keep(state["vector"].to(self.device))

    def _step(
        self, vector: Tensor, exp_avg: Tensor, exp_avg_sq: Tensor, batch: Any, noise: Tensor, rates: Tensor
    ) -> Step:
        """One step of Adam: the new parameters, the new moments and the losses, from the old ones."""

        def objective(vector: Tensor) -> tuple[Tensor, Tensor]:
            losses = functional_call(self.trained, self._named(vector), (batch, noise))
            return losses.total, torch.stack([getattr(losses, name) for name in self.LOSSES])

        rate, scale1, scale2 = rates.unbind()
        gradient, (_, losses) = grad_and_value(objective, has_aux=True)(vector)
        exp_avg = BETA1 * exp_avg + (1 - BETA1) * gradient
        exp_avg_sq = BETA2 * exp_avg_sq + (1 - BETA2) * gradient * gradient
        vector = vector - rate * (exp_avg * scale1) / ((exp_avg_sq * scale2).sqrt() + ADAM_EPSILON)
        return vector, exp_avg, exp_avg_sq, losses

    def _look_up(self) -> None:
        """Takes a step and forgets it, so that all that is looked up once and kept has been.

        The compiler cannot follow the lock of a `cached_property` (Python 3.11), and there would be none.
        """
        noise, rates = self._draw(1, torch.Generator())
        self._step(*self._state, self.cells, noise[0], rates[0])

    def _steps(
        self, vector: Tensor, exp_avg: Tensor, exp_avg_sq: Tensor, batch: Cells, noise: Tensor, rates: Tensor
    ) -> Step:
        """One step for each row of noise, in a loop that the compiler sees as one body."""

        def more(done: Tensor, *_: Tensor) -> Tensor:
            return done < len(noise)

        def body(
            done: Tensor, vector: Tensor, exp_avg: Tensor, exp_avg_sq: Tensor, sums: Tensor
        ) -> tuple[Tensor, ...]:
            row, rate = (x.index_select(0, done.view(1))[0] for x in (noise, rates))
            vector, exp_avg, exp_avg_sq, losses = self._step(vector, exp_avg, exp_avg_sq, batch, row, rate)
            return done + 1, vector, exp_avg, exp_avg_sq, sums + losses

        done = torch.zeros((), dtype=torch.int64, device=noise.device)
        start = (done, vector, exp_avg, exp_avg_sq, noise.new_zeros(len(self.LOSSES)))
        _, vector, exp_avg, exp_avg_sq, sums = while_loop(more, body, start)
        return vector, exp_avg, exp_avg_sq, sums

    def _named(self, vector: Tensor) -> dict[str, Tensor]:
        """The parameters by name, as views of the vector."""
        parts = vector.split([shape.numel() for shape in self.shapes.values()])
        return {
            name: part.view(shape) for (name, shape), part in zip(self.shapes.items(), parts, strict=True)
        }

    @property
    def _state(self) -> tuple[Tensor, Tensor, Tensor]:
        return self.vector, self.exp_avg, self.exp_avg_sq

    def _take(self, step: Step, epochs: int) -> Tensor:
        self.vector, self.exp_avg, self.exp_avg_sq, losses = step
        self.epoch += epochs
        return losses

    def _draw(self, epochs: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Noise and rates of the next epochs."""
        graphs = len(self.graph)
        if self.batched:
            graphs = min(graphs, self.recipe.batch_size) + self.recipe.random_genotypes
        shape = (epochs, graphs, self.space.nodes, self.recipe.latent_dimension)
        return torch.randn(shape, generator=generator).to(self.device), self._rates(epochs)

    def _rates(self, count: int) -> Tensor:
        """Learning rate and Adam's two bias corrections of the next epochs, `[count, 3]`."""
        recipe, t = self.recipe, np.arange(self.epoch, self.epoch + count)
        cosine = (1 + np.cos(np.pi * t / recipe.max_epochs)) / 2
        rate = recipe.learning_rate_min + (recipe.learning_rate - recipe.learning_rate_min) * cosine
        rates = np.stack([rate, 1 / (1 - BETA1 ** (t + 1)), 1 / (1 - BETA2 ** (t + 1))], axis=1)
        return torch.from_numpy(rates.astype(np.float32)).to(self.device)

    def _batch(self, generator: torch.Generator) -> Any:
        """What an epoch trains on, in the form that the trained module takes."""
        return self._joined(*self._chosen(generator))

    def _chosen(self, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """The numbers of members, all or as many as a batch holds, and random genotypes beside them."""
        count, most = len(self.graph), self.recipe.batch_size
        rows = torch.arange(count) if count <= most else torch.randint(count, (most,), generator=generator)
        return rows, random_tensor(self.recipe.random_genotypes, self.space, generator)

    def _joined(self, rows: Tensor, drawn: Tensor) -> Cells:
        """Members by their numbers and random genotypes as one batch."""
        whole = len(rows) == len(self.graph)
        members = self.cells if whole else cells(self.graph.select(rows), self.space, self.discrete)
        if not len(drawn):
            return members
        return members.join(cells(from_tensor(drawn, self.space).to(self.device), self.space, self.discrete))

    def _keep(self, vector: Tensor) -> None:
        self.vector = vector
        parameters = self._named(vector)
        for name, parameter in self.trained.named_parameters():
            parameter.data = parameters[name]

    def _exact(self, genotypes: Tensor) -> float:
        z = encode(self.net, from_tensor(genotypes, self.space).to(self.device))
        return float((decode(self.net, z) == genotypes).flatten(1).all(1).float().mean())


@contextmanager
def _denormals_as_zero() -> Iterator[None]:
    """Numbers below 1e-38 count as zero in this thread for as long as the context lasts.

    What the decoder is sure of has gradients as small, and many processors take far longer for these.
    """
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)


@contextmanager
def _threads(count: int) -> Iterator[None]:
    """Sets the number of threads for as long as the context lasts."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
