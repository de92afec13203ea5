"""The latent spaces that ship with the service: the `default` preset on random genotypes of a search space.

Each has seen half a million genotypes of its space and decodes any other as well, so genotypes are encoded
into it without training. `make ready-space` makes the files again, by the same seeds.
"""

import argparse
import json
import time
from dataclasses import asdict, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file

from models.genotypes.genotype import random_tensor
from models.genotypes.graph import from_tensor
from models.genotypes.search_space import SEARCH_SPACES, SearchSpace
from models.latent_spaces.fit import LatentFit
from models.latent_spaces.stored import load_weights
from models.latent_spaces.vgae import DEFAULT_SEED, PRESETS, VGAE, LatentRecipe, decode, encode

FOLDER = Path(__file__).parent / "ready_spaces"

RECIPE = replace(PRESETS["default"], max_epochs=4_000, early_end=False)
"""Longer than the preset, so that every genotype comes back."""

TRAINED, TRAINED_SEED, TESTED, TESTED_SEED = 2_000, 1, 20_000, 99
"""Random genotypes: members of the training, beside which every step draws others; and those of the test."""


def path(space: SearchSpace) -> Path:
    """The path of the file of a search space's ready space, whether it exists or not."""
    return FOLDER / f"{space.name}.safetensors"


@lru_cache
def load(space: SearchSpace) -> VGAE:
    """The network of a search space's ready space, in evaluation mode.

    Raises:
        FileNotFoundError: no ready space ships for this search space.
    """
    with safe_open(path(space), framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
        recipe = LatentRecipe(**json.loads(file.metadata()["recipe"]))
    return load_weights(VGAE(space, recipe), tensors)


def described(space: SearchSpace) -> dict[str, Any]:
    """The recipe, the seed and the figures of a search space's ready space, from its file."""
    with safe_open(path(space), framework="pt") as file:
        return {name: json.loads(value) for name, value in file.metadata().items()}


def make(space: SearchSpace) -> dict[str, Any]:
    """Trains the ready space of a search space and writes its file; its figures."""
    torch.set_num_threads(1)  # sums in one order, so that the same seed gives the same file
    members = random_tensor(TRAINED, space, torch.Generator().manual_seed(TRAINED_SEED))
    fit = LatentFit(from_tensor(members, space), space, RECIPE, DEFAULT_SEED, torch.device("cpu"))
    began = time.perf_counter()
    while not fit.done:
        report = fit.run(lambda: None)
        print(f"epoch {report.epoch}: loss {report.losses['total']:.4f}, exact {report.random_exact:.4f}")
    seconds = time.perf_counter() - began
    tested = random_tensor(TESTED, space, torch.Generator().manual_seed(TESTED_SEED))
    z = encode(fit.net, from_tensor(tested, space))
    exact = float((decode(fit.net, z) == tested).flatten(1).all(1).double().mean())
    figures = {"epochs": fit.epoch, "losses": report.losses, "exact": exact, "tested": TESTED}
    weights = {name: value.contiguous() for name, value in fit.net.state_dict().items()}
    metadata = {"recipe": asdict(RECIPE), "seed": DEFAULT_SEED, "figures": figures}
    path(space).parent.mkdir(exist_ok=True)
    save_file(weights, path(space), {name: json.dumps(value) for name, value in metadata.items()})
    return {**figures, "seconds": round(seconds, 1), "bytes": path(space).stat().st_size}


def main() -> None:
    """Makes the ready spaces of some search spaces, by default of all; prints their figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--search-space", action="append", choices=SEARCH_SPACES)
    names = parser.parse_args().search_space or SEARCH_SPACES
    print(json.dumps({name: make(SEARCH_SPACES[name]) for name in names}))


if __name__ == "__main__":
    main()
