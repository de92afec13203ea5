"""The PC-DARTS supernet (Xu et al., 2020), with all edges that leave a state computed together.

Three identities make it fast without changing what it computes:

* A depthwise convolution followed by a pointwise one is a single dense convolution whose kernel is
  the product of both. On the few channels that PC-DARTS lets through (1/4 of them) one dense call
  for all edges costs far less than many small ones.
* Pooling has no weights, so it is the same on every edge that leaves a state: it runs once.
* The channels that bypass the operations are summed per node before the one channel shuffle.

`none` contributes nothing but its share of the softmax.
"""

import functools
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.genotype import ContinuousGenotype
from models.network import STEM_MULTIPLIER, reduction_cells
from models.operations import FactorizedReduce, ReLUConvBN, shift_pixel
from models.search_space import CELLS, SearchSpace

EPSILON, MOMENTUM = 1e-5, 0.1
"""Of every batch normalisation, as `nn.BatchNorm2d` has them."""

SEPARABLE = {"sep_conv_3x3": 3, "sep_conv_5x5": 5}
DILATED = {"dil_conv_3x3": 3, "dil_conv_5x5": 5}


class EdgeNorm(nn.Module):
    """Batch normalisation without scale and shift, over the channels of several edges at once."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("variance", torch.ones(channels))
        self.mean: Tensor
        self.variance: Tensor

    def forward(self, x: Tensor) -> Tensor:
        return F.batch_norm(
            x, self.mean, self.variance, training=self.training, momentum=MOMENTUM, eps=EPSILON
        )


class FoldedConv(nn.Module):
    """Depthwise and pointwise convolution of every edge, as one dense convolution.

    Args:
        edges, channels: how many edges, and channels of each.
        kernel, stride, dilation: of the depthwise convolution; padding keeps the size.
        shared: all edges read the same `[batch, channels, …]`; otherwise each reads its own part of
            `[batch, edges * channels, …]`.

    Returns:
        `[batch, edges * channels, height, width]`.
    """

    def __init__(
        self, edges: int, channels: int, kernel: int, stride: int, dilation: int, shared: bool
    ) -> None:
        super().__init__()
        self.depthwise = nn.Parameter(_uniform(edges, channels, kernel, kernel, fan=kernel**2))
        self.pointwise = nn.Parameter(_uniform(edges, channels, channels, fan=channels))
        self.stride, self.dilation = stride, dilation
        self.padding = dilation * (kernel - 1) // 2
        self.groups = 1 if shared else edges

    def forward(self, x: Tensor) -> Tensor:
        # [edge, out, in, 1, 1] * [edge, 1, in, kernel, kernel]
        kernel = (self.pointwise[..., None, None] * self.depthwise[:, None]).flatten(0, 1)
        return F.conv2d(x, kernel, None, self.stride, self.padding, self.dilation, self.groups)


class SharedReduce(nn.Module):
    """The `FactorizedReduce` of every edge that leaves a state, without its normalisation.

    The pixel-shifted convolution of stride 2 reads the odd pixels, the plain one the even: together
    they are one 2 x 2 convolution with half its taps zero.
    """

    def __init__(self, edges: int, channels: int) -> None:
        super().__init__()
        self.even = nn.Parameter(_uniform(edges, channels // 2, channels, fan=channels))
        self.odd = nn.Parameter(_uniform(edges, channels - channels // 2, channels, fan=channels))

    def forward(self, x: Tensor) -> Tensor:
        even = F.conv2d(x, self.even.flatten(0, 1)[..., None, None], stride=2)
        odd = F.conv2d(shift_pixel(x), self.odd.flatten(0, 1)[..., None, None], stride=2)
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
        width, wide = self.width, edges * self.width
        self.order = [i for i, name in enumerate(space.operations) if name in (*SEPARABLE, *DILATED)]
        self.pools = [
            i for i, name in enumerate(space.operations) if name in ("max_pool_3x3", "avg_pool_3x3")
        ]
        self.skip = space.operation("skip_connect")
        self.first, self.second = nn.ModuleDict(), nn.ModuleDict()
        for i in self.order:
            name = space.operations[i]
            if name in SEPARABLE:
                self.first[name] = FoldedConv(edges, width, SEPARABLE[name], stride, 1, shared=True)
                self.second[name] = FoldedConv(edges, width, SEPARABLE[name], 1, 1, shared=False)
            else:
                self.first[name] = FoldedConv(edges, width, DILATED[name], stride, 2, shared=True)
        self.first_norm = nn.ModuleDict({name: EdgeNorm(wide) for name in self.second})
        self.norm = nn.ModuleDict({name: EdgeNorm(wide) for name in self.first})
        self.pool_norm = nn.ModuleList(EdgeNorm(width) for _ in self.pools)
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
            `[batch, edges, channels / partial, height, width]` and
            `[batch, channels - channels / partial, height, width]`, both after the stride.
        """
        chosen, rest = x[:, : self.width], x[:, self.width :]
        if self.stride == 2:
            rest = F.max_pool2d(rest, 2, 2, ceil_mode=True)
        active = F.relu(chosen)
        mixed = self._shared(chosen, weights)
        for i in self.order:
            name = self.names[i]
            out = self.first[name](active)
            if name in self.second:
                out = self.second[name](F.relu(self.first_norm[name](out)))
            out = self.norm[name](out).unflatten(1, (self.edges, self.width))
            mixed = mixed + out * weights[:, i, None, None, None]
        if self.stride == 2:
            out = self.reduce_norm(self.reduce(active)).unflatten(1, (self.edges, self.width))
            mixed = mixed + out * weights[:, self.skip, None, None, None]
        return mixed, rest

    def _shared(self, chosen: Tensor, weights: Tensor) -> Tensor:
        """What is the same on all edges but for its weight: pooling, and skip at stride 1."""
        outs, columns = [], []
        for i, norm in zip(self.pools, self.pool_norm, strict=True):
            if self.names[i] == "max_pool_3x3":
                pooled = F.max_pool2d(chosen, 3, self.stride, padding=1)
            else:
                pooled = F.avg_pool2d(chosen, 3, self.stride, padding=1, count_include_pad=False)
            outs.append(norm(pooled))
            columns.append(i)
        if self.stride == 1:
            outs.append(chosen)
            columns.append(self.skip)
        share = weights[:, columns, None, None, None]
        return functools.reduce(torch.add, (out[:, None] * share[:, k] for k, out in enumerate(outs)))


class SearchCell(nn.Module):
    """One cell of the supernet: every legal edge, every operation on it.

    Args:
        space: the search space.
        inputs: channels of the outputs of the two cells before.
        channels: of this cell's states.
        reduction: halves height and width.
        reduction_before: the cell before did.
        partial: K of the paper.
    """

    def __init__(
        self,
        space: SearchSpace,
        inputs: tuple[int, int],
        channels: int,
        reduction: bool,
        reduction_before: bool,
        partial: int,
    ) -> None:
        super().__init__()
        first = FactorizedReduce if reduction_before else ReLUConvBN
        self.preprocess = nn.ModuleList(
            [first(inputs[0], channels, False), ReLUConvBN(inputs[1], channels, False)]
        )
        self.inputs, self.partial = space.inputs, partial
        # the rows of `space.edges` that leave each state, in the order of the nodes they enter
        self.leaving = [
            [row for row, (i, _) in enumerate(space.edges) if i == state]
            for state in range(space.inputs + space.intermediates - 1)
        ]
        self.states = nn.ModuleList(
            StateEdges(space, len(rows), channels, 2 if reduction and i < space.inputs else 1, partial)
            for i, rows in enumerate(self.leaving)
        )

    def forward(self, s0: Tensor, s1: Tensor, weights: Tensor, betas: Tensor) -> Tensor:
        """The concatenated intermediate states.

        Args:
            s0, s1: outputs of the two cells before.
            weights: `[edges, operations]`, the softmax of this cell's alphas.
            betas: `[edges]`, the softmax of its betas over the edges into each node.
        """
        weights = weights * betas[:, None]
        states = [self.preprocess[0](s0), self.preprocess[1](s1)]
        into: list[list[tuple[Tensor, Tensor]]] = [[] for _ in range(len(self.states) - 1)]
        for i, (rows, edges) in enumerate(zip(self.leaving, self.states, strict=True)):
            mixed, rest = edges(states[i], weights[rows])
            first = max(i - self.inputs + 1, 0)
            for k, (part, beta) in enumerate(zip(mixed.unbind(1), betas[rows].unbind(), strict=True)):
                into[first + k].append((part, beta * rest))
            if i >= self.inputs - 1:
                states.append(self._join(into[i - self.inputs + 1]))
        return torch.cat(states[self.inputs :], dim=1)

    def _join(self, parts: list[tuple[Tensor, Tensor]]) -> Tensor:
        """Sums over the predecessors, then the channel shuffle (`[K, width]` to `[width, K]`)."""
        mixed, rest = (functools.reduce(torch.add, tensors) for tensors in zip(*parts, strict=True))
        groups = [mixed, *rest.chunk(self.partial - 1, dim=1)]
        return torch.stack(groups, dim=2).flatten(1, 2)


class Supernet(nn.Module):
    """Stacked search cells between a convolutional stem and a linear classifier.

    Args:
        space: the search space.
        image_channels: channels of the images.
        classes: outputs.
        channels: channels of the first cells; doubled by each reduction cell.
        cells: how many cells, two of them reduction cells (one below three cells).
        partial: K of the paper; divides `channels`.
    """

    def __init__(
        self, space: SearchSpace, image_channels: int, classes: int, channels: int, cells: int, partial: int
    ) -> None:
        super().__init__()
        self.space = space
        width = STEM_MULTIPLIER * channels
        self.stem = nn.Sequential(
            nn.Conv2d(image_channels, width, 3, padding=1, bias=False), nn.BatchNorm2d(width)
        )
        self.reductions, inputs = reduction_cells(cells), (width, width)
        self.cells = nn.ModuleList()
        for position in range(cells):
            reduction = position in self.reductions
            channels *= 2 if reduction else 1
            before = position - 1 in self.reductions
            self.cells.append(SearchCell(space, inputs, channels, reduction, before, partial))
            inputs = (inputs[1], space.intermediates * channels)
        self.classifier = nn.Linear(inputs[1], classes)
        shape = (len(CELLS), len(space.edges))
        self.alphas = nn.Parameter(1e-3 * torch.randn(*shape, len(space.operations)))
        self.betas = nn.Parameter(1e-3 * torch.randn(shape))
        self.to(memory_format=torch.channels_last)

    def forward(self, images: Tensor) -> Tensor:
        """Logits `[batch, classes]`."""
        weights, betas = self.operation_weights(), self.edge_weights()
        s0 = s1 = self.stem(images.contiguous(memory_format=torch.channels_last))
        for position, cell in enumerate(self.cells):
            kind = int(position in self.reductions)
            s0, s1 = s1, cell(s0, s1, weights[kind], betas[kind])
        return self.classifier(F.adaptive_avg_pool2d(s1, 1).flatten(1))

    def operation_weights(self) -> Tensor:
        """Softmax of alphas, `[cell, edges, operations]`."""
        return F.softmax(self.alphas, dim=-1)

    def edge_weights(self) -> Tensor:
        """Softmax of betas over the edges into each node, `[cell, edges]` (PC-DARTS, eq. 3)."""
        into = self.betas.split(list(self._nodes()), dim=1)
        return torch.cat([F.softmax(part, dim=1) for part in into], dim=1)

    def architecture(self) -> list[nn.Parameter]:
        """What the architecture step trains."""
        return [self.alphas, self.betas]

    def weights(self) -> list[nn.Parameter]:
        """What the weight step trains."""
        return [p for name, p in self.named_parameters() if name not in ("alphas", "betas")]

    @torch.no_grad()
    def continuous(self) -> ContinuousGenotype:
        """The genotype as the search left it."""
        weights, betas = self.operation_weights().tolist(), self.edge_weights().tolist()
        return ContinuousGenotype(
            normal=tuple(map(tuple, weights[0])),
            normal_edges=tuple(betas[0]),
            reduce=tuple(map(tuple, weights[1])),
            reduce_edges=tuple(betas[1]),
        )

    def _nodes(self) -> Sequence[int]:
        """How many edges enter each intermediate node."""
        return range(self.space.inputs, self.space.inputs + self.space.intermediates)


def _uniform(*shape: int, fan: int) -> Tensor:
    """The default initialisation of a convolution whose outputs sum `fan` products."""
    return torch.empty(shape).uniform_(-(fan**-0.5), fan**-0.5)
