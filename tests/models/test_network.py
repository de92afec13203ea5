"""Networks of genotypes: sizes as published, counts as built."""

import pytest
import torch

from models.genotype import from_tensor, random_tensor
from models.network import Network, smallest_image
from models.published import PUBLISHED
from models.search_space import DARTS


@pytest.mark.parametrize(
    ("name", "millions"), [("PC-DARTS-CIFAR", 3.6), ("DARTS-V2", 3.3), ("P-DARTS", 3.4), ("CARS-I", 3.6)]
)
def test_a_published_genotype_has_its_published_size(name: str, millions: float) -> None:
    published = next(p for p in PUBLISHED if p.name == name)
    net = Network(published.genotype, DARTS, 3, 10, 36, 20)
    assert sum(p.numel() for p in net.parameters()) / 1e6 == pytest.approx(millions, abs=0.051)


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


def test_drop_path_keeps_the_expectation_and_spares_identities() -> None:
    torch.manual_seed(0)
    genotype = PUBLISHED[0].genotype
    net = Network(genotype, DARTS, 1, 10, 4, 1, drop_path=0.5)
    cell = net.cells[0]
    states = [torch.ones(4_000, 4, 1, 1)] * 6
    skip = next(i for i, (name, _) in enumerate(genotype.normal) if name == "skip_connect")
    assert torch.equal(cell._edge(skip, states, 0.5), states[0])
