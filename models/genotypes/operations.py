"""The candidate operations of DARTS (Liu, Simonyan, Yang, 2019, section 3.1) and of NAS-Bench-201 (Dong,
Yang, 2020, section 2.1).

Every operation maps float `[batch, channels, height, width]` to the same shape, or to half the
height and width (rounded up) at stride 2.
"""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

COLUMNS = 3
"""The widest depthwise kernel that has a fast gradient on the CPU (PyTorch 2.14.1, oneDNN 3.12.0)."""


class ReLUConvBN(nn.Sequential):
    """ReLU, convolution, batch normalisation."""

    def __init__(
        self, inputs: int, outputs: int, affine: bool = True, kernel: int = 1, stride: int = 1
    ) -> None:
        super().__init__(
            nn.ReLU(),
            nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False),
            nn.BatchNorm2d(outputs, affine=affine),
        )


class DilatedConv(nn.Sequential):
    """ReLU, depthwise convolution with dilation 2, pointwise convolution, batch normalisation."""

    def __init__(self, channels: int, kernel: int, stride: int, affine: bool = True) -> None:
        super().__init__(nn.ReLU(), DilatedDepthwise(channels, kernel, stride), *_pointwise(channels, affine))


class Depthwise(nn.Conv2d):
    """Depthwise convolution that keeps the size, or halves it at stride 2."""

    def __init__(self, channels: int, kernel: int, stride: int) -> None:
        super().__init__(channels, channels, kernel, stride, kernel // 2, groups=channels, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return _dense(x, self.weight, self.stride[0]) if self.training else super().forward(x)


class DilatedDepthwise(nn.Conv2d):
    """Depthwise convolution with dilation 2, trained as a dense one.

    A kernel with gaps of one pixel never mixes rows or columns of different parity: at stride 1 it is a
    kernel without gaps on each of the four images of every second pixel, at stride 2 on the even one of
    them. On the CPU kernels without gaps alone have fast gradients (PyTorch 2.14.1, oneDNN 3.12.0); without
    gradients PyTorch's own convolution with gaps is the faster one.
    """

    def __init__(self, channels: int, kernel: int, stride: int) -> None:
        super().__init__(channels, channels, kernel, stride, kernel - 1, 2, groups=channels, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return super().forward(x)
        if self.stride[0] == 2:
            return _dense(x[..., ::2, ::2], self.weight, 1)
        height, width = x.shape[-2:]
        filled = F.pad(x, (0, width % 2, 0, height % 2))
        return merge_pixels(_dense(split_pixels(filled), self.weight, 1))[..., :height, :width]


class _WideDepthwise(torch.autograd.Function):
    """Depthwise convolution whose weights' gradient is computed `COLUMNS` columns of the kernel at a time."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, stride: int) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.stride = stride
        return F.conv2d(x, weight, None, stride, weight.shape[-1] // 2, groups=len(weight))

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None]:
        x, weight = ctx.saved_tensors
        kernel, parts = weight.shape[-1], []
        padding = kernel // 2
        for first in range(0, kernel, COLUMNS):
            part = weight[..., first : first + COLUMNS]
            left, right = padding - first, padding - (kernel - first - part.shape[-1])
            read = F.pad(x, (left, right))
            parts.append(_gradients(gradient, read, part, ctx.stride, (padding, 0), (False, True))[1])
        of_x = _gradients(gradient, x, weight, ctx.stride, (padding, padding), (True, False))[0]
        return of_x, torch.cat(parts, dim=-1), None


def _gradients(
    gradient: Tensor,
    x: Tensor,
    weight: Tensor,
    stride: int,
    padding: tuple[int, int],
    wanted: tuple[bool, bool],
) -> tuple[Tensor, Tensor]:
    """Those of a depthwise convolution's input and weights, from its output's."""
    of_x, of_weight, _ = torch.ops.aten.convolution_backward(
        gradient,
        x,
        weight,
        None,
        (stride, stride),
        padding,
        (1, 1),
        False,
        (0, 0),
        len(weight),
        (*wanted, False),
    )
    return of_x, of_weight


def _dense(x: Tensor, weight: Tensor, stride: int) -> Tensor:
    """Depthwise convolution without gaps, in training."""
    kernel = weight.shape[-1]
    if kernel > COLUMNS and x.is_cpu and not torch.is_autocast_enabled("cpu"):
        out: Tensor = _WideDepthwise.apply(x, weight, stride)
        return out
    return F.conv2d(x, weight, None, stride, kernel // 2, groups=len(weight))


class SeparableConv(nn.Sequential):
    """Twice: ReLU, depthwise convolution, pointwise convolution, batch normalisation.

    Only the first depthwise convolution has the stride.
    """

    def __init__(self, channels: int, kernel: int, stride: int, affine: bool = True) -> None:
        super().__init__(
            nn.ReLU(),
            Depthwise(channels, kernel, stride),
            *_pointwise(channels, affine),
            nn.ReLU(),
            Depthwise(channels, kernel, 1),
            *_pointwise(channels, affine),
        )


class FactorizedReduce(nn.Module):
    """Halves height and width by two pointwise convolutions of stride 2, one shifted by a pixel.

    On odd sizes the shifted one reads a border of zeros. The stride is taken before the convolution: the
    gradient of a strided one goes over the pixels too that it never read.
    """

    def __init__(self, inputs: int, outputs: int, affine: bool = True) -> None:
        super().__init__()
        self.even = nn.Conv2d(inputs, outputs // 2, 1, bias=False)
        self.odd = nn.Conv2d(inputs, outputs - outputs // 2, 1, bias=False)
        self.norm = nn.BatchNorm2d(outputs, affine=affine)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(x)
        even, odd = x[..., ::2, ::2], shift_pixel(x)[..., ::2, ::2]
        out: Tensor = self.norm(torch.cat([self.even(even), self.odd(odd)], dim=1))
        return out


def shift_pixel(x: Tensor) -> Tensor:
    """`x` moved up and left by one pixel; odd sizes are filled with a border of zeros."""
    height, width = x.shape[-2:]
    if height % 2 or width % 2:
        x = F.pad(x, (0, width % 2, 0, height % 2))
    return x[..., 1:, 1:]


def split_pixels(x: Tensor) -> Tensor:
    """The four images of every second pixel, one after the other along the batch.

    `[batch, channels, 2 height, 2 width]` to `[4 batch, channels, height, width]`, channels last in memory.
    """
    batch, channels, height, width = x.shape
    pairs = x.permute(0, 2, 3, 1).unflatten(2, (width // 2, 2)).unflatten(1, (height // 2, 2))
    parts = pairs.permute(2, 4, 0, 1, 3, 5)  # [2, 2, batch, height, width, channels]
    return parts.reshape(4 * batch, height // 2, width // 2, channels).permute(0, 3, 1, 2)


def merge_pixels(x: Tensor) -> Tensor:
    """Puts the images that `split_pixels` took apart together again."""
    parts = x.permute(0, 2, 3, 1).unflatten(0, (2, 2, -1))
    pairs = parts.permute(2, 3, 0, 4, 1, 5)  # [batch, height, 2, width, 2, channels]
    return pairs.flatten(3, 4).flatten(1, 2).permute(0, 3, 1, 2)


class Zero(nn.Module):
    """`none`: the edge that is not there."""

    def __init__(self, stride: int) -> None:
        super().__init__()
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        return torch.zeros_like(x[..., :: self.stride, :: self.stride])


def _pointwise(channels: int, affine: bool) -> list[nn.Module]:
    return [nn.Conv2d(channels, channels, 1, bias=False), nn.BatchNorm2d(channels, affine=affine)]


def _skip(channels: int, stride: int, affine: bool) -> nn.Module:
    return nn.Identity() if stride == 1 else FactorizedReduce(channels, channels, affine)


def _average_pool(channels: int, stride: int, affine: bool) -> nn.Module:
    return nn.AvgPool2d(3, stride, padding=1, count_include_pad=False)


def _max_pool(channels: int, stride: int, affine: bool) -> nn.Module:
    return nn.MaxPool2d(3, stride, padding=1)


OPERATIONS: dict[str, Callable[[int, int, bool], nn.Module]] = {
    "none": lambda channels, stride, affine: Zero(stride),
    "max_pool_3x3": _max_pool,
    "avg_pool_3x3": _average_pool,
    "skip_connect": _skip,
    "sep_conv_3x3": lambda channels, stride, affine: SeparableConv(channels, 3, stride, affine),
    "sep_conv_5x5": lambda channels, stride, affine: SeparableConv(channels, 5, stride, affine),
    "dil_conv_3x3": lambda channels, stride, affine: DilatedConv(channels, 3, stride, affine),
    "dil_conv_5x5": lambda channels, stride, affine: DilatedConv(channels, 5, stride, affine),
    "nor_conv_1x1": lambda channels, stride, affine: ReLUConvBN(channels, channels, affine, 1, stride),
    "nor_conv_3x3": lambda channels, stride, affine: ReLUConvBN(channels, channels, affine, 3, stride),
}
"""Operation by name: (channels, stride, affine) to a module."""
