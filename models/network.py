"""The network that a genotype describes, and its size without building it."""

from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from models.genotype import Genotype
from models.operations import OPERATIONS, FactorizedReduce, ReLUConvBN
from models.search_space import CELLS, SearchSpace

STEM_MULTIPLIER = 3


def reduction_cells(cells: int) -> set[int]:
    """The positions of the reduction cells, at one and two thirds of the depth."""
    return {cells // 3, 2 * cells // 3} - {0}


def smallest_image(cells: int) -> int:
    """The smallest image size in pixels that leaves every reduction cell at least 2 x 2 pixels."""
    return 1 << len(reduction_cells(cells))


class Cell(nn.Module):
    """One cell: preprocessed inputs, two operations summed into each intermediate node, concat."""

    def __init__(
        self,
        edges: tuple[tuple[str, int], ...],
        space: SearchSpace,
        inputs: tuple[int, int],
        channels: int,
        reduction: bool,
        reduction_before: bool,
    ) -> None:
        super().__init__()
        before = FactorizedReduce if reduction_before else ReLUConvBN
        self.preprocess = nn.ModuleList([before(inputs[0], channels), ReLUConvBN(inputs[1], channels)])
        self.predecessors = [predecessor for _, predecessor in edges]
        self.per_node = space.predecessors
        self.operations = nn.ModuleList(
            OPERATIONS[name](channels, 2 if reduction and predecessor < space.inputs else 1, True)
            for name, predecessor in edges
        )

    def forward(self, s0: Tensor, s1: Tensor, drop_path: float) -> Tensor:
        states = [self.preprocess[0](s0), self.preprocess[1](s1)]
        inputs = len(states)
        for first in range(0, len(self.predecessors), self.per_node):
            into = range(first, first + self.per_node)
            states.append(sum(self._edge(e, states, drop_path) for e in into))
        return torch.cat(states[inputs:], dim=1)

    def _edge(self, edge: int, states: list[Tensor], drop_path: float) -> Tensor:
        operation = self.operations[edge]
        out: Tensor = operation(states[self.predecessors[edge]])
        if self.training and drop_path > 0 and not isinstance(operation, nn.Identity):
            keep = torch.rand(len(out), 1, 1, 1, device=out.device) >= drop_path
            out = out * keep / (1 - drop_path)
        return out


class AuxiliaryHead(nn.Sequential):
    """A second classifier two thirds down, for training only (Liu et al., 2019, appendix A.2.1).

    Its first pooling adapts to 2 x 2, so that any image size can have one.
    """

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__(
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(2),
            nn.Conv2d(channels, 128, 1, bias=False),
            nn.BatchNorm2d(128),
            nn.ReLU(),
            nn.Conv2d(128, 768, 2, bias=False),
            nn.BatchNorm2d(768),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(768, classes),
        )


class Network(nn.Module):
    """Stacked cells of a genotype between a convolutional stem and a linear classifier.

    Args:
        genotype: which cells.
        space: its search space.
        image_channels: channels of the images.
        classes: outputs.
        channels: channels of the first cells; doubled by each reduction cell.
        cells: how many cells, two of them reduction cells (one below three cells).
        auxiliary: adds the auxiliary head.
        drop_path: probability of dropping an edge of a sample, in training.
    """

    def __init__(
        self,
        genotype: Genotype,
        space: SearchSpace,
        image_channels: int,
        classes: int,
        channels: int,
        cells: int,
        auxiliary: bool = False,
        drop_path: float = 0.0,
    ) -> None:
        super().__init__()
        self.drop_path = drop_path
        width = STEM_MULTIPLIER * channels
        self.stem = nn.Sequential(
            nn.Conv2d(image_channels, width, 3, padding=1, bias=False), nn.BatchNorm2d(width)
        )
        self.cells = nn.ModuleList()
        reductions, inputs = reduction_cells(cells), (width, width)
        for position in range(cells):
            reduction = position in reductions
            channels *= 2 if reduction else 1
            edges = genotype.reduce if reduction else genotype.normal
            self.cells.append(Cell(edges, space, inputs, channels, reduction, position - 1 in reductions))
            inputs = (inputs[1], space.intermediates * channels)
            if position == 2 * cells // 3:
                auxiliary_channels = inputs[1]
        self.auxiliary_after = 2 * cells // 3
        self.auxiliary = AuxiliaryHead(auxiliary_channels, classes) if auxiliary else None
        self.classifier = nn.Linear(inputs[1], classes)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        """Logits `[batch, classes]`, and those of the auxiliary head in training if there is one."""
        s0 = s1 = self.stem(images)
        auxiliary = None
        for position, cell in enumerate(self.cells):
            s0, s1 = s1, cell(s0, s1, self.drop_path)
            if self.training and self.auxiliary is not None and position == self.auxiliary_after:
                auxiliary = self.auxiliary(s1)
        pooled = F.adaptive_avg_pool2d(s1, 1).flatten(1)
        return self.classifier(pooled), auxiliary


def count_parameters(
    genotypes: Tensor, space: SearchSpace, image_channels: int, classes: int, channels: int, cells: int
) -> Tensor:
    """Trainable parameters of the networks of many genotypes, auxiliary head not counted.

    Args:
        genotypes: in the form of `genotype.to_tensor`.
        space, image_channels, classes, channels, cells: as for `Network`.

    Returns:
        int64 `[batch]`, equal to counting on the built networks.
    """
    fixed, table = _parameter_table(space, image_channels, classes, channels, cells)
    operation, predecessor = genotypes.unbind(-1)  # [batch, cell, node, slot]
    from_input = (predecessor < space.inputs).long()
    cell = torch.arange(len(CELLS))[:, None, None]
    return fixed + table[cell, from_input, operation].sum(dim=(1, 2, 3))


@lru_cache(maxsize=256)
def _parameter_table(
    space: SearchSpace, image_channels: int, classes: int, channels: int, cells: int
) -> tuple[int, Tensor]:
    """What is the same for every genotype, and `[cell, from input, operation]` summed over the cells."""
    reductions = reduction_cells(cells)
    empty = Genotype((), space.concat, (), space.concat)
    with torch.device("meta"):
        fixed = _size(Network(empty, space, image_channels, classes, channels, cells))
    table = torch.zeros(len(CELLS), 2, len(space.operations), dtype=torch.int64)
    for position in range(cells):
        reduction = position in reductions
        channels *= 2 if reduction else 1
        for from_input in (0, 1):
            sizes = _operation_sizes(space, channels, 2 if reduction and from_input else 1)
            table[int(reduction), from_input] += torch.tensor(sizes)
    return fixed, table


@lru_cache(maxsize=256)
def _operation_sizes(space: SearchSpace, channels: int, stride: int) -> tuple[int, ...]:
    with torch.device("meta"):
        return tuple(
            0 if name == "none" else _size(OPERATIONS[name](channels, stride, True))
            for name in space.operations
        )


def _size(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def count_macs(network: Network, image_channels: int, image_size: int) -> int:
    """Multiply-accumulate operations of one image through a network's convolutions and linear layer."""
    training = network.training
    counter = FlopCounterMode(display=False)
    device = next(network.parameters()).device
    with counter, torch.no_grad():
        network.eval()(torch.zeros(1, image_channels, image_size, image_size, device=device))
    network.train(training)
    return counter.get_total_flops() // 2
