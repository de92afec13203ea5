"""Scores of untrained networks: how far they agree with accuracies on public tables, and how fast they are.

Per table and data set, Spearman's rank correlation of accuracies with NASWOT, synflow, parameters and
multiply-accumulates. The images are 32 of CIFAR-10 for all data sets, as those of the others are not at hand.
Under `predictor`, what the predictor of accuracy reaches on unseen genotypes without the scores, with them,
and as the service takes them (where they lower its error), by the number of labels. `per_second` counts
architectures scored side by side, `one_by_one` networks that are built and passed alone, as the papers' code
does it; `ratio` is the median of one by the other, measured in turn.
"""

import argparse
import json
import time
import zipfile
from statistics import median
from typing import Any

import numpy as np
import torch
from PIL import Image
from scipy.stats import spearmanr
from torch import Tensor, nn

from app.settings import get_settings
from bench.tables import Figures, darts, read, surrogate, whole
from models.generation.features import features
from models.generation.predictor import fit
from models.generation.training_free import CELLS, CHANNELS, SIDE, scores
from models.genotypes.genotype import from_tensor, random_tensor
from models.genotypes.search_space import DARTS, NAS_BENCH_201, SearchSpace
from models.genotypes.size import NetworkShape, count_macs, count_parameters

IMAGES, SOME = 32, 1_000
LABELS, HELD, REPETITIONS = (10, 20, 50, 100), 200, 5
ROUNDS, TIMED = 5, 64


def cifar10() -> Tensor:
    """Thirty-two training images of CIFAR-10, normalised, from the archive in the data root."""
    with zipfile.ZipFile(get_settings().data_root / "cifar10.zip") as archive:
        names = sorted(name for name in archive.namelist() if name.startswith("train/") and "." in name)
        drawn = np.random.default_rng(0).choice(names, IMAGES, replace=False)
        pixels = [np.asarray(Image.open(archive.open(name)).convert("RGB")) for name in drawn]
    images = torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2).float()
    deviation, mean = torch.std_mean(images, dim=(0, 2, 3), keepdim=True)
    return (images - mean) / deviation


def told(genotypes: Tensor, space: SearchSpace, images: Tensor) -> dict[str, Figures]:
    """The orders that need no training, by name."""
    found = scores(genotypes, images, space)
    orders = {"naswot": found.naswot.numpy().copy(), "synflow": found.synflow.numpy().copy()}
    for score in orders.values():
        finite = np.isfinite(score)
        score[~finite] = score[finite].min()
    orders["parameters"] = count_parameters(genotypes, space).double().numpy()
    orders["macs"] = count_macs(genotypes, space).double().numpy()
    return orders


def predicted(genotypes: Tensor, accuracies: Figures, space: SearchSpace, orders: dict[str, Figures]) -> Any:
    """Spearman on unseen genotypes by the number of labels: without scores, with them, and as the service."""
    table, figures = features(genotypes, space), {}
    for labels in LABELS:
        reached: dict[str, list[float]] = {"without": [], "with": [], "service": []}
        for repetition in range(REPETITIONS):
            rows = np.random.default_rng([repetition, labels]).permutation(len(genotypes))
            known, held = rows[:labels], rows[labels:][:HELD]
            scored = [
                (orders[name] - orders[name][known].mean()) / (orders[name][known].std() or 1.0)
                for name in ("naswot", "synflow")
            ]
            tables = {"without": table, "with": np.concatenate([np.stack(scored, axis=1), table], axis=1)}
            fitted = {name: fit(ours[known], accuracies[known]) for name, ours in tables.items()}
            for name, ours in tables.items():
                scores_there = fitted[name].predict(ours[held]).scores
                reached[name].append(float(spearmanr(scores_there, accuracies[held])[0]))
            taken = min(tables, key=lambda name: fitted[name].error)
            reached["service"].append(reached[taken][-1])
        figures[str(labels)] = {name: round(float(np.mean(values)), 3) for name, values in reached.items()}
    return figures


def one_by_one(genotypes: Tensor, images: Tensor, space: SearchSpace) -> None:
    """NASWOT and synflow of networks that are built and passed one after the other."""
    shape = NetworkShape(CHANNELS, CELLS, images.shape[1], SIDE)
    small = torch.nn.functional.interpolate(images, SIDE, mode="area")
    for genotype in from_tensor(genotypes, space):
        network, kernel = shape.network(genotype), torch.zeros(len(small), len(small))

        def add(module: nn.Module, inputs: Any, out: Tensor, kernel: Tensor = kernel) -> None:
            codes = (out > 0).flatten(1).float()
            kernel += codes @ codes.T + (1 - codes) @ (1 - codes).T

        for module in network.modules():
            if isinstance(module, nn.ReLU):
                module.register_forward_hook(add)
        with torch.no_grad():
            network(small)
        torch.linalg.slogdet(kernel.double())
        flowing = shape.network(genotype).eval().double()
        for weight in flowing.parameters():
            weight.data.abs_()
        flowing(torch.ones_like(small[:1]).double())[0].sum().backward()
        sum(float((w * w.grad).sum().detach()) for w in flowing.parameters() if w.grad is not None)


def speed(images: Tensor) -> dict[str, float]:
    """Architectures a second, side by side and one by one, in turn."""
    genotypes = random_tensor(TIMED, DARTS, torch.Generator().manual_seed(1))
    seconds: dict[str, list[float]] = {"together": [], "one by one": []}
    scores(genotypes[:2], images, DARTS)
    for _ in range(ROUNDS):
        for name, way in (("together", scores), ("one by one", one_by_one)):
            began = time.perf_counter()
            way(genotypes, images, DARTS)
            seconds[name].append(time.perf_counter() - began)
    ratios = [b / a for a, b in zip(seconds["together"], seconds["one by one"], strict=True)]
    return {
        "per_second": round(TIMED / median(seconds["together"]), 1),
        "one_by_one": round(TIMED / median(seconds["one by one"]), 1),
        "ratio": round(median(ratios), 2),
    }


def main() -> None:
    """Prints the figures of every table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--architectures", type=int, default=SOME, help="of each table, at most")
    some = parser.parse_args().architectures
    folder, images = get_settings().data_root / "benchmarks", cifar10()
    figures: dict[str, Any] = {**speed(images), "tables": {}, "predictor": {}}
    print({name: figures[name] for name in ("per_second", "one_by_one", "ratio")}, flush=True)
    genotypes, accuracies = surrogate(folder)
    bench = whole(folder, NAS_BENCH_201)
    trained = read(folder, "darts-199-trained", DARTS, darts)
    tables: dict[str, tuple[Tensor, SearchSpace, dict[str, Figures]]] = {
        "nas-bench-301": (genotypes, DARTS, {"cifar10": accuracies}),
        "nas-bench-201": (bench.genotypes, NAS_BENCH_201, dict(bench.accuracies)),
        "darts-199": (trained.genotypes, DARTS, dict(trained.accuracies)),
    }
    for name, (known, space, columns) in tables.items():
        rows = np.random.default_rng(0).permutation(len(known))[:some]
        orders = told(known[rows], space, images)
        figures["tables"][name], figures["predictor"][name] = {}, {}
        for column, values in columns.items():
            agreed = {
                key: round(float(spearmanr(order, values[rows])[0]), 3) for key, order in orders.items()
            }
            figures["tables"][name][column] = agreed
            figures["predictor"][name][column] = predicted(known[rows], values[rows], space, orders)
            print(name, column, agreed, figures["predictor"][name][column], flush=True)
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
