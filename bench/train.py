"""One training step of a network: a plain per-edge reference against ours, in turn in one run.

The network is that of the published PC-DARTS genotype with 16 channels and 8 cells, the batch is 64
images of 3 x 32 x 32. Ours is a step of a training that is long enough to be compiled, with the memory
of a worker process; on a GPU in bfloat16. The reference is the same network as the usual code has it, in a
process as Python starts it: contiguous images in float32, one module after the other, strides and dilations
left to the convolutions.
"""

import json
import multiprocessing
import time
from collections.abc import Callable
from dataclasses import replace
from multiprocessing.connection import Connection
from statistics import median
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.peak import peak_mb
from models.datasets.data import normalise
from models.datasets.sources import resident
from models.genotypes.network import Network
from models.genotypes.operations import Depthwise, DilatedDepthwise, FactorizedReduce, shift_pixel
from models.genotypes.published import PUBLISHED
from models.trainings.retrain import RECIPES, Training, of_genotype
from worker import memory

BATCH, ROUNDS = 64, 15
EVALUATED = (16, 32, 64, 128, 256, 512)
"""Sizes of batches that are evaluated."""

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
RECIPE = replace(
    RECIPES["paper-small"],
    channels=16,
    cells=8,
    batch_size=BATCH,
    validation_share=0.0,
    precision="bfloat16" if DEVICE.type == "cuda" else "float32",
)
GENOTYPE = next(p.genotype for p in PUBLISHED if p.name == "PC-DARTS-CIFAR")


class PlainReduce(nn.Module):
    """`FactorizedReduce` with the strides in its convolutions."""

    def __init__(self, ours: FactorizedReduce) -> None:
        super().__init__()
        self.even, self.odd, self.norm = ours.even, ours.odd, ours.norm
        self.even.stride = self.odd.stride = (2, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(x)
        out: Tensor = self.norm(torch.cat([self.even(x), self.odd(shift_pixel(x))], dim=1))
        return out


def plain(net: nn.Module) -> nn.Module:
    """A network as the usual code trains it; its weights keep their names."""
    net.train()
    for module in list(net.modules()):
        if isinstance(module, Depthwise | DilatedDepthwise):
            module.eval()  # then it is the convolution that it is written as
        for name, child in module.named_children():
            if isinstance(child, FactorizedReduce):
                setattr(module, name, PlainReduce(child))
    return net


class PlainNetwork(Network):
    """`Network` whose cells preprocess their inputs each for itself."""

    def forward(self, images: Tensor) -> tuple[Tensor, None]:
        s0 = s1 = self.stem(images)
        for cell in self.cells:
            s0, s1 = s1, cell([cell.preprocess[0](s0), cell.preprocess[1](s1)], self.drop_path)
        return self.classifier(F.adaptive_avg_pool2d(s1, 1).flatten(1)), None


class Reference:
    """A step of SGD on contiguous images, as the usual code has it."""

    def __init__(self, weights: dict[str, Tensor]) -> None:
        self.net = plain(PlainNetwork(GENOTYPE, 3, 10, RECIPE.channels, RECIPE.cells))
        self.net.load_state_dict(weights)
        self.net.to(DEVICE)
        self.optimizer = torch.optim.SGD(
            self.net.parameters(), RECIPE.learning_rate, RECIPE.momentum, weight_decay=RECIPE.weight_decay
        )

    def step(self, images: Tensor, labels: Tensor) -> float:
        """One step; its loss."""
        self.optimizer.zero_grad()
        logits, _ = self.net(images)
        loss = F.cross_entropy(logits, labels)
        loss.backward()
        nn.utils.clip_grad_norm_(self.net.parameters(), RECIPE.gradient_clip)
        self.optimizer.step()
        return loss.item()


def serve(connection: Connection, weights: dict[str, Any], images: Any, labels: Any, keep: bool) -> None:
    """A process with the reference: for every message one step, answered by its seconds and its loss."""
    if keep:
        memory.keep_freed()
    reference = Reference({name: torch.from_numpy(value) for name, value in weights.items()})
    images, labels = torch.from_numpy(images).to(DEVICE), torch.from_numpy(labels).to(DEVICE)
    while connection.recv():
        began = time.perf_counter()
        loss = reference.step(images, labels)
        connection.send((time.perf_counter() - began, loss))


def start(training: Training, images: Tensor, labels: Tensor, keep: bool) -> Connection:
    """The reference with a training's weights, in a process of its own."""
    ours, theirs = multiprocessing.Pipe()
    weights = {name: value.contiguous().cpu().numpy() for name, value in training.net.state_dict().items()}
    context = multiprocessing.get_context("spawn")
    arguments = (theirs, weights, images.contiguous().cpu().numpy(), labels.cpu().numpy(), keep)
    context.Process(target=serve, args=arguments, daemon=True).start()
    return ours


def training() -> tuple[Training, Tensor, Tensor]:
    """Ours, with the images and labels of a step."""
    torch.manual_seed(0)
    pixels = torch.randint(256, (BATCH, 3, 32, 32), dtype=torch.uint8).to(DEVICE)
    labels = torch.randint(10, (BATCH,)).to(DEVICE)
    data = resident(pixels, labels, pixels, labels, tuple("0123456789"))
    Training.COMPILE_FROM[DEVICE.type] = 0.0
    ours = Training(of_genotype(GENOTYPE, RECIPE), data, RECIPE, 0, DEVICE)
    ours.net.train()
    return ours, normalise(pixels, ours.statistics), labels


def our_step() -> Callable[[], object]:
    """A step of ours, compiled; what the compiler took is given back."""
    ours, images, labels = training()
    ours._step(images, labels)
    memory.give_back()
    return lambda: ours._step(images, labels)


def plain_step() -> Callable[[], object]:
    """A step of the reference."""
    ours, images, labels = training()
    reference = Reference({name: value.contiguous() for name, value in ours.net.state_dict().items()})
    return lambda: reference.step(images.contiguous(), labels)


def images_per_s(ours: Training) -> dict[int, int]:
    """Images that are evaluated in a second, by the size of their batch."""
    found = {}
    with torch.no_grad():
        ours.net.eval()
        for size in EVALUATED:
            images = torch.randn(size, 3, 32, 32, device=DEVICE).contiguous(memory_format=torch.channels_last)
            seconds = []
            for _ in range(max(3, max(EVALUATED) // size)):
                began = time.perf_counter()
                ours.net(images)[0].sum().item()  # waits for the device
                seconds.append(time.perf_counter() - began)
            found[size] = round(size / median(seconds))
    return found


def asked(connection: Connection) -> tuple[float, float]:
    """One step of a process with the reference: seconds and loss."""
    connection.send(True)
    seconds, loss = connection.recv()
    return float(seconds), float(loss)


def main() -> None:
    """Prints the medians and their ratio."""
    memory.keep_freed()
    ours, images, labels = training()
    references = {"reference": False, "reference_keeping_memory": True}
    processes = {name: start(ours, images, labels, keep) for name, keep in references.items()}
    losses = {name: asked(process)[1] for name, process in processes.items()}
    began = time.perf_counter()
    loss = float(ours._step(images, labels)[0])
    compile_s = time.perf_counter() - began
    times: dict[str, list[float]] = {"ours": [], **{name: [] for name in processes}}
    for _ in range(ROUNDS):
        for name, process in processes.items():
            times[name].append(asked(process)[0])
        began = time.perf_counter()
        ours._step(images, labels)[0].item()  # waits for the device
        times["ours"].append(time.perf_counter() - began)
    for process in processes.values():
        process.send(False)
    seconds = {name: median(measured) for name, measured in times.items()}
    peaks = {"reference": peak_mb(plain_step), "ours": peak_mb(our_step)}
    figures = {
        "reference_s": round(seconds["reference"], 3),
        "reference_keeping_memory_s": round(seconds["reference_keeping_memory"], 3),
        "ours_s": round(seconds["ours"], 3),
        "ratio": round(seconds["reference"] / seconds["ours"], 2),
        "ratio_keeping_memory": round(seconds["reference_keeping_memory"] / seconds["ours"], 2),
        "peak_mb": peaks,
        "evaluated_images_per_s": images_per_s(ours),
        "device": torch.cuda.get_device_name() if DEVICE.type == "cuda" else "cpu",
        "precision": RECIPE.precision,
        "threads": torch.get_num_threads(),
        "compiled": ours._compiled is not None,
        "compile_s": round(compile_s, 1),
        "loss_difference_of_first_step": abs(loss - losses["reference"]) / loss,
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
