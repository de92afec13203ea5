"""One full search step of ours against the textbook supernet, in turn in one run.

A step is an architecture step (Adam on alphas and betas) and a weight step (SGD), batch 32,
3 x 32 x 32, 16 channels, 8 cells. The reference is the plain supernet of the tests, trained as the
PC-DARTS code trains: both steps differentiate everything. The process keeps freed memory, as workers do.
"""

import json
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from statistics import median

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.peak import peak_mb
from models.genotypes.search_space import DARTS
from models.precision import doubts
from models.searches.search import RECIPES, PCDARTSSearch, SearchRecipe
from tests.models.searches.plain_supernet import PlainSupernet
from tests.models.searches.test_search import images_like
from tests.models.searches.test_supernet import copy_supernet
from worker.memory import keep_freed

ROUNDS = 7
"""Steps of which the median is told."""

BATCH = 32


def plain_step(net: PlainSupernet, device: torch.device) -> Callable[[Tensor, Tensor], None]:
    """The textbook's step: two backward passes through everything, two optimisers."""
    architecture = [net.alphas, net.betas]
    weights = [p for p in net.parameters() if all(p is not a for a in architecture)]
    sgd = torch.optim.SGD(weights, 0.1, 0.9, weight_decay=3e-4)
    adam = torch.optim.Adam(architecture, 3e-4, (0.5, 0.999), weight_decay=1e-3)

    def step(images: Tensor, labels: Tensor) -> None:
        for optimizer, parameters in ((adam, architecture), (sgd, weights)):
            net.zero_grad()
            F.cross_entropy(net(images), labels).backward()
            nn.utils.clip_grad_norm_(parameters, 5.0)
            optimizer.step()

    return step


Step = Callable[[Tensor, Tensor], None]


def prepared(device: torch.device) -> tuple[PCDARTSSearch, PlainSupernet]:
    """Our search at its start, and the reference with the same weights."""
    recipe = replace(RECIPES["paper-small"], batch_size=BATCH)
    data = images_like(channels=3, size=32, train=2 * BATCH)
    search = PCDARTSSearch(data, DARTS, recipe, 0, device)
    plain = PlainSupernet(DARTS, 3, 10, recipe.channels, recipe.cells, recipe.partial).to(device)
    copy_supernet(plain, search.net)
    return search, plain


def batch(device: torch.device) -> tuple[Tensor, Tensor]:
    """Images and labels of a step."""
    return torch.randn(BATCH, 3, 32, 32, device=device), torch.randint(10, (BATCH,), device=device)


def steps(search: PCDARTSSearch, plain: PlainSupernet, device: torch.device) -> dict[str, Step]:
    """The steps by name; `checkpointing` is ours that computes each cell twice.

    `bfloat16` is ours in that precision, on devices that have instructions for it.
    """
    exact, reduced = search.recipe, replace(search.recipe, precision="bfloat16")

    def ours(recipe: SearchRecipe, twice: bool, images: Tensor, labels: Tensor) -> None:
        search.recipe, search.net.activation_checkpointing = recipe, twice
        search.step(images, labels, images, labels)

    found: dict[str, Step] = {
        "reference": plain_step(plain, device),
        "ours": partial(ours, exact, False),
        "checkpointing": partial(ours, exact, True),
    }
    if not doubts(device, "bfloat16"):
        found["bfloat16"] = partial(ours, reduced, False)
    return found


def alone(name: str, device_type: str) -> Callable[[], None]:
    """One of the steps on a batch of its own."""
    device = torch.device(device_type)
    step, given = steps(*prepared(device), device)[name], batch(device)
    return lambda: step(*given)


def main() -> None:
    """Prints the medians, their ratio, the memory, and how far the two networks' outputs differ."""
    keep_freed()  # as workers do
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    search, plain = prepared(device)
    images, labels = batch(device)
    with torch.no_grad():
        ours_out, plain_out = search.net(images), plain(images)
    difference = float((ours_out - plain_out).norm() / plain_out.norm())
    all_steps = steps(search, plain, device)
    times: dict[str, list[float]] = {name: [] for name in all_steps}
    for _ in range(ROUNDS):
        for name, step in all_steps.items():
            for _ in range(2):  # as in a search, the one that counts follows one of its kind
                began = time.perf_counter()
                step(images, labels)
                if device.type == "cuda":
                    torch.cuda.synchronize()
            times[name].append(time.perf_counter() - began)
    seconds = {name: median(taken) for name, taken in times.items()}
    memory = {name: peak_mb(partial(alone, name, device.type)) for name in all_steps}
    figures = {
        **{f"{name}_s": round(taken, 4) for name, taken in seconds.items()},
        "ratio": round(seconds["reference"] / seconds["ours"], 2),
        "peak_mb": memory,
        "peak_ratio": round(memory["ours"] / memory["reference"], 2),
        "max_relative_difference": difference,
        "device": torch.cuda.get_device_name() if device.type == "cuda" else "cpu",
        "threads": torch.get_num_threads(),
        "rounds": ROUNDS,
    }
    if "bfloat16" in seconds:
        figures["bfloat16_ratio"] = round(seconds["reference"] / seconds["bfloat16"], 2)
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
