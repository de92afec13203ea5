"""How far each hot path is from what this machine can do: its peaks, and the share that each step reaches.

Peaks are of the best of some runs: a matrix product and a convolution for arithmetic, a copy for memory. A
step's operations are counted by torch's own counter, which knows products and convolutions alone; the rest
(normalisation, pooling, sums of edges) moves memory and counts as nothing.
"""

import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import torch
import torch.nn.functional as F
from torch.utils.flop_counter import FlopCounterMode

from bench import profile
from bench.servers import machine
from models.datasets.sources import load_named
from models.genotypes.genotype import random_tensor
from models.genotypes.graph import from_tensor
from models.genotypes.published import PUBLISHED
from models.genotypes.search_space import DARTS
from models.latent_spaces.fit import LatentFit
from models.latent_spaces.vgae import DEFAULT_SEED, PRESETS
from models.trainings.retrain import RECIPES, Training, of_genotype

ROUNDS, EPOCHS = 7, 200
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


def seconds(work: Callable[[], Any], rounds: int = ROUNDS) -> list[float]:
    """Of each round of some work, after one that is not counted."""
    taken = []
    for number in range(rounds + 1):
        began = time.perf_counter()
        work()
        if DEVICE.type == "cuda":
            torch.cuda.synchronize()
        if number:
            taken.append(time.perf_counter() - began)
    return taken


def peaks() -> dict[str, float]:
    """Arithmetic in GFLOP/s and memory in GB/s, of the fastest round each."""
    a, b = torch.randn(2, 2048, 2048, device=DEVICE)
    x, w = torch.randn(32, 64, 32, 32, device=DEVICE), torch.randn(64, 64, 3, 3, device=DEVICE)
    source = torch.empty(256 * 2**20 // 4, device=DEVICE).normal_()
    target = torch.empty_like(source)
    return {
        "matmul_gflops": 2 * 2048**3 / min(seconds(lambda: a @ b)) / 1e9,
        "conv_gflops": 2 * 32 * 64 * 64 * 9 * 32**2 / min(seconds(lambda: F.conv2d(x, w, padding=1))) / 1e9,
        "copy_gb_s": 2 * 4 * source.numel() / min(seconds(lambda: target.copy_(source))) / 1e9,
    }


def counted(work: Callable[[], Any]) -> float:
    """The operations of products and convolutions in some work, in GFLOP."""
    counter = FlopCounterMode(display=False)
    with counter:
        work()
    return counter.get_total_flops() / 1e9


def search_step() -> tuple[float, float]:
    """GFLOP and seconds of a search step of the paper's recipe with a batch of 32."""
    step = profile.search()
    return counted(step), median(seconds(step))


def training_step() -> tuple[float, float]:
    """GFLOP and seconds of a training step of `quick` on the digits, not compiled."""
    recipe = RECIPES["quick"]
    build = of_genotype(PUBLISHED[0].genotype, recipe)
    training = Training(build, load_named("digits", Path()), recipe, 0, DEVICE)
    images = torch.randn(recipe.batch_size, 1, 8, 8, device=DEVICE)
    labels = torch.randint(10, (recipe.batch_size,), device=DEVICE)
    training.net.train()

    def step() -> None:
        training._step(images, labels)[0].item()

    return counted(step), median(seconds(step))


def fit_epoch() -> tuple[float, float]:
    """GFLOP and seconds of an epoch of the `paper` preset on ten graphs.

    The counter sees no compiled code, so that operations are counted on a fit too short to be compiled.
    """
    graph = from_tensor(random_tensor(10, DARTS, torch.Generator().manual_seed(0)), DARTS)
    paper, generator = PRESETS["paper"], torch.Generator().manual_seed(0)
    short = LatentFit(graph, DARTS, replace(paper, max_epochs=1_000), DEFAULT_SEED, torch.device("cpu"))
    flops = counted(lambda: short.advance(1_000, generator)) / short.epoch
    fit = LatentFit(graph, DARTS, paper, DEFAULT_SEED, torch.device("cpu"))
    times = []
    for number in range(ROUNDS + 1):
        began, start = time.perf_counter(), fit.epoch
        while fit.epoch < start + EPOCHS:
            fit.advance(paper.max_epochs, generator)
        if number:  # the first compiles
            times.append((time.perf_counter() - began) / (fit.epoch - start))
    return flops, median(times)


def main() -> None:
    """Prints one JSON line."""
    roof = peaks()
    most = max(roof["matmul_gflops"], roof["conv_gflops"])
    told = {}
    for name, measure in (("search", search_step), ("train", training_step), ("fit", fit_epoch)):
        gflop, taken = measure()
        told[name] = {
            "gflop": round(gflop, 6),
            "seconds": float(f"{taken:.4g}"),
            "gflops": round(gflop / taken, 2),
            "share_of_peak": round(gflop / taken / most, 4),
        }
    peak = {name: round(value, 1) for name, value in roof.items()}
    threads = torch.get_num_threads()
    print(json.dumps({**machine(), "command": "make bench-roof", "threads": threads, **peak, **told}))


if __name__ == "__main__":
    main()
