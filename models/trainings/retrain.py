"""Training a genotype's network from scratch on a data set."""

import json
import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Annotated, Any, ClassVar, Literal

import safetensors.torch
import torch
import torch.nn.functional as F
from annotated_types import Ge, Gt, Le, Lt
from torch import Tensor, nn

from models.datasets.data import Batch, DataError, ImageData, Split, cut_out, jitter, normalise, require_size
from models.errors import require_finite
from models.genotypes.genotype import Genotype
from models.genotypes.network import StemChoice
from models.genotypes.size import AnyNetwork, NetworkShape, measure_macs
from models.precision import Precision, computed_in
from models.trainings.reference import Reference
from models.trainings.scores import Scores, scores
from models.trainings.world import ALONE, World

logger = logging.getLogger(__name__)

EVALUATED_TOGETHER = 256
"""Images of a batch that is evaluated: of 16 to 512 the fastest on two cores (`make bench-train`)."""

AUXILIARY_WEIGHT = 0.4
"""Weight of the auxiliary head's loss (Liu, Simonyan, Yang, 2019, appendix A.2.1)."""


@dataclass(frozen=True)
class TrainRecipe:
    """All hyper-parameters of a training.

    `crop_padding` and `cutout` (the side of a square that is blanked: DeVries, Taylor, 2017) are in
    pixels, `colour_jitter` is the greatest relative change of brightness, contrast and saturation. `stem`
    is that of a genotype's network: `auto` goes by the size of the images. `train_images` limits the
    training split, `None` takes all of it; of these, `validation_share` is held out, so that an epoch can
    be chosen without looking at the test split. With `class_weights` of `balanced` an image counts in the
    loss by the inverse of its class's share of the training images. `precision` is that of convolutions
    and products; weights and sums are float32. Of several `processes`, each on a GPU of its own, every
    one takes its part of each batch.
    """

    channels: Annotated[int, Ge(2), Le(512)] = 36
    cells: Annotated[int, Ge(1), Le(40)] = 20
    stem: StemChoice = "auto"
    epochs: Annotated[int, Ge(1), Le(2000)] = 50
    batch_size: Annotated[int, Ge(2), Le(4096)] = 256
    learning_rate: Annotated[float, Gt(0), Le(10)] = 0.1
    momentum: Annotated[float, Ge(0), Lt(1)] = 0.9
    weight_decay: Annotated[float, Ge(0), Lt(1)] = 3e-4
    gradient_clip: Annotated[float, Gt(0), Le(1000)] = 5.0
    label_smoothing: Annotated[float, Ge(0), Lt(1)] = 0.0
    class_weights: Literal["none", "balanced"] = "none"
    drop_path: Annotated[float, Ge(0), Lt(1)] = 0.0
    auxiliary: bool = False
    crop_padding: Annotated[int, Ge(0), Le(32)] = 4
    flip: bool = True
    cutout: Annotated[int, Ge(0), Le(512)] = 0
    colour_jitter: Annotated[float, Ge(0), Lt(1)] = 0.0
    train_images: Annotated[int, Ge(2)] | None = None
    validation_share: Annotated[float, Ge(0), Le(0.5)] = 0.05
    processes: Annotated[int, Ge(1), Le(64)] = 1
    precision: Precision = "float32"


RECIPES: dict[str, TrainRecipe] = {
    # table 1 of the VGAE-NAS paper, with the depth and width that give its model sizes
    "paper-small": TrainRecipe(),
    # table 3 of the paper; the rest as PC-DARTS trains on ImageNet
    "paper-imagenet": TrainRecipe(
        channels=48,
        cells=14,
        epochs=250,
        batch_size=1024,
        learning_rate=0.5,
        weight_decay=3e-5,
        label_smoothing=0.1,
        auxiliary=True,
        crop_padding=32,
        colour_jitter=0.4,
        validation_share=0.01,
        precision="bfloat16",
    ),
    # for networks that bring weights from a large data set: few epochs of small steps
    "fine-tune": TrainRecipe(
        epochs=15,
        batch_size=64,
        learning_rate=0.005,
        weight_decay=1e-4,
        label_smoothing=0.1,
        validation_share=0.1,
    ),
    # under a minute for digits on two cores
    "quick": TrainRecipe(
        channels=16,
        cells=5,
        epochs=16,
        batch_size=96,
        learning_rate=0.05,
        crop_padding=1,
        flip=False,
        train_images=10_000,
        validation_share=0.1,
    ),
}

Build = Callable[[ImageData], "AnyNetwork | Reference"]
"""Makes the network for a data set's channels, size and classes."""


def of_genotype(genotype: Genotype, recipe: TrainRecipe) -> Build:
    """Builds a genotype's network with a recipe's channels and cells."""

    def build(data: ImageData) -> AnyNetwork:
        require_size(data.image_size, recipe.cells, recipe.stem)
        shape = NetworkShape(
            recipe.channels, recipe.cells, data.channels, data.image_size, len(data.classes), recipe.stem
        )
        return shape.network(genotype, recipe.auxiliary, recipe.drop_path)

    return build


def of_reference(name: str, pretrained: Mapping[str, Tensor] | None = None) -> Build:
    """Builds one of torchvision's networks, from scratch or from weights; channels and cells do not count."""
    return lambda data: Reference(name, data.channels, data.image_size, len(data.classes), pretrained)


@dataclass(frozen=True)
class TrainEpoch:
    """One epoch of a training as it is reported; accuracies in percent."""

    epoch: int
    loss: float
    accuracy: float
    test_accuracy: float
    test_top5: float
    validation_accuracy: float | None

    def as_dict(self) -> dict[str, Any]:
        """The epoch as plain values for JSON."""
        return asdict(self)


def balanced_weights(labels: Tensor, classes: int) -> Tensor:
    """The weight of each class in a balanced loss: images / (classes with images * images of the class).

    Args:
        labels: int64 `[images]`.
        classes: how many there are; one without an image has weight 0.

    Returns:
        float32 `[classes]`, with a mean of 1 over the images.
    """
    counts = labels.cpu().bincount(minlength=classes)
    weights = len(labels) / (counts.clamp(min=1) * int((counts > 0).sum()))
    return torch.where(counts > 0, weights, 0.0).float()


class Training:
    """One training, epoch by epoch: SGD with a cosine from the learning rate to 0.

    Args:
        build: makes the network.
        data: the data set.
        recipe: the hyper-parameters.
        seed: decides everything random.
        device: where it runs.
        world: of several processes, which one this is; each must be made with the same arguments.

    Raises:
        DataError: the data set does not suit the recipe.
    """

    COMPILE_FROM: ClassVar[dict[str, float]] = {"cpu": 1e13, "cuda": 5e14}
    """Multiply-accumulates of a whole training, forward, from which on compiling, some minutes, pays.

    Measured on CPUs, estimated for GPUs.
    """

    def __init__(
        self,
        build: Build,
        data: ImageData,
        recipe: TrainRecipe,
        seed: int,
        device: torch.device,
        world: World = ALONE,
    ) -> None:
        data = data.limited(recipe.train_images, seed)
        held_out = round(recipe.validation_share * len(data.train))
        fewest = max(2, world.size)
        if len(data.train) - held_out < fewest:
            raise DataError(f"has fewer than {fewest} training images")
        self.recipe, self.seed, self.device, self.world = recipe, seed, device, world
        order = torch.randperm(len(data.train), generator=torch.Generator().manual_seed(seed + 1))
        self.validation = data.train.subset(order[:held_out]).to(device)
        if held_out:
            data = replace(data, train=data.train.subset(order[held_out:]))
        self.statistics = data.statistics(device)
        self.class_weights = (
            balanced_weights(data.train.targets, len(data.classes)).to(device)
            if recipe.class_weights == "balanced"
            else None
        )
        self.data = replace(data, train=data.train.to(device), test=data.test.to(device))
        torch.manual_seed(seed)
        self.net = build(data).to(memory_format=torch.channels_last)
        self.net.to(device)
        self._trained = world.wrap(self.net)
        self.optimizer = torch.optim.SGD(
            self.net.parameters(),
            recipe.learning_rate,
            recipe.momentum,
            weight_decay=recipe.weight_decay,
            fused=True,
        )
        self.schedule = torch.optim.lr_scheduler.CosineAnnealingLR(self.optimizer, recipe.epochs)
        self.epoch, self.fraction = 0, 0.0
        self._compiled: Callable[[Tensor], tuple[Tensor, Tensor | None]] | None = None
        if self._is_long():
            # told so, as its own choice lays gradients of depthwise convolutions out anew (PyTorch 2.14.1)
            options: dict[str, str | int | bool | Callable[..., Any]] = {"force_layout_optimization": True}
            self._compiled = torch.compile(self.net, fullgraph=True, dynamic=False, options=options)

    @property
    def epochs(self) -> int:
        """The number of epochs of the whole training."""
        return self.recipe.epochs

    @property
    def done(self) -> bool:
        """Whether the training is at its end."""
        return self.epoch >= self.epochs

    @property
    def progress(self) -> float:
        """The share of the whole training that is done, 0 to 1; `fraction` is that of the epoch in hand."""
        return min(1.0, (self.epoch + self.fraction) / self.epochs)

    def run(self, between_steps: Callable[[], None]) -> TrainEpoch:
        """Trains one more epoch. What `between_steps` raises ends it, and the epoch is lost."""
        generator = torch.Generator().manual_seed(self.seed * 100_003 + self.epoch + 1)
        torch.manual_seed(self.seed * 100_003 + self.epoch + 1)  # drop path draws from the global stream
        self.net.train()
        totals, seen = torch.zeros(2, device=self.device), 0
        recipe = self.recipe
        batches = self.data.train.batches(recipe.batch_size, generator, recipe.crop_padding, recipe.flip)
        for images, labels in batches:
            between_steps()
            # drawn for the whole batch, so that it is the same for any number of processes
            images = jitter(images, recipe.colour_jitter, generator)
            images = cut_out(normalise(images, self.statistics), recipe.cutout, generator)
            images, labels = self.world.part(images, labels)
            if len(labels) == 0:  # a last batch of fewer images than processes
                continue
            loss, right = self._step(images, labels)
            totals += torch.stack([loss * len(labels), right])
            seen += len(labels)
            self.fraction = seen * self.world.size / len(self.data.train)
        self.schedule.step()
        self.epoch, self.fraction = self.epoch + 1, 0.0
        total, right = self.world.sum(totals).tolist()
        seen *= self.world.size
        require_finite(self.epoch, total)
        test_accuracy, test_top5 = self.measure(self.data.test, between_steps)
        validation = self.measure(self.validation, between_steps)[0] if len(self.validation) else None
        return TrainEpoch(self.epoch, total / seen, 100 * right / seen, test_accuracy, test_top5, validation)

    def measure(self, split: Split, between_steps: Callable[[], None]) -> tuple[float, float]:
        """Top-1 and top-5 accuracy on a split, in percent."""
        right = torch.zeros(2, device=self.device)
        for logits, labels in self._logits(split, between_steps):
            hits = logits.topk(min(5, logits.shape[1]), dim=1).indices == labels[:, None]
            right += torch.stack([hits[:, 0].sum(), hits.sum()])
        top1, top5 = self.world.sum(right).tolist()
        return 100 * top1 / len(split), 100 * top5 / len(split)

    def scores(self, between_steps: Callable[[], None]) -> Scores:
        """The scores by class on the test split, of the network as it is now."""
        classes = len(self.data.classes)
        confusion = torch.zeros(classes * classes, dtype=torch.int64, device=self.device)
        for logits, labels in self._logits(self.data.test, between_steps):
            # as `measure` chooses, so that both tell the same accuracy
            given = logits.topk(1, dim=1).indices[:, 0]
            confusion += torch.bincount(labels * classes + given, minlength=classes * classes)
        return scores(self.world.sum(confusion).view(classes, classes).cpu())

    def parameters(self) -> int:
        """Trainable parameters, auxiliary head not counted."""
        head = self.net.auxiliary
        unused = sum(p.numel() for p in head.parameters()) if head is not None else 0
        return sum(p.numel() for p in self.net.parameters()) - unused

    def macs(self) -> int:
        """Multiply-accumulate operations of one image."""
        return measure_macs(self.net, self.data.channels, self.data.image_size)

    def normalisation(self) -> dict[str, list[float]]:
        """Mean and deviation of the training images by channel, 0 to 1, by which images are normalised."""
        mean, deviation = (value.flatten().tolist() for value in self.statistics)
        return {"mean": mean, "deviation": deviation}

    def weights(self, facts: Mapping[str, str]) -> bytes:
        """The network's weights as they are now, as safetensors.

        Args:
            facts: what its metadata tells beside the classes and the normalisation, which are JSON.
        """
        card = {"classes": list(self.data.classes), **self.normalisation()}
        return safetensors.torch.save(
            {name: value.contiguous() for name, value in self.net.state_dict().items()},
            metadata={**{name: json.dumps(value) for name, value in card.items()}, **facts},
        )

    def state_dict(self) -> dict[str, Any]:
        """The state from which `load_state_dict` goes on bit for bit, on as many threads."""
        return {"epoch": self.epoch, "parts": [part.state_dict() for part in self._parts()]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes back to the end of the epoch at which the state was taken."""
        for part, values in zip(self._parts(), state["parts"], strict=True):
            part.load_state_dict(values)
        self.epoch = state["epoch"]

    def _parts(self) -> tuple[Any, ...]:
        return self.net, self.optimizer, self.schedule

    def _is_long(self) -> bool:
        """Whether compiling pays; several processes run as they are."""
        if self.world.size > 1:
            return False
        macs = self.macs() * len(self.data.train) * self.recipe.epochs
        return macs >= self.COMPILE_FROM.get(self.device.type, torch.inf)

    @torch.no_grad()
    def _logits(self, split: Split, between_steps: Callable[[], None]) -> Iterator[Batch]:
        """Logits and labels of this process's part of a split, batch by batch."""
        self.net.eval()
        part = slice(self.world.rank, None, self.world.size)
        for images, labels in split.batches(EVALUATED_TOGETHER, None):
            between_steps()
            with computed_in(self.recipe.precision, self.device):
                logits, _ = self.net(self._input(normalise(images[part], self.statistics)))
            yield logits, labels[part]

    def _step(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Mean loss of a batch before the step, and how many of its images were classified rightly."""
        try:
            logits, loss = self._gradients(images, labels)
        except Exception:
            if self._compiled is None:
                raise
            # whatever the compiler lacks here, the network runs without it
            logger.warning("not compiled, so slower", exc_info=True)
            self._compiled = None
            logits, loss = self._gradients(images, labels)
        nn.utils.clip_grad_norm_(self.net.parameters(), self.recipe.gradient_clip)
        self.optimizer.step()
        return loss, (logits.argmax(1) == labels).sum()

    def _gradients(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Logits and mean loss of a batch; the parameters' gradients are then those of the total loss."""
        self.optimizer.zero_grad(set_to_none=True)
        # another size than the full batch's would be compiled anew
        full = len(images) == self.recipe.batch_size
        forward = self._compiled if full and self._compiled is not None else self._trained
        with computed_in(self.recipe.precision, self.device):
            logits, auxiliary = forward(self._input(images))
        loss = total = self._loss(logits, labels)
        if auxiliary is not None:
            total = loss + AUXILIARY_WEIGHT * self._loss(auxiliary, labels)
        total.backward()
        return logits.detach(), loss.detach()

    def _loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        logits, smoothing = logits.float(), self.recipe.label_smoothing
        if self.class_weights is None:
            return F.cross_entropy(logits, labels, label_smoothing=smoothing)
        # by the number of images, not by the sum of their weights: then parts of a batch add up to the whole
        return F.cross_entropy(
            logits, labels, self.class_weights, reduction="sum", label_smoothing=smoothing
        ) / len(labels)

    def _input(self, images: Tensor) -> Tensor:
        return images.contiguous(memory_format=torch.channels_last)
