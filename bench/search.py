"""One full search step of ours against the textbook supernet, in turn in one run.

A step is an architecture step (Adam on alphas and betas) and a weight step (SGD), batch 32,
3 x 32 x 32, 16 channels, 8 cells. The reference is the plain supernet of the tests, trained as the
PC-DARTS code trains: both steps differentiate everything.
"""

import json
import time
from collections.abc import Callable
from dataclasses import replace
from statistics import median

import torch
import torch.nn.functional as F
from tests.models.test_search import images_like
from tests.models.test_supernet import copy_supernet
from torch import Tensor, nn

from models.genotypes.search_space import DARTS
from models.searches.search import RECIPES, PCDARTSSearch
from tests.models.searches.plain_supernet import PlainSupernet

ROUNDS = 9
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


def main() -> None:
    """Prints the medians, their ratio, and how far the two networks' outputs differ."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    recipe = replace(RECIPES["paper-small"], batch_size=BATCH)
    data = images_like(channels=3, size=32, train=2 * BATCH)
    search = PCDARTSSearch(data, DARTS, recipe, 0, device)
    plain = PlainSupernet(DARTS, 3, 10, recipe.channels, recipe.cells, recipe.partial).to(device)
    copy_supernet(plain, search.net)
    images, labels = torch.randn(BATCH, 3, 32, 32, device=device), torch.randint(10, (BATCH,), device=device)
    with torch.no_grad():
        ours_out, plain_out = search.net(images), plain(images)
    difference = float((ours_out - plain_out).norm() / plain_out.norm())

    def ours_step(images: Tensor, labels: Tensor) -> None:
        search.step(images, labels, images, labels)

    steps = {"reference": plain_step(plain, device), "ours": ours_step}
    times: dict[str, list[float]] = {name: [] for name in steps}
    for round_number in range(ROUNDS + 1):
        for name, step in steps.items():
            began = time.perf_counter()
            step(images, labels)
            if device.type == "cuda":
                torch.cuda.synchronize()
            if round_number:  # the first warms up
                times[name].append(time.perf_counter() - began)
    reference_s, ours_s = median(times["reference"]), median(times["ours"])
    figures = {
        "reference_s": round(reference_s, 4),
        "ours_s": round(ours_s, 4),
        "ratio": round(reference_s / ours_s, 2),
        "max_relative_difference": difference,
        "device": torch.cuda.get_device_name() if device.type == "cuda" else "cpu",
        "threads": torch.get_num_threads(),
        "rounds": ROUNDS,
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
