"""Networks of genotypes: sizes as published, counts as built."""

import pytest
import torch
from torch import nn

from models.genotype import from_tensor, random_tensor, to_tensor
from models.network import Network, count_macs, count_parameters, smallest_image
from models.published import PUBLISHED, Published
from models.search_space import DARTS


@pytest.mark.parametrize(
    ("name", "millions"), [("PC-DARTS-CIFAR", 3.6), ("DARTS-V2", 3.3), ("P-DARTS", 3.4), ("CARS-I", 3.6)]
)
def test_a_published_genotype_has_its_published_size(name: str, millions: float) -> None:
    published = next(p for p in PUBLISHED if p.name == name)
    net = Network(published.genotype, DARTS, 3, 10, 36, 20)
    assert sum(p.numel() for p in net.parameters()) / 1e6 == pytest.approx(millions, abs=0.051)


@pytest.mark.parametrize(
    "published", [p for p in PUBLISHED if p.reported[-1].dataset == "imagenet"], ids=lambda p: p.name
)
def test_imagenet_sizes_are_near_the_published_ones(published: Published) -> None:
    count = count_parameters(to_tensor([published.genotype], DARTS), DARTS, 3, 1000, 48, 14)
    assert count.item() / 1e6 == pytest.approx(published.reported[-1].parameters, rel=0.1)


@pytest.mark.parametrize(
    ("channels", "cells", "image_channels", "classes"),
    [(16, 8, 3, 10), (10, 5, 1, 7), (8, 1, 1, 3), (9, 2, 3, 10)],
)
def test_counted_parameters_equal_the_built_networks(
    channels: int, cells: int, image_channels: int, classes: int
) -> None:
    batch = random_tensor(8, DARTS, torch.Generator().manual_seed(0))
    counted = count_parameters(batch, DARTS, image_channels, classes, channels, cells)
    with torch.device("meta"):
        built = [
            sum(p.numel() for p in Network(g, DARTS, image_channels, classes, channels, cells).parameters())
            for g in from_tensor(batch, DARTS)
        ]
    assert counted.tolist() == built


@pytest.mark.parametrize(("cells", "size"), [(1, 1), (2, 2), (5, 4), (8, 9), (8, 4), (20, 16)])
def test_any_image_that_is_large_enough_goes_through(cells: int, size: int) -> None:
    assert size >= smallest_image(cells)
    genotype = from_tensor(random_tensor(1, DARTS, torch.Generator().manual_seed(2)), DARTS)[0]
    net = Network(genotype, DARTS, 1, 10, 4, cells, auxiliary=True, drop_path=0.2)
    logits, auxiliary = net(torch.randn(3, 1, size, size))
    assert logits.shape == (3, 10)
    assert auxiliary is not None
    assert auxiliary.shape == (3, 10)
    assert net.eval()(torch.randn(3, 1, size, size))[1] is None


def test_macs_of_a_known_layer_are_counted_right() -> None:
    class Plain(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 8, 3, padding=1, bias=False)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.conv(x)

    assert count_macs(Plain(), 3, 10) == 10 * 10 * 3 * 3 * 3 * 8  # type: ignore[arg-type]


def test_drop_path_keeps_the_expectation_and_spares_identities() -> None:
    torch.manual_seed(0)
    genotype = PUBLISHED[0].genotype
    net = Network(genotype, DARTS, 1, 10, 4, 1, drop_path=0.5)
    cell = net.cells[0]
    states = [torch.ones(4_000, 4, 1, 1)] * 6
    skip = next(i for i, (name, _) in enumerate(genotype.normal) if name == "skip_connect")
    assert torch.equal(cell._edge(skip, states, 0.5), states[0])
