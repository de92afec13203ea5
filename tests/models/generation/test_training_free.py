"""Scores of untrained networks: the same side by side as alone, and as their definitions have them."""

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from models.generation import training_free
from models.generation.training_free import scores
from models.genotypes.genotype import from_tensor, random_tensor, to_tensor
from models.genotypes.search_space import DARTS, NAS_BENCH_201, SearchSpace
from models.genotypes.size import NetworkShape
from models.genotypes.text import from_text

SPACES = pytest.mark.parametrize("space", [DARTS, NAS_BENCH_201], ids=lambda space: space.name)


def images(count: int = 6, channels: int = 3) -> Tensor:
    generator = torch.Generator().manual_seed(4)
    return torch.randn(count, channels, training_free.SIDE, training_free.SIDE, generator=generator)


class Relus(TorchDispatchMode):
    """Keeps which units are on after every ReLU."""

    def __init__(self) -> None:
        super().__init__()
        self.codes: list[Tensor] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if func is torch.ops.aten.relu.default:
            self.codes.append((out > 0).flatten(1).double())
        return out


def plain(genotype: Tensor, space: SearchSpace) -> nn.Module:
    """The network of one genotype, with the weights that it has side by side."""
    shape = NetworkShape(training_free.CHANNELS, training_free.CELLS, image_size=training_free.SIDE)
    network = shape.network(from_tensor(genotype[None], space)[0])
    many = training_free._network(space, 3, training_free.SIDE).network
    network.load_state_dict(many.state_dict(), strict=False)
    for cell, other in zip(network.cells, many.cells, strict=True):
        for edge, (operation, predecessor) in enumerate(genotype[other.which].tolist()):
            name = space.operations[operation]
            if name != "none":
                key = f"{name} halving" if cell.reduction and predecessor < space.inputs else name
                weights = other.operations[edge][key].state_dict()
                missing = cell.operations[edge].load_state_dict(weights, strict=False)
                assert not missing.unexpected_keys
    return network


@SPACES
def test_the_scores_are_what_they_are_defined_to_be(space: SearchSpace) -> None:
    genotypes = random_tensor(5, space, torch.Generator().manual_seed(2))
    told = scores(genotypes, images(), space)
    for place, genotype in enumerate(genotypes):
        network = plain(genotype, space).double().train()
        with torch.no_grad(), Relus() as relus:
            network(images().double())
        codes = torch.cat(relus.codes, dim=1)
        kernel = codes @ codes.T + (1 - codes) @ (1 - codes).T
        expected = torch.linalg.slogdet(kernel)[1]
        assert told.naswot[place] == pytest.approx(float(expected), abs=0.05)

        flowing = plain(genotype, space).double().eval()
        for module in list(flowing.modules()):
            for name, child in list(module.named_children()):
                if isinstance(child, nn.BatchNorm2d):
                    setattr(module, name, nn.Identity())
        for weight in flowing.parameters():
            weight.data = weight.data.abs() if weight.dim() > 1 else torch.zeros_like(weight)
        logits, _ = flowing(torch.ones_like(images()[:1]).double())
        logits.sum().backward()
        flow = sum(
            float((weight * weight.grad).sum()) for weight in flowing.parameters() if weight.grad is not None
        )
        assert told.synflow[place] == pytest.approx(math.log(flow), abs=1e-5)


@SPACES
def test_architectures_do_not_touch_each_other(space: SearchSpace) -> None:
    genotypes = random_tensor(7, space, torch.Generator().manual_seed(3))
    together = scores(genotypes, images(), space)
    alone = [scores(genotype[None], images(), space) for genotype in genotypes]
    assert torch.allclose(together.naswot, torch.cat([one.naswot for one in alone]), atol=0.05)
    assert torch.allclose(together.synflow, torch.cat([one.synflow for one in alone]))
    again = scores(genotypes, images(), space)
    assert torch.equal(again.naswot, together.naswot)


def test_a_network_that_nothing_passes_has_no_score() -> None:
    dead = to_tensor([from_text("111111", NAS_BENCH_201)], NAS_BENCH_201)  # none on every edge
    told = scores(dead, images(), NAS_BENCH_201)
    others = random_tensor(3, NAS_BENCH_201, torch.Generator().manual_seed(1))
    assert told.naswot[0] < scores(others, images(), NAS_BENCH_201).naswot.min()


def test_large_images_are_brought_down_and_grey_ones_taken() -> None:
    genotypes = random_tensor(3, DARTS, torch.Generator().manual_seed(5))
    large = F.interpolate(images(channels=1), scale_factor=4)
    assert torch.allclose(
        scores(genotypes, large, DARTS).naswot, scores(genotypes, images(channels=1), DARTS).naswot, atol=0.01
    )
    assert len(scores(genotypes[:0], images(), DARTS).naswot) == 0


def test_random_numbers_of_others_are_left_alone() -> None:
    torch.manual_seed(9)
    expected = torch.rand(3)
    torch.manual_seed(9)
    training_free._built.cache_clear()
    scores(random_tensor(2, DARTS, torch.Generator().manual_seed(5)), images(), DARTS)
    assert torch.equal(torch.rand(3), expected)
