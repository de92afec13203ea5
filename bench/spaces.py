"""How near is near: edits of a genotype's neighbours at the default gamma, by the members of the space.

For each search space the `default` preset is trained on 5, 20, 100 and 1,000 random genotypes by its own
rules. Of each: how many members come back exactly, how many of 5,000 genotypes that it has not seen, and how
many of a genotype's edges differ in its neighbours by equation 8, from random members. `all_exact` is the
share of all genotypes of a space that come back from its ready space, where there are few enough to try.
"""

import argparse
import json
import time
from typing import Any

import torch

from models.generation.generate import near
from models.genotypes.genotype import edits, every, random_tensor
from models.genotypes.graph import from_tensor
from models.genotypes.search_space import SEARCH_SPACES, SearchSpace
from models.latent_spaces import ready
from models.latent_spaces.fit import LatentFit
from models.latent_spaces.vgae import DEFAULT_SEED, PRESETS, VGAE, decode, encode, spanning

MEMBERS, HELD_OUT, NEIGHBOURS = (5, 20, 100, 1_000), 5_000, 5_000


def measure(space: SearchSpace, members: int) -> dict[str, float]:
    """Trains on so many members; exactness, edits and seconds."""
    genotypes = random_tensor(members, space, torch.Generator().manual_seed(members))
    began = time.perf_counter()
    fit = LatentFit(
        from_tensor(genotypes, space), space, PRESETS["default"], DEFAULT_SEED, torch.device("cpu")
    )
    while not fit.done:
        fit.run(lambda: None)
    seconds = time.perf_counter() - began
    held_out = random_tensor(HELD_OUT, space, torch.Generator().manual_seed(10**6))
    z = encode(fit.net, from_tensor(genotypes, space))
    draw = near(z, spanning(fit.net, z), space.gamma, torch.Generator().manual_seed(0))(NEIGHBOURS)
    changed = edits(decode(fit.net, draw.latents), genotypes[draw.points], space).double()
    return {
        "members_exact": exact(fit.net, genotypes),
        "heldout_exact": exact(fit.net, held_out),
        "edits": round(float(changed.mean()), 2),
        "epochs": fit.epoch,
        "seconds": round(seconds, 1),
    }


def exact(net: VGAE, genotypes: torch.Tensor) -> float:
    """The share of genotypes that come back from their means."""
    decoded = decode(net, encode(net, from_tensor(genotypes, net.space)))
    return float((decoded == genotypes).flatten(1).all(1).double().mean())


def main() -> None:
    """Prints the figures of every search space."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=1)
    torch.set_num_threads(parser.parse_args().threads)
    figures: dict[str, Any] = {}
    for name, space in SEARCH_SPACES.items():
        by_members = {count: measure(space, count) for count in MEMBERS}
        figures[name] = {
            "members_exact": min(row["members_exact"] for row in by_members.values()),
            "heldout_exact": min(row["heldout_exact"] for row in by_members.values()),
            "edits_at_default_gamma": {count: row["edits"] for count, row in by_members.items()},
            "seconds": {count: row["seconds"] for count, row in by_members.items()},
            "epochs": {count: row["epochs"] for count, row in by_members.items()},
        }
        if space.predecessors == "all":
            figures[name]["all_exact"] = exact(ready.load(space), every(space))
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
