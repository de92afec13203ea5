"""Architecture search: a data set, a search space and a recipe in; epochs and a genotype out."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Annotated, Any, ClassVar

import torch
import torch.nn.functional as F
from annotated_types import Ge, Gt, Le, Lt
from torch import Tensor, nn

from models.datasets.data import Batch, DataError, ImageData, Split, normalise, require_size
from models.errors import require_finite
from models.genotypes.genotype import ContinuousGenotype, Genotype
from models.genotypes.network import StemChoice, has_large_stem
from models.genotypes.search_space import SearchSpace
from models.precision import Precision, computed_in
from models.searches.limits import Limits, discretise_within, random_within
from models.searches.supernet import SUPERNETS

Fraction = Annotated[float, Ge(0), Lt(1)]
Rate = Annotated[float, Gt(0), Le(10)]


@dataclass(frozen=True)
class SearchRecipe:
    """All hyper-parameters of a search.

    The architecture (alphas and betas) rests for the first `warmup_epochs`. `crop_padding` is in
    pixels; `stem` is that of the supernet; `train_images` limits the training split, `None` takes all of
    it. `max_skip_connections` (in either cell) and `max_params` (of 36 channels and 20 cells for CIFAR-10)
    limit the discrete genotype. With `activation_checkpointing` a search computes each cell twice in place
    of keeping what is in it: the same numbers in less memory and more time, for large images. `precision` is
    that of convolutions and of what goes from one to the next; weights, alphas and sums are float32.
    """

    channels: Annotated[int, Ge(4), Le(256)] = 16
    cells: Annotated[int, Ge(1), Le(40)] = 8
    partial: Annotated[int, Ge(2), Le(16)] = 4
    stem: StemChoice = "auto"
    epochs: Annotated[int, Ge(1), Le(1000)] = 50
    warmup_epochs: Annotated[int, Ge(0), Le(1000)] = 15
    batch_size: Annotated[int, Ge(2), Le(4096)] = 256
    learning_rate: Rate = 0.1
    momentum: Fraction = 0.9
    weight_decay: Fraction = 3e-4
    gradient_clip: Annotated[float, Gt(0), Le(1000)] = 5.0
    alpha_learning_rate: Rate = 3e-4
    alpha_beta1: Fraction = 0.5
    alpha_beta2: Fraction = 0.999
    alpha_weight_decay: Fraction = 1e-3
    crop_padding: Annotated[int, Ge(0), Le(32)] = 4
    flip: bool = True
    train_images: Annotated[int, Ge(4)] | None = None
    max_skip_connections: Annotated[int, Ge(0)] | None = None
    max_params: Annotated[int, Ge(1)] | None = None
    activation_checkpointing: bool = False
    precision: Precision = "float32"

    @property
    def limits(self) -> Limits:
        """The limits on the discrete genotype."""
        return Limits(self.max_skip_connections, self.max_params)


RECIPES: dict[str, SearchRecipe] = {
    # table 1 of the VGAE-NAS paper
    "paper-small": SearchRecipe(),
    # minutes on two cores: a real search, too short to be a good one
    "quick": SearchRecipe(
        channels=16,
        cells=5,
        epochs=10,
        warmup_epochs=3,
        batch_size=64,
        alpha_learning_rate=2e-2,
        crop_padding=1,
        flip=False,
        train_images=4_000,
    ),
}


@dataclass(frozen=True)
class SearchEpoch:
    """One epoch of a search as it is reported.

    Args:
        epoch: from 1.
        loss, accuracy: of the weight half (accuracy in percent).
        search_accuracy: of the architecture half, in percent.
        entropy: of the softmax of alphas, mean over the edges, in nats.
        skip_connections: in each cell of the genotype at this point.
    """

    epoch: int
    loss: float
    accuracy: float
    search_accuracy: float
    entropy: float
    skip_connections: dict[str, int]

    def as_dict(self) -> dict[str, Any]:
        """The epoch as plain values for JSON."""
        return asdict(self)


class Search(ABC):
    """One search, epoch by epoch; another method is another subclass in `METHODS`.

    Args:
        data: the data set, of which only the training split is read; `None` for a method that
            needs no images.
        space: the search space.
        recipe: the hyper-parameters.
        seed: decides everything random.
        device: where it runs.

    Raises:
        DataError: the data set does not suit the recipe.
    """

    needs_images: ClassVar[bool] = True

    def __init__(
        self,
        data: ImageData | None,
        space: SearchSpace,
        recipe: SearchRecipe,
        seed: int,
        device: torch.device,
    ) -> None:
        self.space, self.recipe, self.seed, self.device = space, recipe, seed, device
        self.epoch, self.fraction = 0, 0.0

    @property
    @abstractmethod
    def epochs(self) -> int:
        """The number of epochs of the whole search."""

    @property
    def done(self) -> bool:
        """Whether the search is at its end."""
        return self.epoch >= self.epochs

    @property
    def progress(self) -> float:
        """The share of the whole search that is done, 0 to 1; `fraction` is that of the epoch in hand."""
        return (self.epoch + self.fraction) / self.epochs

    @abstractmethod
    def run(self, between_steps: Callable[[], None]) -> SearchEpoch:
        """Searches one more epoch. What `between_steps` raises ends it, and the epoch is lost."""

    @abstractmethod
    def genotype(self) -> Genotype:
        """The discrete genotype at this point."""

    @abstractmethod
    def continuous(self) -> ContinuousGenotype | None:
        """The continuous genotype at this point, if the method has one."""

    @abstractmethod
    def state_dict(self) -> dict[str, Any]:
        """The state from which `load_state_dict` goes on bit for bit, on as many threads."""

    @abstractmethod
    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes back to the end of the epoch at which the state was taken."""


class RandomSearch(Search):
    """Uniform legal genotypes, the paper's other source of encoder inputs. One epoch, no training."""

    needs_images = False
    epochs = 1

    def run(self, between_steps: Callable[[], None]) -> SearchEpoch:
        between_steps()
        self.epoch = 1
        skips = self.genotype().count("skip_connect")
        return SearchEpoch(1, 0.0, 0.0, 0.0, 0.0, skips)

    def genotype(self) -> Genotype:
        return random_within(self.space, self.recipe.limits, self.seed)

    def continuous(self) -> None:
        return None

    def state_dict(self) -> dict[str, Any]:
        return {"epoch": self.epoch}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.epoch = state["epoch"]


class PCDARTSSearch(Search):
    """PC-DARTS: bilevel, first order, with partial channels and edge normalisation (Xu et al., 2020).

    Half of the training split trains the weights by SGD, the other half alphas and betas by Adam.
    """

    def __init__(
        self,
        data: ImageData | None,
        space: SearchSpace,
        recipe: SearchRecipe,
        seed: int,
        device: torch.device,
    ) -> None:
        super().__init__(data, space, recipe, seed, device)
        if data is None:
            raise DataError("has no images; this search needs them")
        data = data.limited(recipe.train_images, seed)
        require_searchable(data.image_size, len(data.classes), len(data.train), recipe)
        order = torch.randperm(len(data.train), generator=self._generator(0))
        half = len(order) // 2
        self.weight_half: Split = data.train.subset(order[:half]).to(device)
        self.alpha_half: Split = data.train.subset(order[half:]).to(device)
        self.statistics = data.statistics(device)
        torch.manual_seed(seed)
        self.net = SUPERNETS[space.network](
            space,
            data.channels,
            len(data.classes),
            recipe.channels,
            recipe.cells,
            recipe.partial,
            has_large_stem(data.image_size, recipe.stem),
            recipe.activation_checkpointing,
        ).to(device)
        self.weight_optimizer = torch.optim.SGD(
            self.net.weights(), recipe.learning_rate, recipe.momentum, weight_decay=recipe.weight_decay
        )
        self.alpha_optimizer = torch.optim.Adam(
            self.net.architecture(),
            recipe.alpha_learning_rate,
            (recipe.alpha_beta1, recipe.alpha_beta2),
            weight_decay=recipe.alpha_weight_decay,
        )
        self.schedule = torch.optim.lr_scheduler.CosineAnnealingLR(self.weight_optimizer, recipe.epochs)

    @property
    def epochs(self) -> int:
        return self.recipe.epochs

    def run(self, between_steps: Callable[[], None]) -> SearchEpoch:
        searching = self.epoch >= self.recipe.warmup_epochs
        self.net.train()
        # on the device until the end of the epoch: loss, right in the weight half, right in the other
        totals, seen = torch.zeros(3, device=self.device), [0, 0]
        alpha_batches = self._endless(self.alpha_half, self._generator(2 * self.epoch + 2))
        for images, labels in self._batches(self.weight_half, self._generator(2 * self.epoch + 1)):
            between_steps()
            if searching:
                others, answers = next(alpha_batches)
                loss, logits, alpha_logits = self.step(images, labels, others, answers)
                totals[2] += (alpha_logits.argmax(1) == answers).sum()
                seen[1] += len(answers)
            else:
                loss, logits = self._weight_step(images, labels)
            totals[0] += loss * len(labels)
            totals[1] += (logits.argmax(1) == labels).sum()
            seen[0] += len(labels)
            self.fraction = seen[0] / len(self.weight_half)
        self.schedule.step()
        self.epoch, self.fraction = self.epoch + 1, 0.0
        total, right, search_right = totals.tolist()
        require_finite(self.epoch, total)
        accuracy = 100 * search_right / seen[1] if searching else self._search_accuracy()
        return SearchEpoch(
            self.epoch,
            loss=total / seen[0],
            accuracy=100 * right / seen[0],
            search_accuracy=accuracy,
            entropy=self._entropy(),
            skip_connections=self.genotype().count("skip_connect"),
        )

    def genotype(self) -> Genotype:
        return discretise_within(self.continuous(), self.recipe.limits)

    def continuous(self) -> ContinuousGenotype:
        return self.net.continuous()

    def state_dict(self) -> dict[str, Any]:
        return {"epoch": self.epoch, "parts": [part.state_dict() for part in self._parts()]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for part, values in zip(self._parts(), state["parts"], strict=True):
            part.load_state_dict(values)
        self.epoch = state["epoch"]

    def _parts(self) -> tuple[Any, ...]:
        return self.net, self.weight_optimizer, self.alpha_optimizer, self.schedule

    def step(
        self, images: Tensor, labels: Tensor, alpha_images: Tensor, alpha_labels: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """An architecture step on one batch and a weight step on another.

        Returns:
            The training loss, and the logits of the weight and of the architecture batch.
        """
        alpha_logits = self._alpha_step(alpha_images, alpha_labels)
        loss, logits = self._weight_step(images, labels)
        return loss, logits, alpha_logits

    def _logits(self, images: Tensor) -> Tensor:
        with computed_in(self.recipe.precision, self.device):
            logits: Tensor = self.net(images)
        return logits.float()

    def _alpha_step(self, images: Tensor, labels: Tensor) -> Tensor:
        logits = self._logits(images)
        parameters = self.net.architecture()
        # only what leads to alphas and betas is differentiated: first order needs no weight gradient
        gradients = torch.autograd.grad(F.cross_entropy(logits, labels), parameters)
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = gradient
        nn.utils.clip_grad_norm_(parameters, self.recipe.gradient_clip)
        self.alpha_optimizer.step()
        return logits.detach()

    def _weight_step(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        parameters = self.net.weights()
        logits = self._logits(images)
        loss = F.cross_entropy(logits, labels)
        for parameter, gradient in zip(parameters, torch.autograd.grad(loss, parameters), strict=True):
            parameter.grad = gradient
        nn.utils.clip_grad_norm_(parameters, self.recipe.gradient_clip)
        self.weight_optimizer.step()
        return loss.detach(), logits.detach()

    @torch.no_grad()
    def _search_accuracy(self) -> float:
        """The accuracy in percent on the architecture half, for epochs in which the architecture rests."""
        self.net.eval()
        right = torch.zeros((), device=self.device)
        for images, labels in self.alpha_half.batches(self.recipe.batch_size, None):
            right += (self._logits(normalise(images, self.statistics)).argmax(1) == labels).sum()
        return 100 * float(right) / len(self.alpha_half)

    @torch.no_grad()
    def _entropy(self) -> float:
        weights = self.net.operation_weights()
        return float(-(weights * weights.log()).sum(-1).mean())

    def _batches(self, half: Split, generator: torch.Generator) -> Iterator[Batch]:
        recipe = self.recipe
        for images, labels in half.batches(recipe.batch_size, generator, recipe.crop_padding, recipe.flip):
            yield normalise(images, self.statistics), labels

    def _endless(self, half: Split, generator: torch.Generator) -> Iterator[Batch]:
        while True:
            yield from self._batches(half, generator)

    def _generator(self, stream: int) -> torch.Generator:
        """A stream of its own for every epoch, so that a resumed search draws the same numbers."""
        return torch.Generator().manual_seed(self.seed * 100_003 + stream)


METHODS: dict[str, type[Search]] = {"pc-darts": PCDARTSSearch, "random": RandomSearch}


def require_searchable(image_size: int, classes: int, train_count: int, recipe: SearchRecipe) -> None:
    """Refuses a data set that a search with this recipe cannot use.

    Args:
        image_size, classes, train_count: of the data set.
        recipe: the hyper-parameters.

    Raises:
        DataError: what is wrong and what would be right.
    """
    if recipe.train_images is not None:
        train_count = min(train_count, recipe.train_images)
    require_size(image_size, recipe.cells, recipe.stem)
    if classes < 2:
        raise DataError(f"has {classes} class; a search needs at least 2")
    if train_count < 2 * recipe.batch_size:
        raise DataError(
            f"has {train_count} training images; a search with batch_size {recipe.batch_size} "
            f"needs at least {2 * recipe.batch_size}, half of them for each level"
        )
    if recipe.channels % recipe.partial:
        raise DataError(
            f"cannot be searched: channels ({recipe.channels}) must be a multiple of "
            f"partial ({recipe.partial})"
        )
