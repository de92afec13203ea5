"""The network that a genotype describes."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.genotype import Genotype
from models.operations import OPERATIONS, FactorizedReduce, ReLUConvBN
from models.search_space import SearchSpace

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
