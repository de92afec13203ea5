"""Whether a neighbour of the best point is a good start, on tables of architectures that are all trained.

For every source and target of a table: `n` architectures are known on the source, drawn at random, the best
of them is the point, and the arms have 100 different architectures each: `near`, by equation 8 in the ready
space at the default gamma of its search space; `around`, by deviations of the best one's own latent, as the
service draws what it ranks by accuracy; `mutation`, one or two random edits of the best, what anyone would do
without a latent space; and `random`. `near_drawn` and `mutation_drawn` are 100 draws as they come, with
repetitions, but not the best itself. Told is their percentile on the target, among all of the table, as a
mean over the repetitions and over all pairs of different data sets.

The arms `near_ranked` (of `around`), `near_gamma_ranked` (of `near`), `mutation_ranked` and `random_ranked`
are the best five of 100 by the predictor of accuracy that is fitted to what is known on the source, by the
one for other data sets in the tables and by the one for the same in the space of DARTS; those with `_apart`
are any two of them two edits apart. `refused` is the share of repetitions in which the service would not
rank, as what is known tells no order of itself.

The tables are those of `bench/tables.py`. On the space of DARTS nothing is trained: there a ridge regression,
fitted to what NAS-Bench-301's surrogate predicts, judges. Of the 199 trained DARTS genotypes the arms are
those that are nearest to the best.
"""

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from scipy.stats import spearmanr, ttest_rel
from sklearn.linear_model import Ridge
from torch import Tensor

from app.settings import get_settings
from bench.tables import Figures, Table, darts, read, surrogate, whole
from models.generation.features import features, operations
from models.generation.generate import DEVIATIONS, Draw, around, generate, near, pack
from models.generation.predictor import Predictor, fit
from models.generation.ranked import best as best_of
from models.genotypes.genotype import edits, random_tensor
from models.genotypes.graph import from_tensor
from models.genotypes.search_space import DARTS, NAS_BENCH_201, TRANSNAS_BENCH_101_MICRO, SearchSpace
from models.latent_spaces import ready
from models.latent_spaces.vgae import VGAE, encode, spanning

KNOWN, NEIGHBOURS, BEST_OF, REPETITIONS = (20, 200), 100, 5, 60
APART = 2
"""Edits in which any two ranked architectures of the service differ at least."""

ARMS = ("random", "mutation", "near", "around")
DRAWN = ("mutation_drawn", "near_drawn")
POOLS = {"random": "random", "mutation": "mutation", "near": "around", "near_gamma": "near"}
"""The ranked arms, and which arm each is the best of."""

RANKED = tuple(f"{arm}_ranked{apart}" for arm in POOLS for apart in ("", "_apart"))


def mutations(best: Tensor, space: SearchSpace, rng: np.random.Generator) -> Tensor:
    """Different genotypes, each one or two random edits from the best: an operation or a predecessor."""
    found: dict[bytes, Tensor] = {pack(best, space).tobytes(): best[0]}
    while len(found) <= NEIGHBOURS:
        changed = _mutated(best[0], space, rng)
        found.setdefault(pack(changed[None], space).tobytes(), changed)
    return torch.stack(list(found.values())[1:])


def drawn_mutations(best: Tensor, space: SearchSpace, rng: np.random.Generator) -> Tensor:
    """The same as they come, with repetitions."""
    return torch.stack([_mutated(best[0], space, rng) for _ in range(NEIGHBOURS)])


def _mutated(genotype: Tensor, space: SearchSpace, rng: np.random.Generator) -> Tensor:
    while True:
        changed = genotype.clone()
        for _ in range(rng.integers(1, 3)):
            edit(changed, space, rng)
        if not torch.equal(changed, genotype):
            return changed


def edit(genotype: Tensor, space: SearchSpace, rng: np.random.Generator) -> None:
    """Changes one edge of a genotype in place, by its operation or by its predecessor, equally likely."""
    cell, edge = rng.integers(len(space.cells)), rng.integers(len(space.kept))
    operation, predecessor = genotype[cell, edge].tolist()
    slot = next(slot for slot in space.slots if slot.start <= edge < slot.stop)
    free = [node for node in range(space.kept[edge]) if node not in genotype[cell, slot, 1].tolist()]
    if free and rng.random() < 0.5:
        genotype[cell, edge, 1] = int(rng.choice(free))
        into = genotype[cell, slot]
        genotype[cell, slot] = into[into[:, 1].argsort()]
    else:
        choices = [choice for choice in space.choices if choice != operation]
        genotype[cell, edge] = torch.tensor([int(rng.choice(choices)), predecessor])


def neighbours(net: VGAE, known: Tensor, best: Tensor, seed: int, unique: bool = True) -> Tensor:
    """Genotypes near the best of what is known, at the default gamma; at most 100, all different if asked."""
    space = net.space
    z, point = encode(net, from_tensor(known, space)), encode(net, from_tensor(best, space))
    draw = near(point, spanning(net, z), space.gamma, torch.Generator().manual_seed(seed))
    return _but_the_best(net, draw, best, unique)


def around_best(net: VGAE, best: Tensor, seed: int, unique: bool = True) -> Tensor:
    """Genotypes around the best by its own posterior; at most 100, all different if asked."""
    generator = torch.Generator().manual_seed(seed)
    draw = around(net, encode(net, from_tensor(best, net.space)), best, DEVIATIONS, generator)
    return _but_the_best(net, draw, best, unique)


def _but_the_best(net: VGAE, draw: Draw, best: Tensor, unique: bool) -> Tensor:
    found = generate(net, draw, (4 if unique else 8) * NEIGHBOURS, best, None, unique).genotypes
    return found[(found != best).flatten(1).any(1)][:NEIGHBOURS]


def ranked(arms: Mapping[str, Tensor], predictor: Predictor, space: SearchSpace) -> dict[str, Tensor]:
    """The best five of each arm by the predictor: as they are, and two edits apart as the service does."""
    found = {}
    for arm, pool in POOLS.items():
        drawn = arms[pool]
        scores = predictor.predict(features(drawn, space), operations(drawn, space)).scores
        for end, apart in (("", 0), ("_apart", APART)):
            chosen = best_of(drawn, torch.from_numpy(scores), BEST_OF, space, apart)
            found[f"{arm}_ranked{end}"] = drawn[chosen]
    return found


def refuses(predictor: Predictor) -> bool:
    """Whether the service would not rank by this predictor."""
    return predictor.agreement.low <= 0


def repetition(table: Table, net: VGAE, source: str, n: int, seed: int) -> tuple[dict[str, Tensor], bool]:
    """The architectures of every arm with the best that they start from, and whether ranking is refused."""
    rng = np.random.default_rng([seed, n])
    known = rng.choice(len(table.genotypes), n, replace=False)
    best = table.genotypes[known[table.accuracies[source][known].argmax()]][None]
    others = rng.choice(len(table.genotypes), NEIGHBOURS, replace=False)
    labelled = table.genotypes[known]
    accuracies, form = table.accuracies[source][known], features(labelled, table.space)
    predictor = fit(form, accuracies, operations(labelled, table.space))
    arms = {
        "best": best,
        "random": table.genotypes[others],
        "mutation": mutations(best, table.space, rng),
        "near": neighbours(net, labelled, best, seed),
        "around": around_best(net, best, seed),
        "mutation_drawn": drawn_mutations(best, table.space, rng),
        "near_drawn": neighbours(net, labelled, best, seed, unique=False),
    }
    return arms | ranked(arms, predictor, table.space), refuses(fit(form, accuracies))


def whole_space(table: Table, repetitions: int) -> dict[str, Any]:
    """The figures of a table that holds all of its search space, by the number of known architectures."""
    net, keys = ready.load(table.space), pack(table.genotypes, table.space)[:, 0]
    order = np.argsort(keys)
    names, figures = list(table.percentiles), {}
    for n in KNOWN:
        by_arm: dict[tuple[str, str, str], list[Figures]] = {}
        changed: list[float] = []
        refused: list[bool] = []
        for source in names:
            for seed in range(repetitions):
                arms, is_refused = repetition(table, net, source, n, seed)
                refused.append(is_refused)
                best = arms.pop("best")
                changed.append(
                    float(edits(arms["near"], best.expand_as(arms["near"]), table.space).double().mean())
                )
                for arm, genotypes in arms.items():
                    rows = order[np.searchsorted(keys[order], pack(genotypes, table.space)[:, 0])]
                    for target in names:
                        by_arm.setdefault((arm, source, target), []).append(table.percentiles[target][rows])
        figures[str(n)] = {
            **_summary(table, by_arm, names),
            "edits": round(float(np.mean(changed)), 2),
            "refused": round(float(np.mean(refused)), 4),
        }
    return figures


def _summary(
    table: Table, by_arm: Mapping[tuple[str, str, str], list[Figures]], names: list[str]
) -> dict[str, Any]:
    """The figures of all pairs and their means; a data set with itself is told, but not in the means."""
    pairs = {}
    everything: dict[str, list[Figures]] = {}
    for source in names:
        for target in names:
            arms = [arm for arm in (*ARMS, *DRAWN, *RANKED) if (arm, source, target) in by_arm]
            means = {arm: np.array([p.mean() for p in by_arm[arm, source, target]]) for arm in arms}
            best = np.mean([p[:BEST_OF].max() for p in by_arm["near", source, target]])
            rank = spearmanr(table.accuracies[source], table.accuracies[target]).statistic
            pairs[f"{source}->{target}"] = {
                **_compared(means),
                "near_best_of_5": round(float(best), 2),
                "spearman": round(float(rank), 3),
            }
            if source != target:
                for arm in arms:
                    everything.setdefault(arm, []).append(means[arm])
    # one number a repetition, so that the test is of repetitions and not of pairs, which are alike
    means = {arm: np.mean(values, axis=0) for arm, values in everything.items()}
    return {**_compared(means), "pairs": pairs}


def half_interval(values: Figures) -> Figures:
    """Half of the 95 % interval of a mean over the first dimension."""
    return np.asarray(1.96 * values.std(0, ddof=1) / len(values) ** 0.5)


def _compared(means: Mapping[str, Figures]) -> dict[str, float]:
    """Mean percentiles of the arms, and the paired tests of `near` against the others."""
    difference = means["near"] - means["mutation"]
    half = half_interval(difference)
    return {
        **{f"{arm}_percentile": round(float(values.mean()), 2) for arm, values in means.items()},
        "near_minus_mutation": round(float(difference.mean()), 2),
        "near_minus_mutation_low": round(float(difference.mean() - half), 2),
        "near_minus_mutation_high": round(float(difference.mean() + half), 2),
        "p_near_over_random": float(ttest_rel(means["near"], means["random"], alternative="greater").pvalue),
        "p_near_over_mutation": float(
            ttest_rel(means["near"], means["mutation"], alternative="greater").pvalue
        ),
    }


def judged(folder: Path, repetitions: int) -> dict[str, Any]:
    """The figures of the DARTS space, where a judge tells accuracies: no training stands behind them."""
    genotypes, accuracy = surrogate(folder)
    order = np.random.default_rng(0).permutation(len(genotypes))
    held, fitted = order[:200], order[200:]
    columns = operations(genotypes, DARTS)
    judge = Ridge(alpha=3.0).fit(columns[fitted], accuracy[fitted])
    agreement = spearmanr(judge.predict(columns[held]), accuracy[held]).statistic
    everyone = np.sort(
        judge.predict(operations(random_tensor(20_000, DARTS, torch.Generator().manual_seed(0)), DARTS))
    )
    net, figures = ready.load(DARTS), {}
    for n in (20, 100, 200):
        values: dict[str, list[Figures]] = {arm: [] for arm in (*ARMS, *RANKED)}
        changed, refused = [], []
        for seed in range(repetitions):
            rng = np.random.default_rng([seed, n])
            known = random_tensor(n, DARTS, torch.Generator().manual_seed(1_000 * n + seed))
            accuracies = judge.predict(operations(known, DARTS))
            best = known[int(accuracies.argmax())][None]
            predictor = fit(features(known, DARTS), accuracies)
            refused.append(refuses(predictor))
            arms = {
                "random": random_tensor(NEIGHBOURS, DARTS, torch.Generator().manual_seed(seed)),
                "mutation": mutations(best, DARTS, rng),
                "near": neighbours(net, known, best, seed),
                "around": around_best(net, best, seed),
            }
            changed.append(float(edits(arms["near"], best.expand_as(arms["near"]), DARTS).double().mean()))
            for arm, drawn in (arms | ranked(arms, predictor, DARTS)).items():
                values[arm].append(judge.predict(operations(drawn, DARTS)))
        ranks = {
            arm: np.array([np.searchsorted(everyone, v).mean() / len(everyone) * 100 for v in drawn])
            for arm, drawn in values.items()
        }
        figures[str(n)] = {
            **_compared(ranks),
            **{f"{arm}_accuracy": round(float(np.mean(drawn)), 2) for arm, drawn in values.items()},
            **{
                f"{arm}_best_of_5": round(float(np.mean([v[:BEST_OF].max() for v in drawn])), 2)
                for arm, drawn in values.items()
            },
            "edits": round(float(np.mean(changed)), 2),
            "refused": round(float(np.mean(refused)), 4),
            "judge_spearman": round(float(agreement), 3),
        }
    return figures


def among(table: Table, repetitions: int, count: int = 10) -> dict[str, Any]:
    """The figures of a table that holds few of its space: arms are those of the table that lie nearest."""
    net, names = ready.load(table.space), list(table.percentiles)
    latents = encode(net, from_tensor(table.genotypes, table.space)).flatten(1)
    by_arm: dict[tuple[str, str, str], list[Figures]] = {}
    size, n = len(table.genotypes), KNOWN[0]
    for source in names:
        for seed in range(repetitions):
            rng = np.random.default_rng([seed, n])
            known = rng.choice(size, n, replace=False)
            best = known[table.accuracies[source][known].argmax()]
            new = np.setdiff1d(np.arange(size), known)
            start = table.genotypes[best][None].expand(len(new), *table.genotypes.shape[1:])
            arms = {
                "random": rng.choice(new, count, replace=False),
                "mutation": new[
                    edits(table.genotypes[new], start, table.space).numpy().argsort(kind="stable")
                ],
                "near": new[(latents[new] - latents[best]).norm(dim=1).numpy().argsort()],
            }
            for arm, rows in arms.items():
                for target in names:
                    found = table.percentiles[target][rows[:count]]
                    by_arm.setdefault((arm, source, target), []).append(found)
    return {str(n): _summary(table, by_arm, names)}


def picture(figures: Mapping[str, Any], path: Path, title: str) -> None:
    """Source by target, for each number of known architectures: the percentile of `near` and its gain."""
    drawn = Figure(figsize=(6.2 * len(figures), 5.2), layout="constrained")
    drawn.suptitle(title)
    for axes, (n, found) in zip(np.atleast_1d(drawn.subplots(1, len(figures))), figures.items(), strict=True):
        names = list(dict.fromkeys(pair.split("->")[0] for pair in found["pairs"]))
        cells = [[found["pairs"][f"{source}->{target}"] for target in names] for source in names]
        matrix = np.array([[cell["near_percentile"] for cell in row] for row in cells])
        axes.imshow(matrix, cmap="RdYlGn", vmin=0, vmax=100)
        for i, row in enumerate(cells):
            for j, cell in enumerate(row):
                text = f"{cell['near_percentile']:.0f}\n{cell['near_minus_mutation']:+.1f}"
                axes.text(j, i, text, ha="center", va="center", fontsize=8)
        axes.set_xticks(range(len(names)), names, rotation=40, ha="right", fontsize=8)
        axes.set_yticks(range(len(names)), names, fontsize=8)
        axes.set(xlabel="target", ylabel="source", title=f"{n} known")
    drawn.savefig(path, metadata={"Date": None})


def main() -> None:
    """Prints the figures of every table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repetitions", type=int, default=REPETITIONS)
    parser.add_argument("--pictures", type=Path, help="A folder for the matrices of source and target.")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    folder, repetitions = get_settings().data_root / "benchmarks", arguments.repetitions
    print(f"seeds 0 to {repetitions - 1}")
    figures: dict[str, Any] = {}
    for space in (NAS_BENCH_201, TRANSNAS_BENCH_101_MICRO):
        figures[space.name] = whole_space(whole(folder, space), repetitions)
    figures["nas-bench-301"] = judged(folder, repetitions)
    figures["darts-199"] = among(read(folder, "darts-199-trained", DARTS, darts), repetitions)
    for name, found in figures.items():
        if arguments.pictures is not None and name != "nas-bench-301":
            picture(found, arguments.pictures / f"transfer-{name}.svg", name)
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
