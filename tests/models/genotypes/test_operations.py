"""The operations: what is computed in another way than it is written is the same."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from models.genotypes.operations import (
    Depthwise,
    DilatedDepthwise,
    FactorizedReduce,
    merge_pixels,
    split_pixels,
)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 8, 9, 16])
@pytest.mark.parametrize("kernel", [3, 5])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("depthwise", [Depthwise, DilatedDepthwise])
def test_a_depthwise_convolution_trains_as_pytorch_has_it(
    depthwise: type[Depthwise] | type[DilatedDepthwise], size: int, kernel: int, stride: int
) -> None:
    torch.manual_seed(0)
    ours = depthwise(6, kernel, stride).double()
    x = torch.randn(3, 6, size, size, dtype=torch.float64, requires_grad=True)
    trained = ours.train()(x)
    dilation = ours.dilation[0]
    padding = dilation * (kernel // 2)
    plain = F.conv2d(x, ours.weight, stride=stride, padding=padding, dilation=dilation, groups=6)
    direction = torch.randn_like(plain)
    torch.testing.assert_close(trained, plain)
    torch.testing.assert_close(
        torch.autograd.grad(trained, (x, ours.weight), direction),
        torch.autograd.grad(plain, (x, ours.weight), direction),
    )
    torch.testing.assert_close(ours.eval()(x), plain)


@pytest.mark.parametrize("size", [1, 2, 7, 8])
def test_a_factorized_reduction_reads_even_and_odd_pixels(size: int) -> None:
    torch.manual_seed(0)
    ours = FactorizedReduce(4, 6).double()
    x = torch.randn(3, 4, size, size, dtype=torch.float64)
    positive = F.pad(x.relu(), (0, 1, 0, 1))  # a border that the odd pixels of odd sizes read
    even = F.conv2d(x.relu(), ours.even.weight, stride=2)
    odd = F.conv2d(positive[..., 1:, 1:], ours.odd.weight, stride=2)[..., : even.shape[2], : even.shape[3]]
    expected = ours.norm(torch.cat([even, odd], dim=1))
    torch.testing.assert_close(ours(x), expected)
    assert ours(x).shape == (3, 6, (size + 1) // 2, (size + 1) // 2)


@given(batch=st.integers(1, 3), channels=st.integers(1, 5), height=st.integers(1, 5), width=st.integers(1, 5))
def test_pixels_that_are_split_merge_to_the_same_image(
    batch: int, channels: int, height: int, width: int
) -> None:
    x = torch.randn(batch, channels, 2 * height, 2 * width)
    parts = split_pixels(x)
    assert parts.shape == (4 * batch, channels, height, width)
    assert torch.equal(parts[batch : 2 * batch], x[..., ::2, 1::2])
    assert torch.equal(merge_pixels(parts), x)
