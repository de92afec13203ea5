"""All edges that leave a state of a supernet, computed together.

Three identities make it fast without changing what it computes:

* A depthwise convolution followed by a pointwise one is a single dense convolution whose kernel is
  the product of both. On the few channels that PC-DARTS lets through (1/4 of them) one dense call
  for all edges costs far less than many small ones.
* Pooling has no weights, so it is the same on every edge that leaves a state: it runs once.
* The channels that bypass the operations are summed per node before the one channel shuffle.

`none` contributes nothing but its share of the softmax.
"""

from math import gcd
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.genotypes.operations import shift_pixel
from models.genotypes.search_space import SearchSpace

EPSILON, MOMENTUM = 1e-5, 0.1
"""Epsilon and momentum of every batch normalisation, as `nn.BatchNorm2d` has them."""

ALIGNMENT = 8
"""Channels of the operations' outputs are filled up to a multiple: on a CPU, normalising 12 channels
takes eight times as long as normalising 16 (PyTorch 2.14.1)."""

REGISTER, MANY, PIXELS = 16, 1 << 16, 8
"""Channels on whose multiples PyTorch's gradient of a normalisation is fast, with AVX2 as with AVX-512;
numbers from which on another one pays for other channels; and pixels whose channels stand in a row there."""

SEPARABLE = {"sep_conv_3x3": 3, "sep_conv_5x5": 5}
DILATED = {"dil_conv_3x3": 3, "dil_conv_5x5": 5}
PLAIN = {"nor_conv_1x1": 1, "nor_conv_3x3": 3}


class EdgeNorm(nn.Module):
    """Batch normalisation over the channels of several edges at once, times a weight a channel.

    The weight is that of the operation on the edge, not a parameter: taken into the normalisation, it
    costs no pass over the data of its own, forward or backward.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("variance", torch.ones(channels))
        self.mean: Tensor
        self.variance: Tensor
        self.momentum = MOMENTUM

    def forward(self, x: Tensor, weight: Tensor | None = None) -> Tensor:
        if self.training and x.is_cpu:
            out: Tensor = _Normalised.apply(x, weight, self.mean, self.variance, self.momentum)
            return out
        return F.batch_norm(
            x,
            self.mean,
            self.variance,
            weight,
            training=self.training,
            momentum=self.momentum,
            eps=EPSILON,
        )


class FoldedConv(nn.Module):
    """Depthwise and pointwise convolution of every edge, as one dense convolution.

    Args:
        edges, channels: how many edges, and channels of each.
        kernel, stride, dilation: of the depthwise convolution; padding keeps the size.
        padded: edges with those of zeros that fill up the channels, see `ALIGNMENT`.
        shared: all edges read the same `[batch, channels, …]`; otherwise each reads its own part of
            `[batch, padded * channels, …]`.

    Returns:
        `[batch, padded * channels, height, width]`.
    """

    def __init__(
        self,
        edges: int,
        channels: int,
        kernel: int,
        stride: int,
        dilation: int,
        *,
        padded: int,
        shared: bool,
    ) -> None:
        super().__init__()
        self.depthwise = nn.Parameter(_uniform(edges, channels, kernel, kernel, fan=kernel**2))
        self.pointwise = nn.Parameter(_uniform(edges, channels, channels, fan=channels))
        self.stride, self.dilation = stride, dilation
        self.padding = dilation * (kernel - 1) // 2
        self.groups = 1 if shared else padded
        self.fill = (padded - edges) * channels

    def forward(self, x: Tensor) -> Tensor:
        # [edge, out, in, 1, 1] * [edge, 1, in, kernel, kernel]
        kernel = (self.pointwise[..., None, None] * self.depthwise[:, None]).flatten(0, 1)
        if self.fill:
            kernel = F.pad(kernel, (0, 0, 0, 0, 0, 0, 0, self.fill))
        return F.conv2d(x, kernel, None, self.stride, self.padding, self.dilation, self.groups)


class PlainConv(nn.Module):
    """The convolution of every edge that leaves a state, as one.

    Args:
        edges, channels: how many edges, and channels of each.
        kernel, stride: of the convolution; padding keeps the size.
        padded: edges with those of zeros that fill up the channels, see `ALIGNMENT`.

    Returns:
        `[batch, padded * channels, height, width]`.
    """

    def __init__(self, edges: int, channels: int, kernel: int, stride: int, *, padded: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(
            _uniform(edges, channels, channels, kernel, kernel, fan=channels * kernel**2)
        )
        self.stride, self.padding, self.fill = stride, kernel // 2, (padded - edges) * channels

    def forward(self, x: Tensor) -> Tensor:
        kernel = self.weight.flatten(0, 1)
        if self.fill:
            kernel = F.pad(kernel, (0, 0, 0, 0, 0, 0, 0, self.fill))
        return F.conv2d(x, kernel, None, self.stride, self.padding)


class SharedReduce(nn.Module):
    """The `FactorizedReduce` of every edge that leaves a state, without its normalisation.

    One pointwise convolution reads the even pixels of all edges, one the odd.
    """

    def __init__(self, edges: int, channels: int) -> None:
        super().__init__()
        self.even = nn.Parameter(_uniform(edges, channels // 2, channels, fan=channels))
        self.odd = nn.Parameter(_uniform(edges, channels - channels // 2, channels, fan=channels))

    def forward(self, x: Tensor) -> Tensor:
        # as in `FactorizedReduce`; and with few channels last in memory, the gradient of a strided pointwise
        # convolution writes beyond its memory on CPUs with AVX2 alone (PyTorch 2.14.1, oneDNN 3.12.0)
        even = F.conv2d(x[..., ::2, ::2], self.even.flatten(0, 1)[..., None, None])
        odd = F.conv2d(shift_pixel(x)[..., ::2, ::2], self.odd.flatten(0, 1)[..., None, None])
        edges = len(self.even)
        return torch.cat([even.unflatten(1, (edges, -1)), odd.unflatten(1, (edges, -1))], 2).flatten(1, 2)


class StateEdges(nn.Module):
    """The mixed operations on all edges that leave one state (PC-DARTS, eq. 2).

    Args:
        space: the search space.
        edges: how many edges leave the state.
        channels: of the state; the first `channels / partial` go through the operations.
        stride: 2 for the input states of a reduction cell.
        partial: K of the paper.
    """

    def __init__(self, space: SearchSpace, edges: int, channels: int, stride: int, partial: int) -> None:
        super().__init__()
        self.edges, self.stride, self.width = edges, stride, channels // partial
        width = self.width
        padded = edges + -edges % max(ALIGNMENT // width, 1)
        self.fill, wide = padded - edges, padded * width
        self.order = [i for i, name in enumerate(space.operations) if name in (*SEPARABLE, *DILATED, *PLAIN)]
        self.pools = [
            i for i, name in enumerate(space.operations) if name in ("max_pool_3x3", "avg_pool_3x3")
        ]
        self.skip = space.operation("skip_connect")
        self.first, self.second = nn.ModuleDict(), nn.ModuleDict()
        for i in self.order:
            name = space.operations[i]
            if name in SEPARABLE:
                self.first[name] = FoldedConv(
                    edges, width, SEPARABLE[name], stride, 1, padded=padded, shared=True
                )
                self.second[name] = FoldedConv(
                    edges, width, SEPARABLE[name], 1, 1, padded=padded, shared=False
                )
            elif name in PLAIN:
                self.first[name] = PlainConv(edges, width, PLAIN[name], stride, padded=padded)
            else:
                self.first[name] = FoldedConv(
                    edges, width, DILATED[name], stride, 2, padded=padded, shared=True
                )
        self.first_norm = nn.ModuleDict({name: EdgeNorm(wide) for name in self.second})
        self.norm = nn.ModuleDict({name: EdgeNorm(wide) for name in self.first})
        self.pool_norm = EdgeNorm(len(self.pools) * width)
        self.names = space.operations
        if stride == 2:
            self.reduce = SharedReduce(edges, width)
            self.reduce_norm = EdgeNorm(wide)

    def forward(self, x: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
        """The operations' weighted sums on each edge, and the channels that bypass them.

        Args:
            x: `[batch, channels, height, width]`.
            weights: `[edges, operations]`.

        Returns:
            `[batch, edges * channels / partial, height, width]` and
            `[batch, channels - channels / partial, height, width]`, both after the stride.
        """
        chosen, rest = x.split([self.width, x.shape[1] - self.width], dim=1)
        chosen = chosen.contiguous(memory_format=torch.channels_last)
        if self.stride == 2:
            rest = F.max_pool2d(rest, 2, 2, ceil_mode=True)
        active = F.relu(chosen)
        weights = F.pad(weights, (0, 0, 0, self.fill))
        # rows, not columns: the channels-last gradient of batch normalisation on the CPU reads a weight
        # with a stride as if it had none (PyTorch 2.14.1)
        by_channel = weights.T.repeat_interleave(self.width, dim=1).contiguous()  # [operations, channels]
        mixed = self._shared(chosen, weights)
        for i in self.order:
            name = self.names[i]
            out = self.first[name](active)
            if name in self.second:
                out = self.second[name](F.relu_(self.first_norm[name](out)))
            mixed += self.norm[name](out, by_channel[i])
        if self.stride == 2:
            reduced = F.pad(self.reduce(active), (0, 0, 0, 0, 0, self.fill * self.width))
            mixed += self.reduce_norm(reduced, by_channel[self.skip])
        aligned: Tensor = _ChannelsLastGradient.apply(mixed)
        return aligned[:, : self.edges * self.width], rest

    def _shared(self, chosen: Tensor, weights: Tensor) -> Tensor:
        """The sum of the operations that edges share but for their weights: pooling, and skip at stride 1.

        The weighting is a pointwise convolution whose kernel is diagonal for each (edge, input).
        """
        outs, columns = [], list(self.pools)
        # a CPU takes twice as long to pool bfloat16 (PyTorch 2.14.1)
        read = chosen.float() if chosen.is_cpu and chosen.dtype == torch.bfloat16 else chosen
        for i in self.pools:
            if self.names[i] == "max_pool_3x3":
                outs.append(F.max_pool2d(read, 3, self.stride, padding=1))
            else:
                outs.append(F.avg_pool2d(read, 3, self.stride, padding=1, count_include_pad=False))
        inputs = [self.pool_norm(torch.cat(outs, dim=1)).to(chosen.dtype)] if outs else []
        if self.stride == 1:
            inputs.append(chosen)
            columns.append(self.skip)
        share = weights[:, columns]  # [edge, input]
        diagonal = torch.eye(self.width, dtype=share.dtype, device=share.device)
        kernel = share[:, None, :, None] * diagonal[None, :, None]  # [edge, channel, input, channel]
        return F.conv2d(torch.cat(inputs, dim=1), kernel.flatten(0, 1).flatten(1)[..., None, None])


class _Normalised(torch.autograd.Function):
    """Batch normalisation over a batch, with a gradient of its own for few channels on a CPU.

    PyTorch's takes up to eight times as long on 8 or 24 channels as on 16 or 32 (PyTorch 2.14.1), as if what
    does not fill a register were computed number by number. Here rows are as long as several pixels, so that
    they do: with `x_hat = (x - mean) * inverse`, `dx = weight * inverse * (g - sum(g) / n - x_hat *
    sum(g * x_hat) / n)` (Ioffe, Szegedy, 2015, section 3).
    """

    @staticmethod
    def forward(
        context: Any, x: Tensor, weight: Tensor | None, mean: Tensor, variance: Tensor, momentum: float
    ) -> Tensor:
        out, batch_mean, inverse = torch.native_batch_norm(
            x, weight, None, mean, variance, True, momentum, EPSILON
        )
        context.save_for_backward(x, weight, batch_mean, inverse)
        return out

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, mean, inverse = context.saved_tensors
        gradient = gradient.contiguous(memory_format=torch.channels_last)
        if x.shape[1] % REGISTER and x.numel() >= MANY:
            of_x, of_weight = _few_channels(gradient, x, weight, mean, inverse)
        else:
            wanted = [True, weight is not None, False]
            of_x, of_weight, _ = torch.ops.aten.native_batch_norm_backward(
                gradient, x, weight, None, None, mean, inverse, True, EPSILON, wanted
            )
        return of_x, of_weight if weight is not None else None, None, None, None


def _few_channels(
    gradient: Tensor, x: Tensor, weight: Tensor | None, mean: Tensor, inverse: Tensor
) -> tuple[Tensor, Tensor]:
    """The gradients of `_Normalised` for its input and its weight, all channels last in memory."""
    batch, channels, height, width = x.shape
    pixels = batch * height * width
    together = gcd(pixels, PIXELS)
    row = together * channels
    g = gradient.permute(0, 2, 3, 1).reshape(-1, row).to(mean.dtype)
    centred = x.permute(0, 2, 3, 1).reshape(-1, row) - mean.repeat(together)
    ones = g.new_ones(1, len(g))  # sums as products, which run on all cores
    sums = torch.cat([ones @ g, ones @ (g * centred)]).view(2, together, channels).sum(1)
    of_weight = sums[1] * inverse
    scale = inverse if weight is None else weight * inverse
    shift, slope = -scale * sums[0] / pixels, -scale * inverse * of_weight / pixels
    of_x = torch.addcmul(shift.repeat(together), g, scale.repeat(together))
    of_x = of_x.addcmul_(centred, slope.repeat(together)).to(x.dtype)
    return of_x.view(batch, height, width, channels).permute(0, 3, 1, 2), of_weight


class _ChannelsLastGradient(torch.autograd.Function):
    """The identity, whose gradient is laid out as its input is, once for all that is summed in it."""

    @staticmethod
    def forward(context: Any, x: Tensor) -> Tensor:
        return x.view_as(x)

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> Tensor:
        return gradient.contiguous(memory_format=torch.channels_last)


def _uniform(*shape: int, fan: int) -> Tensor:
    """The default initialisation of a convolution whose outputs sum `fan` products."""
    return torch.empty(shape).uniform_(-(fan**-0.5), fan**-0.5)
