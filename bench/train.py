"""One training step of a network: a plain per-edge reference against ours, in turn in one run.

The network is that of the published PC-DARTS genotype with 16 channels and 8 cells, the batch is 64
images of 3 x 32 x 32. The reference is the same network as the usual code has it: contiguous images,
one module after the other. Ours is what a training does that is long enough to be compiled.
"""

import json
import time
from dataclasses import replace
from statistics import median

import torch
import torch.nn.functional as F
from torch import nn

from models.data import ImageData, Resident, normalise
from models.network import Network
from models.published import PUBLISHED
from models.retrain import RECIPES, Training, of_genotype
from models.search_space import DARTS

BATCH, ROUNDS = 64, 9
RECIPE = replace(RECIPES["paper-small"], channels=16, cells=8, batch_size=BATCH, validation_share=0.0)


class Plain:
    """The reference: a step of SGD on contiguous images."""

    def __init__(self, training: Training, genotype_net: Network) -> None:
        self.net, self.statistics = genotype_net, training.statistics
        self.net.load_state_dict(training.net.state_dict())
        self.optimizer = torch.optim.SGD(
            self.net.parameters(), RECIPE.learning_rate, RECIPE.momentum, weight_decay=RECIPE.weight_decay
        )

    def step(self, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """One step; its loss."""
        self.optimizer.zero_grad()
        logits, _ = self.net.train()(normalise(images, self.statistics))
        loss = F.cross_entropy(logits, labels)
        loss.backward()
        nn.utils.clip_grad_norm_(self.net.parameters(), RECIPE.gradient_clip)
        self.optimizer.step()
        return loss.detach()


def main() -> None:
    """Prints the medians and their ratio."""
    torch.manual_seed(0)
    images = torch.randint(256, (BATCH, 3, 32, 32), dtype=torch.uint8)
    labels = torch.randint(10, (BATCH,))
    split = Resident(images, labels)
    data = ImageData(split, split, tuple("0123456789"), 3, 32)
    genotype = next(p.genotype for p in PUBLISHED if p.name == "PC-DARTS-CIFAR")
    Training.COMPILE_FROM = 0.0
    ours = Training(of_genotype(genotype, DARTS, RECIPE), data, RECIPE, 0, torch.device("cpu"))
    plain = Plain(ours, Network(genotype, DARTS, 3, 10, RECIPE.channels, RECIPE.cells))
    ours.net.train()
    began = time.perf_counter()
    first = ours._step(normalise(images, ours.statistics), labels)[0]
    compile_s = time.perf_counter() - began
    difference = abs(float(first - plain.step(images, labels))) / float(first)
    times: dict[str, list[float]] = {"reference": [], "ours": []}
    for _ in range(ROUNDS):
        began = time.perf_counter()
        plain.step(images, labels)
        times["reference"].append(time.perf_counter() - began)
        began = time.perf_counter()
        ours._step(normalise(images, ours.statistics), labels)
        times["ours"].append(time.perf_counter() - began)
    reference, fast = (median(times[name]) for name in ("reference", "ours"))
    figures = {
        "reference_s": round(reference, 3),
        "ours_s": round(fast, 3),
        "ratio": round(reference / fast, 2),
        "device": "cpu",
        "threads": torch.get_num_threads(),
        "compiled": ours._compiled is not None,
        "compile_s": round(compile_s, 1),
        "loss_difference_of_first_step": difference,
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
