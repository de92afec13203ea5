"""Networks of genotypes: sizes as published, counts as built."""

import copy

import pytest
import torch

from models.genotypes.genotype import from_tensor, random_tensor
from models.genotypes.network import Network, StemChoice, has_large_stem, read_together, smallest_image
from models.genotypes.operations import FactorizedReduce, ReLUConvBN
from models.genotypes.published import PUBLISHED
from models.genotypes.search_space import DARTS


@pytest.mark.parametrize(
    ("name", "millions"), [("PC-DARTS-CIFAR", 3.6), ("DARTS-V2", 3.3), ("P-DARTS", 3.4), ("CARS-I", 3.6)]
)
def test_a_published_genotype_has_its_published_size(name: str, millions: float) -> None:
    published = next(p for p in PUBLISHED if p.name == name)
    net = Network(published.genotype, 3, 10, 36, 20)
    assert sum(p.numel() for p in net.parameters()) / 1e6 == pytest.approx(millions, abs=0.051)


@pytest.mark.parametrize(("cells", "size"), [(1, 1), (2, 2), (5, 4), (8, 9), (8, 4), (20, 16)])
def test_any_image_that_is_large_enough_goes_through(cells: int, size: int) -> None:
    assert size >= smallest_image(cells)
    genotype = from_tensor(random_tensor(1, DARTS, torch.Generator().manual_seed(2)), DARTS)[0]
    net = Network(genotype, 1, 10, 4, cells, auxiliary=True, drop_path=0.2)
    logits, auxiliary = net(torch.randn(3, 1, size, size))
    assert logits.shape == (3, 10)
    assert auxiliary is not None
    assert auxiliary.shape == (3, 10)
    assert net.eval()(torch.randn(3, 1, size, size))[1] is None


@pytest.mark.parametrize(("cells", "size"), [(1, 8), (5, 32), (8, 33), (14, 97)])
def test_a_large_stem_leaves_an_eighth_to_the_first_cell(cells: int, size: int) -> None:
    assert size >= smallest_image(cells, large_stem=True)
    torch.manual_seed(0)
    net = Network(PUBLISHED[1].genotype, 3, 10, 4, cells, auxiliary=True, large_stem=True).double()
    images = torch.randn(3, 3, size, size, dtype=torch.float64)
    plain = copy.deepcopy(net)
    s0, s1 = plain.stem(images)
    assert (s0.shape[-1], s1.shape[-1]) == (-(-size // 4), -(-size // 8))
    for position, cell in enumerate(plain.cells):
        s0, s1 = s1, cell([cell.preprocess[0](s0), cell.preprocess[1](s1)], 0.0)
        if position == 0:
            assert s1.shape[-1] == -(-size // 8)
    logits, auxiliary = net(images)
    torch.testing.assert_close(logits, plain.classifier(s1.mean((2, 3))))
    assert auxiliary is not None


@pytest.mark.parametrize(
    ("size", "stem", "large"),
    [(95, "auto", False), (96, "auto", True), (32, "large", True), (224, "small", False)],
)
def test_the_stem_goes_by_the_size_of_images_unless_it_is_chosen(
    size: int, stem: StemChoice, large: bool
) -> None:
    assert has_large_stem(size, stem) is large


def test_readers_of_one_input_read_it_as_each_alone() -> None:
    torch.manual_seed(0)
    readers = [ReLUConvBN(6, 4), FactorizedReduce(6, 4), ReLUConvBN(6, 8)]
    together = [reader.double() for reader in readers]
    alone = copy.deepcopy(together)
    x = torch.randn(3, 6, 8, 8, dtype=torch.float64, requires_grad=True)
    found, expected = read_together(x, together), [reader(x) for reader in alone]
    torch.testing.assert_close(found, expected)
    directions = [torch.randn_like(out) for out in expected]
    gradients = [
        torch.autograd.grad(outs, [x, *(p for reader in owners for p in reader.parameters())], directions)
        for outs, owners in ((found, together), (expected, alone))
    ]
    torch.testing.assert_close(*gradients)
    statistics = [
        [buffer for reader in owners for buffer in reader.buffers()] for owners in (together, alone)
    ]
    torch.testing.assert_close(*statistics)


def test_a_network_reads_the_two_outputs_before_every_cell() -> None:
    torch.manual_seed(0)
    net = Network(PUBLISHED[0].genotype, 3, 10, 4, 6).double()
    plain = copy.deepcopy(net)
    images = torch.randn(4, 3, 16, 16, dtype=torch.float64)
    s0 = s1 = plain.stem(images)
    for cell in plain.cells:
        s0, s1 = s1, cell([cell.preprocess[0](s0), cell.preprocess[1](s1)], 0.0)
    torch.testing.assert_close(net(images)[0], plain.classifier(s1.mean((2, 3))))


def test_drop_path_keeps_the_expectation_and_spares_identities() -> None:
    torch.manual_seed(0)
    genotype = PUBLISHED[0].genotype
    net = Network(genotype, 1, 10, 4, 1, drop_path=0.5)
    cell = net.cells[0]
    states = [torch.ones(4_000, 4, 1, 1)] * 6
    skip = next(i for i, (name, _) in enumerate(genotype.cells[0]) if name == "skip_connect")
    assert torch.equal(cell._edge(skip, states, 0.5), states[0])
