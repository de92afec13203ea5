"""What each addition of the `default` preset beyond the paper buys: the preset without it, one at a time.

Trained on the published and searched genotypes; `members_exact` is the share of them that decode from
their mean exactly, `random_exact` the same of genotypes that the space has never seen.
"""

import json
import time
from dataclasses import replace

import torch

from bench.quality import members
from models.genotypes.graph import from_tensor
from models.genotypes.search_space import DARTS
from models.latent_spaces.fit import LatentFit
from models.latent_spaces.vgae import DEFAULT_SEED, PRESETS, LatentRecipe

PAPER, DEFAULT = PRESETS["paper"], PRESETS["default"]

WITHOUT: dict[str, LatentRecipe] = {
    "default": DEFAULT,
    "positions": replace(DEFAULT, positions=False),
    "incoming": replace(DEFAULT, incoming=False),
    "directed": replace(DEFAULT, directed=False),
    "exclusive": replace(DEFAULT, exclusive=False),
    "random_genotypes": replace(DEFAULT, random_genotypes=0),
    "edge_weight": replace(DEFAULT, edge_weight=PAPER.edge_weight),
    "kl_weight": replace(DEFAULT, kl_weight=PAPER.kl_weight),
    "width": replace(DEFAULT, embedding=PAPER.embedding, hidden=PAPER.hidden),
    "paper": replace(PAPER, max_epochs=DEFAULT.max_epochs),
}


def main() -> None:
    """Prints a row for every variant."""
    graph, rows = from_tensor(members(), DARTS), {}
    for name, recipe in WITHOUT.items():
        space = LatentFit(graph, DARTS, recipe, DEFAULT_SEED, torch.device("cpu"))
        began = time.perf_counter()
        while not space.done:
            report = space.run(lambda: None)
        rows[name] = {
            "members_exact": report.members_exact,
            "random_exact": report.random_exact,
            "epochs": report.epoch,
            "seconds": round(time.perf_counter() - began, 1),
        }
        print(name, rows[name], flush=True)
    print(json.dumps({"members": len(graph), "without": rows, "device": "cpu"}))


if __name__ == "__main__":
    main()
