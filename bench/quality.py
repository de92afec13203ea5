"""How exact and how general latent spaces are.

* `members_exact`: the published genotypes, the searched ones of `bench/results` and random ones up to
  ten searched, then 200 random genotypes alone; the smaller of both shares. `fit_s` is what the 200 took,
  and `fit_cpu_s` the same on all cores together.
* `heldout_exact`, `prior_*`: a space trained on 20,000 random genotypes, 2,000 held out, 10,000 draws
  from the prior. `prior_valid_raw` counts what the decoder's scores give without any repair: where
  the decoder is a choice among sets of predecessors and among operations, every draw is a genotype.
* `paper_members_exact`: the preset `paper` as it is, on the same members, for a stated time.
"""

import argparse
import json
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from models.genotypes.genotype import from_dict, random_tensor, to_tensor
from models.genotypes.graph import from_tensor, legal_edges
from models.genotypes.published import PUBLISHED
from models.genotypes.search_space import DARTS
from models.latent_spaces.fit import LatentFit
from models.latent_spaces.vgae import DEFAULT_SEED, PRESETS, decode, encode
from worker import memory

RESULTS = Path(__file__).parent / "results"
SEARCHED, RANDOM, TRAINED, HELD_OUT, DRAWS = 10, 200, 20_000, 2_000, 10_000


def members() -> Tensor:
    """Published and searched genotypes, filled up with random ones to ten beside the published."""
    searched = [
        from_dict(entry["genotype"], DARTS)
        for file in sorted(RESULTS.glob("searches-*.json"))
        for entry in json.loads(file.read_text())["searches"]
    ][:SEARCHED]
    genotypes = to_tensor([*(p.genotype for p in PUBLISHED), *searched], DARTS)
    filling = random_tensor(SEARCHED - len(searched), DARTS, torch.Generator().manual_seed(1))
    return torch.cat([genotypes, filling])


@dataclass(frozen=True)
class Fitted:
    """A space trained to its end or for some time.

    Args:
        space: as it is.
        members_exact: the share of its members that come back.
        seconds, cpu_seconds: that it took.
    """

    space: LatentFit
    members_exact: float
    seconds: float
    cpu_seconds: float


def fit(genotypes: Tensor, preset: str, seconds: float = float("inf")) -> Fitted:
    """A space trained to its end or for so long."""
    space = LatentFit(
        from_tensor(genotypes, DARTS), DARTS, PRESETS[preset], DEFAULT_SEED, torch.device("cpu")
    )
    began, cpu = time.perf_counter(), time.process_time()
    while not space.done and time.perf_counter() - began < seconds:
        report = space.run(lambda: None)
    print(f"{preset} on {len(genotypes)}: {report}", flush=True)
    return Fitted(space, report.members_exact, time.perf_counter() - began, time.process_time() - cpu)


@torch.no_grad()
def valid_raw(space: LatentFit, z: Tensor) -> float:
    """The share of latents whose scores are a genotype as they stand.

    The decoder is a distribution over sets of predecessors and over operations, so only scores that are
    not finite, or predecessors that are not distinct, could be illegal.
    """
    scores = space.net.decode(z)
    source, target = legal_edges(DARTS)
    finite = torch.isfinite(scores.adjacency[:, source, target]).all(1)
    finite &= torch.isfinite(scores.operations[:, source, target]).flatten(1).all(1)
    predecessors = decode(space.net, z)[..., 1]
    distinct = (predecessors[..., 0] < predecessors[..., 1]).flatten(1).all(1)
    return float((finite & distinct).float().mean())


def main() -> None:
    """Prints all figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--paper-seconds", type=float, default=150.0)
    arguments = parser.parse_args()
    memory.keep_freed()
    began = time.perf_counter()
    genotypes = members()
    of_random = fit(random_tensor(RANDOM, DARTS, _seed(2)), "default")
    exact = min(fit(genotypes, "default").members_exact, of_random.members_exact)
    drawn = random_tensor(TRAINED + HELD_OUT, DARTS, _seed(3))
    space = fit(drawn[:TRAINED], "default").space
    held_out = drawn[TRAINED:]
    decoded = decode(space.net, encode(space.net, from_tensor(held_out, DARTS)))
    z = torch.randn(DRAWS, DARTS.nodes, space.recipe.latent_dimension, generator=_seed(4))
    draws = {tuple(row) for row in decode(space.net, z).flatten(1).tolist()}
    trained = {tuple(row) for row in drawn[:TRAINED].flatten(1).tolist()}
    figures = {
        "members_exact": exact,
        "fit_s": round(of_random.seconds, 1),
        "fit_cpu_s": round(of_random.cpu_seconds, 1),
        "heldout_exact": float((decoded == held_out).flatten(1).all(1).float().mean()),
        "prior_valid_raw": valid_raw(space, z),
        "prior_unique": len(draws) / DRAWS,
        "prior_novel": len(draws - trained) / len(draws),
        "paper_members_exact": fit(genotypes, "paper", arguments.paper_seconds).members_exact,
        "paper_seconds": arguments.paper_seconds,
        "seconds": round(time.perf_counter() - began, 1),
        "device": "cpu",
        "threads": torch.get_num_threads(),
    }
    print(json.dumps(figures))


def _seed(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


if __name__ == "__main__":
    main()
