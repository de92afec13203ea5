"""How well the predictor of accuracy ranks genotypes that it has not seen, by the number of labels.

On the NAS-Bench-301 sample, whose accuracies a surrogate predicted, 200 genotypes are held out; on
NAS-Bench-201 all but the labels, with the test accuracy on CIFAR-100. Told is Spearman's rank correlation, as
a mean over repetitions: of the predictor (`spearman`, `nas-bench-201`), of the same models on latents, and
under `simple` of what anyone would try: ridge regression on counts of operations and on one-hot edges, and
parameters alone. `cross_validated` is what the predictor says of itself, `inside` the share of accuracies
within 1.96 predicted deviations, `fit_ms` the median milliseconds of a fit.

Of latents, `ready_latent_spearman` is of the ready space, which knows no accuracy, and `latent_spearman` of
spaces that were trained on the labelled genotypes with an `accuracy_weight` of 1, for 1,000 epochs; with
`latent_exact`, the share of 500 unseen genotypes that these give back, and `latent_edits`, the edges that a
step of 0.1 changes around the best of them, with those of `untaught` spaces of as many epochs.
"""

import argparse
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from matplotlib.figure import Figure
from scipy.stats import spearmanr
from sklearn.decomposition import PCA
from sklearn.linear_model import Ridge
from torch import Tensor

from app.settings import get_settings
from bench.tables import Figures, surrogate, whole
from bench.transfer import neighbours
from models.generation.features import SIZES, features, operations
from models.generation.predictor import fit
from models.genotypes.genotype import edits
from models.genotypes.graph import from_tensor
from models.genotypes.search_space import DARTS, NAS_BENCH_201, SearchSpace
from models.genotypes.size import count_parameters
from models.latent_spaces import ready
from models.latent_spaces.accuracy import AccuracyFit
from models.latent_spaces.fit import LatentFit
from models.latent_spaces.vgae import PRESETS, VGAE, encode
from worker.fit import learnt

LABELS = {"darts": (10, 20, 50, 100, 200, 525), "nas-bench-201": (16, 32, 100)}
HELD, REPETITIONS = 200, 5
TAUGHT, TAUGHT_EPOCHS = 2, 1_000
"""Repetitions of the spaces that are trained, which take longer, and their epochs."""

SIMPLE = ("ridge on counts", "ridge on one-hot edges", "parameters")

Rank = Callable[[Figures, Figures], tuple[Figures, dict[str, float]]]
"""Fits to labelled rows, and gives the scores of held-out rows and other figures of the fit."""


def predictor(table: Figures, truth: Figures) -> Rank:
    """The service's predictor on a table of features."""

    def rank(labelled: Figures, held: Figures) -> tuple[Figures, dict[str, float]]:
        began = time.perf_counter()
        fitted = fit(table[labelled], truth[labelled])
        seconds = time.perf_counter() - began
        found = fitted.predict(table[held])
        inside = np.abs(found.mean - truth[held]) < 1.96 * found.deviation
        return found.scores, {
            "cross_validated": fitted.agreement.spearman,
            "inside": float(inside.mean()),
            "fit_ms": 1_000 * seconds,
        }

    return rank


def ridge(table: Figures, truth: Figures) -> Rank:
    """Ridge regression on a table of features as it stands."""
    return lambda labelled, held: (Ridge().fit(table[labelled], truth[labelled]).predict(table[held]), {})


def alone(values: Figures) -> Rank:
    """A figure that needs no labels."""
    return lambda labelled, held: (values[held], {})


def measured(
    rank: Rank, truth: Figures, labels: tuple[int, ...], held: int | None, repetitions: int
) -> dict[str, dict[str, float]]:
    """The figures of a way to rank, by the number of labels; `held` rows are held out, or all others."""
    figures = {}
    for count in labels:
        rows: list[dict[str, float]] = []
        for seed in range(repetitions):
            order = np.random.default_rng(seed).permutation(len(truth))
            unseen, others = (order[:held], order[held:]) if held is not None else (order[count:], order)
            scores, other = rank(others[:count], unseen)
            rows.append({"spearman": float(spearmanr(scores, truth[unseen]).statistic), **other})
        figures[str(count)] = {
            name: round(float((np.median if name == "fit_ms" else np.mean)([row[name] for row in rows])), 3)
            for name in rows[0]
        }
    return figures


def latents(genotypes: Tensor, net: VGAE) -> Figures:
    """The latents of genotypes, centred, of mean square 1 in all, so that what varies more counts more."""
    z = encode(net, from_tensor(genotypes, net.space)).flatten(1).double().numpy()
    return np.asarray((z - z.mean(0)) / z.var(0).sum() ** 0.5)


def trained(
    genotypes: Tensor, space: SearchSpace, accuracies: Figures, weight: float, seed: int
) -> tuple[LatentFit, float]:
    """A space of genotypes that learns their accuracies or not, and the share of unseen exact ones."""
    recipe = replace(PRESETS["default"], max_epochs=TAUGHT_EPOCHS, early_end=False, accuracy_weight=weight)
    graph, cpu = from_tensor(genotypes, space), torch.device("cpu")
    training = LatentFit(graph, space, recipe, seed, cpu)
    if weight:
        told = learnt(graph, space, [torch.from_numpy(accuracies)])
        training = AccuracyFit(graph, space, recipe, seed, cpu, *told)
    while not training.done:
        report = training.run(lambda: None)
    return training, report.random_exact


def picture(genotypes: Tensor, space: SearchSpace, truth: Figures, path: Path, count: int = 100) -> None:
    """Two spaces of the same members, one of which learnt their accuracies: all genotypes, by accuracy.

    Across is the direction that the members' accuracies tell, upwards the first principal axis.
    """
    order = np.random.default_rng(0).permutation(len(truth))
    labelled = order[HELD : HELD + count]
    drawn = Figure(figsize=(11, 4.6), layout="constrained")
    for axes, weight in zip(drawn.subplots(1, 2), (0.0, 1.0), strict=True):
        training, _ = trained(genotypes[labelled], space, truth[labelled], weight, 0)
        table = latents(genotypes, training.net)
        across, _ = predictor(with_sizes(table), truth)(labelled, np.arange(len(truth)))
        upwards = PCA(1).fit(table[labelled]).transform(table)[:, 0]
        shown = axes.scatter(
            across, upwards, c=truth, s=8, cmap="viridis", vmin=92, vmax=94.3, rasterized=True
        )
        axes.scatter(
            across[labelled], upwards[labelled], facecolors="none", edgecolors="black", s=22, linewidths=0.5
        )
        axes.set(
            title=f"accuracy_weight {weight:g}", xlabel="told by the members", ylabel="first principal axis"
        )
    drawn.colorbar(shown, ax=drawn.axes, label="CIFAR-10, percent, as the surrogate says")
    drawn.savefig(path, dpi=80, metadata={"Date": None})


def taught(
    genotypes: Tensor, space: SearchSpace, truth: Figures, weight: float, repetitions: int
) -> dict[str, dict[str, float]]:
    """The figures of spaces that learn the accuracies of the labelled genotypes, by the number of labels."""
    figures = {}
    for count in LABELS[space.name]:
        rows = []
        for seed in range(repetitions):
            order = np.random.default_rng(seed).permutation(len(truth))
            held, labelled = order[:HELD], order[HELD : HELD + count]
            training, exact = trained(genotypes[labelled], space, truth[labelled], weight, seed)
            table = with_sizes(latents(genotypes, training.net))
            scores, _ = predictor(table, truth)(labelled, held)
            best = genotypes[labelled[truth[labelled].argmax()]][None]
            near_best = neighbours(training.net, genotypes[labelled], best, seed, unique=False)
            rows.append(
                {
                    "spearman": float(spearmanr(scores, truth[held]).statistic),
                    "exact": exact,
                    "edits": float(edits(near_best, best.expand_as(near_best), space).double().mean()),
                }
            )
        figures[str(count)] = {
            name: round(float(np.mean([row[name] for row in rows])), 3) for name in rows[0]
        }
    return figures


def with_sizes(table: Figures) -> Figures:
    """The same table to the predictor, which is told nothing by the columns where it looks for sizes."""
    return np.concatenate([table, np.zeros((len(table), SIZES))], axis=1)


def ways(genotypes: Tensor, space: SearchSpace, truth: Figures) -> Mapping[str, Rank]:
    """The ways to rank, by name."""
    counts = F.one_hot(genotypes[..., 0], len(space.operations)).sum(2).flatten(1).double().numpy()
    return {
        "predictor": predictor(features(genotypes, space), truth),
        "latents": predictor(with_sizes(latents(genotypes, ready.load(space))), truth),
        "ridge on counts": ridge(counts, truth),
        "ridge on one-hot edges": ridge(operations(genotypes, space), truth),
        "parameters": alone(count_parameters(genotypes, space).double().numpy()),
    }


def spearman(figures: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """The rank correlation alone, by the number of labels."""
    return {labels: found["spearman"] for labels, found in figures.items()}


def main() -> None:
    """Prints the figures of both tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repetitions", type=int, default=REPETITIONS)
    parser.add_argument(
        "--picture", type=Path, help="A file for the maps of two spaces, one of which learnt."
    )
    arguments = parser.parse_args()
    repetitions = arguments.repetitions
    torch.set_num_threads(1)
    folder = get_settings().data_root / "benchmarks"
    print(f"seeds 0 to {repetitions - 1}")
    figures: dict[str, Any] = {}
    table = whole(folder, NAS_BENCH_201)
    sample = surrogate(folder)
    if arguments.picture is not None:
        picture(sample[0], DARTS, sample[1], arguments.picture)
    for space, genotypes, truth, held in (
        (DARTS, *sample, HELD),
        (NAS_BENCH_201, table.genotypes, table.accuracies["cifar100"], None),
    ):
        figures[space.name] = {
            name: measured(rank, truth, LABELS[space.name], held, repetitions)
            for name, rank in ways(genotypes, space, truth).items()
        }
    darts, other = figures["darts"], figures["nas-bench-201"]
    learning, plain = (taught(sample[0], DARTS, sample[1], weight, TAUGHT) for weight in (1.0, 0.0))
    told = {
        "spearman": spearman(darts["predictor"]),
        "latent_spearman": {labels: found["spearman"] for labels, found in learning.items()},
        "latent_exact": {labels: found["exact"] for labels, found in learning.items()},
        "latent_edits": {labels: found["edits"] for labels, found in learning.items()},
        "untaught": plain,
        "ready_latent_spearman": spearman(darts["latents"]),
        "nas-bench-201": spearman(other["predictor"]),
        "nas-bench-201_ready_latent_spearman": spearman(other["latents"]),
        "simple": {
            space: {
                name: spearman(found)
                for name, found in by_way.items()
                if name not in ("predictor", "latents")
            }
            for space, by_way in figures.items()
        },
        **{
            name: {
                space: {labels: found[name] for labels, found in by_way["predictor"].items()}
                for space, by_way in figures.items()
            }
            for name in ("cross_validated", "inside", "fit_ms")
        },
    }
    print(json.dumps(told))


if __name__ == "__main__":
    main()
