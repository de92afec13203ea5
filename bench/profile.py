"""Where the time of a job goes: a flame graph of Python and C, and a table of torch's operations.

    python -m bench.profile search|fit|train

Both are written to `build/profile/`. The flame graph is py-spy's, which watches a second run from outside.
"""

import argparse
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch.profiler import ProfilerActivity, profile

from bench.search import batch, prepared
from models.datasets.sources import load_named
from models.genotypes.genotype import random_tensor
from models.genotypes.graph import from_tensor
from models.genotypes.published import PUBLISHED
from models.genotypes.search_space import DARTS
from models.latent_spaces.fit import LatentFit
from models.latent_spaces.vgae import DEFAULT_SEED, PRESETS
from models.trainings.retrain import RECIPES, Training, of_genotype

FOLDER = Path("build/profile")

SECONDS, ROWS = 20.0, 25
"""The time that the flame graph watches, and the rows of the table."""

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


def search() -> Callable[[], object]:
    """A step of the search, of both optimisers."""
    ours, _ = prepared(DEVICE)
    images, labels = batch(DEVICE)
    return lambda: ours.step(images, labels, images, labels)


def train() -> Callable[[], object]:
    """An epoch of a training on the digits by the recipe `quick`."""
    recipe = RECIPES["quick"]
    build = of_genotype(PUBLISHED[0].genotype, recipe)
    training = Training(build, load_named("digits", Path()), recipe, 0, DEVICE)
    return lambda: training.run(lambda: None)


def fit() -> Callable[[], object]:
    """Some epochs of a fit by the preset `paper`."""
    graph = from_tensor(random_tensor(10, DARTS, torch.Generator().manual_seed(0)), DARTS)
    recipe = PRESETS["paper"]
    ours, generator = LatentFit(graph, DARTS, recipe, DEFAULT_SEED, DEVICE), torch.Generator().manual_seed(0)
    return lambda: ours.advance(recipe.max_epochs, generator)


JOBS = {"search": search, "fit": fit, "train": train}


def work_for(job: str, seconds: float) -> None:
    """Runs steps of a job for so long, after one that may have to be compiled."""
    step = JOBS[job]()
    step()
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        step()


def table(job: str) -> str:
    """Torch's operations by the time that they took themselves."""
    step = JOBS[job]()
    step()
    activities = [ProfilerActivity.CPU] + ([ProfilerActivity.CUDA] if DEVICE.type == "cuda" else [])
    with profile(activities=activities, record_shapes=True) as profiled:
        step()
    by = "self_cuda_time_total" if DEVICE.type == "cuda" else "self_cpu_time_total"
    told: str = profiled.key_averages(group_by_input_shape=True).table(sort_by=by, row_limit=ROWS)
    return told


def main() -> None:
    """Writes both files and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("job", choices=JOBS)
    parser.add_argument("--run", action="store_true", help="Only runs, to be watched.")
    arguments = parser.parse_args()
    if arguments.run:
        return work_for(arguments.job, SECONDS)
    FOLDER.mkdir(parents=True, exist_ok=True)
    told = table(arguments.job)
    (FOLDER / f"{arguments.job}.txt").write_text(told)
    print(told)
    graph = FOLDER / f"{arguments.job}.svg"
    watched = [sys.executable, "-m", "bench.profile", arguments.job, "--run"]
    command = [
        str(Path(sys.executable).parent / "py-spy"),
        "record",
        "--native",
        "--rate",
        "20",
        "-o",
        str(graph),
        "--",
        *watched,
    ]
    subprocess.run(command, check=True)
    print(f"{graph} and {graph.with_suffix('.txt')}")


if __name__ == "__main__":
    main()
