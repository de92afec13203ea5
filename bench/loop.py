"""The closed loop on NAS-Bench-201, where a training is a look-up: what to train next, and what it comes to.

Ways: `random`, architectures drawn at random; `evolution`, regularised evolution (Real et al., 2019; a
population of ten, tournaments of five); and `ours`, `models.generation.campaign`, which chooses among 2,000
random architectures and what a hundred draws around each of the best three give. A way sees validation
accuracies; told is the test accuracy of its best by validation after so many trainings, as a mean over seeds.

`scratch` starts from nothing, `cifar10_known` with 50 architectures known on CIFAR-10: ours takes them as a
source, evolution begins with the best ten of them, and random search cannot use them. `found` is the share of
seeds in which ours has the best of the whole table by validation, after all its trainings.

`ahead` tells by how much ours that knows CIFAR-10 is ahead of ours from nothing with the same seed, from 32
trainings on, when what is known has no part any more: means with half of their 95 % intervals, by the
validation accuracy, which is what is looked for, and by the test accuracy of the same architectures.
"""

import argparse
import json
import multiprocessing
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import cache, partial
from itertools import islice
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from app.settings import get_settings
from bench.tables import Figures, Table, columns, whole
from bench.transfer import around_best, edit, half_interval
from models.generation.campaign import FORGOTTEN, Source, propose
from models.generation.generate import pack
from models.genotypes.genotype import random_tensor
from models.genotypes.search_space import NAS_BENCH_201
from models.latent_spaces import ready

TARGETS = {"cifar100": "cifar100", "imagenet16-120": "imagenet16"}
STARTS = ("scratch", "cifar10_known")
TRAININGS, SEEDS, KNOWN, BEST = (5, 10, 20, 50, 100), 20, 50, 3
LATE = (FORGOTTEN, 50, 100)
POPULATION, TOURNAMENT, RANDOM = 10, 5, 2_000

Known = tuple[Tensor, Figures] | None
"""Architectures with their accuracies on CIFAR-10."""

Way = Callable[[Table, Figures, Known, int], Iterator[int]]
"""Gives rows of a table to train, one after the other, from validation, what is known, and a seed."""


def rows_of(table: Table, genotypes: Tensor) -> Figures:
    """The rows of genotypes in a table that holds all of their space."""
    keys = pack(table.genotypes, table.space)[:, 0]
    order = np.argsort(keys)
    return order[np.searchsorted(keys[order], pack(genotypes, table.space)[:, 0])]


def at_random(table: Table, valid: Figures, known: Known, seed: int) -> Iterator[int]:
    """Every architecture once, in a random order."""
    yield from np.random.default_rng(seed).permutation(len(valid)).tolist()


def evolution(table: Table, valid: Figures, known: Known, seed: int) -> Iterator[int]:
    """Regularised evolution: the oldest dies, the best of a tournament has a child with one edit."""
    rng = np.random.default_rng(seed)
    first = rng.permutation(len(valid))[:POPULATION]
    if known is not None:
        first = rows_of(table, known[0][known[1].argsort()[::-1].copy()][:POPULATION])
    population = list(map(int, first))
    yield from population
    while True:
        parent = max(rng.choice(population, TOURNAMENT, replace=False), key=lambda row: valid[row])
        child = table.genotypes[int(parent)].clone()
        edit(child, table.space, rng)
        population = [*population[1:], int(rows_of(table, child[None])[0])]
        yield population[-1]


def ours(table: Table, valid: Figures, known: Known, seed: int) -> Iterator[int]:
    """The campaign's choice, one training at a time."""
    space, net = table.space, ready.load(table.space)
    source = None if known is None else Source.of(*known, space)
    generator = torch.Generator().manual_seed(seed)
    tried: list[int] = []
    while True:
        drawn = [random_tensor(RANDOM, space, generator)]
        for row in sorted(tried, key=lambda row: -valid[row])[:BEST]:
            best = table.genotypes[row][None]
            drawn.append(around_best(net, best, seed + len(tried), unique=False))
        pool = torch.cat(drawn)
        chosen = propose(table.genotypes[tried], valid[tried], pool, space, source)
        if chosen is not None:
            tried.append(int(rows_of(table, pool[chosen.number][None])[0]))
            yield tried[-1]


WAYS: dict[str, Way] = {"random": at_random, "evolution": evolution, "ours": ours}


@cache
def tables() -> tuple[Table, dict[str, Figures]]:
    """The table of the space and all its columns, read once a process."""
    folder = get_settings().data_root / "benchmarks"
    return whole(folder, NAS_BENCH_201), columns(folder, "nas-bench-201")


def replay(label: str, target: str, start: str, seed: int) -> list[int]:
    """The rows of the table that a way trains, one after the other."""
    torch.set_num_threads(1)
    table, measured = tables()
    valid = measured[f"{TARGETS[target]}_valid"]
    rows = np.random.default_rng([seed, KNOWN]).choice(len(valid), KNOWN, replace=False)
    known = None if start == "scratch" else (table.genotypes[rows], measured["cifar10_valid"][rows])
    return list(islice(WAYS[label](table, valid, known, seed), TRAININGS[-1]))


def best_of(runs: list[list[int]], valid: Figures, counts: tuple[int, ...]) -> NDArray[np.int64]:
    """The row of the best by validation after so many trainings, `[runs, counts]`."""
    rows = np.array(runs)
    return np.stack([rows[np.arange(len(rows)), valid[rows[:, :n]].argmax(1)] for n in counts], axis=1)


def ways(runs: dict[str, list[list[int]]], valid: Figures, test: Figures) -> dict[str, Any]:
    """The mean figures of each way, and the share of seeds in which ours has the table's best."""
    best = {label: best_of(each, valid, TRAININGS) for label, each in runs.items()}
    reached = {label: test[rows].mean(0).round(2).tolist() for label, rows in best.items()}
    found = (valid[best["ours"][:, -1]] == valid.max()).mean()
    return {
        **{label: dict(zip(map(str, TRAININGS), means, strict=True)) for label, means in reached.items()},
        "found": round(float(found), 3),
    }


def ahead(known: list[list[int]], scratch: list[list[int]], valid: Figures, test: Figures) -> dict[str, Any]:
    """How far runs that knew another data set are ahead of the others of the same seeds."""
    theirs, others = (best_of(runs, valid, LATE) for runs in (known, scratch))
    figures = {}
    for name, accuracy in (("validation", valid), ("test", test)):
        difference = accuracy[theirs] - accuracy[others]
        figures[name] = {
            str(count): {"mean": round(float(mean), 3), "half_interval": round(float(width), 3)}
            for count, mean, width in zip(LATE, difference.mean(0), half_interval(difference), strict=True)
        }
    return figures


def main() -> None:
    """Prints the figures of both targets."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=SEEDS)
    seeds = range(parser.parse_args().seeds)
    print(f"seeds 0 to {len(seeds) - 1}")
    figures: dict[str, Any] = {}
    _, measured = tables()
    with ProcessPoolExecutor(os.cpu_count(), multiprocessing.get_context("spawn")) as processes:
        for target, name in TARGETS.items():
            valid, test = measured[f"{name}_valid"], measured[f"{name}_test"]
            runs = {
                start: {
                    label: list(processes.map(partial(replay, label, target, start), seeds)) for label in WAYS
                }
                for start in STARTS
            }
            figures[target] = {
                "best_by_validation": round(float(test[valid.argmax()]), 2),
                **{start: ways(runs[start], valid, test) for start in STARTS},
                "ahead": ahead(runs["cifar10_known"]["ours"], runs["scratch"]["ours"], valid, test),
            }
            print(target, figures[target], flush=True)
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
