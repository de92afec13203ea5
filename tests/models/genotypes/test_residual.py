"""The network of NAS-Bench-201 is that of its paper."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from models.genotypes.genotype import from_tensor, random_tensor
from models.genotypes.residual import ResidualNetwork
from models.genotypes.search_space import NAS_BENCH_201
from models.genotypes.text import from_text


def test_a_cell_sums_its_edges_and_ends_in_its_last_node() -> None:
    torch.manual_seed(0)
    genotype = from_text(
        "|nor_conv_3x3~0|+|avg_pool_3x3~0|nor_conv_1x1~1|+|skip_connect~0|none~1|nor_conv_3x3~2|",
        NAS_BENCH_201,
    )
    net = ResidualNetwork(genotype, 3, 10, 4, 6).double()
    plain = copy.deepcopy(net)
    images = torch.randn(3, 3, 12, 12, dtype=torch.float64)

    def cell(position: int, x: Tensor) -> Tensor:
        first, pool, second, skip, _, third = plain.cells[position].operations
        one = first(x)
        two = pool(x) + second(one)
        return skip(x) + third(two)

    out = plain.stem(images)
    for position in range(6):
        if position in (2, 4):
            block = plain.blocks[str(position)]
            halved = F.avg_pool2d(out, 2)
            out = block.shortcut[1](halved) + block.second(block.first(out))
        out = cell(position, out)
    assert out.shape == (3, 16, 3, 3)
    torch.testing.assert_close(net(images)[0], plain.classifier(plain.last(out).mean((2, 3))))


@pytest.mark.parametrize(
    ("cells", "size", "large_stem"), [(1, 4, False), (2, 5, False), (5, 33, True), (15, 9, False)]
)
def test_any_genotype_trains_at_any_size(cells: int, size: int, large_stem: bool) -> None:
    torch.manual_seed(1)
    drawn = from_tensor(random_tensor(3, NAS_BENCH_201, torch.Generator().manual_seed(cells)), NAS_BENCH_201)
    for genotype in [*drawn, from_text("111111", NAS_BENCH_201), from_text("111110", NAS_BENCH_201)]:
        net = ResidualNetwork(genotype, 1, 7, 4, cells, True, 0.2, large_stem)
        logits, auxiliary = net(torch.randn(3, 1, size, size))
        assert logits.shape == (3, 7)
        assert auxiliary is not None
        (logits.sum() + auxiliary.sum()).backward()
        assert torch.isfinite(logits).all()
        assert net.eval()(torch.randn(1, 1, size, size))[1] is None
