"""The PC-DARTS supernet the textbook way: one module per edge and operation."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.genotypes.network import STEM_MULTIPLIER, LargeStem, reduction_cells
from models.genotypes.operations import OPERATIONS, FactorizedReduce, ReLUConvBN
from models.genotypes.search_space import SearchSpace


class PlainMixedOp(nn.Module):
    """PC-DARTS eq. 2: 1/K of the channels through every operation, then a channel shuffle."""

    def __init__(self, space: SearchSpace, channels: int, stride: int, partial: int) -> None:
        super().__init__()
        self.stride, self.partial, self.width = stride, partial, channels // partial
        self.operations = nn.ModuleList()
        for name in space.operations:
            if name == "none":
                continue
            operation = OPERATIONS[name](self.width, stride, False)
            if "pool" in name:
                operation = nn.Sequential(operation, nn.BatchNorm2d(self.width, affine=False))
            self.operations.append(operation)
        self.columns = [i for i, name in enumerate(space.operations) if name != "none"]

    def forward(self, x: Tensor, weights: Tensor) -> Tensor:
        chosen, rest = x[:, : self.width], x[:, self.width :]
        mixed = sum(weights[i] * op(chosen) for i, op in zip(self.columns, self.operations, strict=True))
        if self.stride == 2:
            rest = F.max_pool2d(rest, 2, 2, ceil_mode=True)
        out = torch.cat([mixed, rest], dim=1)
        batch, channels, height, width = out.shape
        out = out.view(batch, self.partial, channels // self.partial, height, width)
        return out.transpose(1, 2).reshape(batch, channels, height, width)


class PlainCell(nn.Module):
    def __init__(
        self,
        space: SearchSpace,
        inputs: tuple[int, int],
        channels: int,
        reduction: bool,
        before: bool,
        partial: int,
    ) -> None:
        super().__init__()
        first = FactorizedReduce if before else ReLUConvBN
        self.preprocess0 = first(inputs[0], channels, False)
        self.preprocess1 = ReLUConvBN(inputs[1], channels, False)
        self.space = space
        self.edges = nn.ModuleList(
            PlainMixedOp(space, channels, 2 if reduction and i < space.inputs else 1, partial)
            for i, _ in space.edges
        )

    def forward(self, s0: Tensor, s1: Tensor, weights: Tensor, betas: Tensor) -> Tensor:
        states = [self.preprocess0(s0), self.preprocess1(s1)]
        offset = 0
        for _ in range(self.space.intermediates):
            states.append(
                sum(
                    betas[offset + j] * self.edges[offset + j](h, weights[offset + j])
                    for j, h in enumerate(states)
                )
            )
            offset += len(states) - 1
        return torch.cat(states[self.space.inputs :], dim=1)


class PlainSupernet(nn.Module):
    def __init__(
        self,
        space: SearchSpace,
        image_channels: int,
        classes: int,
        channels: int,
        cells: int,
        partial: int,
        large_stem: bool = False,
    ) -> None:
        super().__init__()
        self.space, self.large_stem = space, large_stem
        width = channels if large_stem else STEM_MULTIPLIER * channels
        self.stem = (
            LargeStem(image_channels, channels)
            if large_stem
            else nn.Sequential(
                nn.Conv2d(image_channels, width, 3, padding=1, bias=False), nn.BatchNorm2d(width)
            )
        )
        self.cells, inputs = nn.ModuleList(), (width, width)
        self.reductions = reduction_cells(cells)
        for position in range(cells):
            reduction = position in self.reductions
            channels *= 2 if reduction else 1
            before = position - 1 in self.reductions or (large_stem and position == 0)
            self.cells.append(PlainCell(space, inputs, channels, reduction, before, partial))
            inputs = (inputs[1], space.intermediates * channels)
        self.classifier = nn.Linear(inputs[1], classes)
        shape = (2, len(space.edges))
        self.alphas = nn.Parameter(1e-3 * torch.randn(*shape, len(space.operations)))
        self.betas = nn.Parameter(1e-3 * torch.randn(shape))

    def forward(self, images: Tensor) -> Tensor:
        s0, s1 = self.stem(images) if self.large_stem else [self.stem(images)] * 2
        for position, cell in enumerate(self.cells):
            kind = int(position in self.reductions)
            into = self.betas[kind].split(list(range(2, 2 + self.space.intermediates)))
            betas = torch.cat([F.softmax(part, dim=0) for part in into])
            s0, s1 = s1, cell(s0, s1, F.softmax(self.alphas[kind], dim=-1), betas)
        return self.classifier(F.adaptive_avg_pool2d(s1, 1).flatten(1))
