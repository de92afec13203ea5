"""The networks of DARTS' genotypes, and the parts that networks of other search spaces share."""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.genotypes.genotype import Genotype
from models.genotypes.operations import OPERATIONS, FactorizedReduce, ReLUConvBN
from models.genotypes.search_space import SearchSpace

STEM_MULTIPLIER = 3
"""Channels of DARTS' small stem, as a multiple of those of the first cells."""

LARGE_IMAGE = 96
"""Pixels from which on images are large: `auto` then means the large stem."""

StemChoice = Literal["auto", "small", "large"]
"""The stem that a recipe asks for; `auto` goes by the size of the images."""


def has_large_stem(image_size: int, stem: StemChoice = "auto") -> bool:
    """Whether images of so many pixels a side go through the large stem."""
    return image_size >= LARGE_IMAGE if stem == "auto" else stem == "large"


def reduction_cells(cells: int) -> set[int]:
    """The positions of the reduction cells, at one and two thirds of the depth."""
    return {cells // 3, 2 * cells // 3} - {0}


def smallest_image(cells: int, large_stem: bool = False) -> int:
    """The smallest image size in pixels that leaves every reduction cell at least 2 x 2 pixels."""
    smallest = 1 << len(reduction_cells(cells))
    return smallest * LargeStem.REDUCTION if large_stem else smallest


def read_together(x: Tensor, readers: list[nn.Module]) -> list[Tensor]:
    """The output of every reader of `x`; pointwise convolutions read it as one.

    The outputs of cells are the largest tensors of a network, and most are read by two cells: so they
    pass through memory once, and so does their gradient.
    """
    pointwise = [reader for reader in readers if isinstance(reader, ReLUConvBN)]
    if len(pointwise) < 2:
        return [reader(x) for reader in readers]
    weights: list[Tensor] = [reader.get_parameter("1.weight") for reader in pointwise]
    parts = list(F.conv2d(F.relu(x), torch.cat(weights)).split([len(weight) for weight in weights], dim=1))
    return [
        reader[2](_whole(parts.pop(0))) if isinstance(reader, ReLUConvBN) else reader(x) for reader in readers
    ]


def _whole(part: Tensor) -> Tensor:
    """Lays some channels out as a tensor of their own; compiled code needs no copy."""
    if torch.compiler.is_compiling():
        return part
    return part.contiguous(memory_format=torch.channels_last)


class SmallStem(nn.Sequential):
    """The stem for small images: one convolution that keeps their size (Liu et al., 2019, appendix A.2.1)."""

    def __init__(self, image_channels: int, width: int) -> None:
        super().__init__(nn.Conv2d(image_channels, width, 3, padding=1, bias=False), nn.BatchNorm2d(width))
        self.width = width


class LargeStem(nn.Module):
    """The stem for large images: three convolutions of stride 2, so that 224 pixels become 28.

    The first cell reads the output of the second convolution too, which it halves itself, as the networks
    of DARTS and PC-DARTS for ImageNet do (Liu et al., 2019, appendix A.2.3; Xu et al., 2020, section 4.3).
    """

    REDUCTION = 8

    def __init__(self, image_channels: int, channels: int) -> None:
        super().__init__()
        self.width, half = channels, channels // 2
        self.first = nn.Sequential(
            nn.Conv2d(image_channels, half, 3, 2, 1, bias=False),
            nn.BatchNorm2d(half),
            nn.ReLU(),
            nn.Conv2d(half, channels, 3, 2, 1, bias=False),
            nn.BatchNorm2d(channels),
        )
        self.second = nn.Sequential(
            nn.ReLU(), nn.Conv2d(channels, channels, 3, 2, 1, bias=False), nn.BatchNorm2d(channels)
        )

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Both inputs of the first cell: at a quarter and at an eighth of the images' height and width."""
        before = self.first(images)
        return before, self.second(before)


class Cell(nn.Module):
    """One cell: operations summed into each node, and nodes joined to the output.

    Args:
        edges: (operation, predecessor) pairs, in the order of `SearchSpace.kept`.
        space: the search space.
        channels: of all its nodes.
        reduction: halves height and width, on the edges that leave its inputs.
        preprocess: a module for each input, called by who made that input, see `Network.forward`.
    """

    def __init__(
        self,
        edges: tuple[tuple[str, int], ...],
        space: SearchSpace,
        channels: int,
        reduction: bool = False,
        preprocess: tuple[nn.Module, ...] = (),
    ) -> None:
        super().__init__()
        self.channels, self.reduction = channels, reduction
        self.preprocess = nn.ModuleList(preprocess)
        self.inputs, self.join = space.inputs, space.join
        self.predecessors = [predecessor for _, predecessor in edges]
        self.operations = nn.ModuleList(
            OPERATIONS[name](channels, 2 if reduction and predecessor < space.inputs else 1, True)
            for name, predecessor in edges
        )
        # of each node the edges that carry something, or one that does not where there are none
        self.into = []
        for node in sorted(set(space.kept)):
            into = [edge for edge, target in enumerate(space.kept) if target == node]
            self.into.append([edge for edge in into if edges[edge][0] != "none"] or into[:1])

    def forward(self, inputs: list[Tensor], drop_path: float) -> Tensor:
        states = list(inputs)
        for into in self.into:
            out, *others = (self._edge(edge, states, drop_path) for edge in into)
            states.append(sum(others, start=out))
        return torch.cat(states[self.inputs :], dim=1) if self.join == "concatenate" else states[-1]

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
    """Stacked cells of a DARTS genotype between a convolutional stem and a linear classifier.

    Args:
        genotype: which cells: the first of its space for most positions, the second for reductions.
        image_channels: channels of the images.
        classes: outputs.
        channels: channels of the first cells; doubled by each reduction cell.
        cells: how many cells, two of them reduction cells (one below three cells).
        auxiliary: adds the auxiliary head.
        drop_path: probability of dropping an edge of a sample, in training.
        large_stem: brings images down to an eighth before the first cell, see `has_large_stem`.
    """

    def __init__(
        self,
        genotype: Genotype,
        image_channels: int,
        classes: int,
        channels: int,
        cells: int,
        auxiliary: bool = False,
        drop_path: float = 0.0,
        large_stem: bool = False,
    ) -> None:
        super().__init__()
        space = genotype.space
        self.drop_path, self.large_stem = drop_path, large_stem
        self.stem: SmallStem | LargeStem = (
            LargeStem(image_channels, channels)
            if large_stem
            else SmallStem(image_channels, STEM_MULTIPLIER * channels)
        )
        self.cells = nn.ModuleList()
        reductions, inputs = reduction_cells(cells), (self.stem.width, self.stem.width)
        for position in range(cells):
            reduction = position in reductions
            channels *= 2 if reduction else 1
            halved = position - 1 in reductions if position else large_stem
            before = FactorizedReduce if halved else ReLUConvBN
            preprocess = before(inputs[0], channels), ReLUConvBN(inputs[1], channels)
            self.cells.append(Cell(genotype.cells[reduction], space, channels, reduction, preprocess))
            inputs = (inputs[1], space.intermediates * channels)
            if position == 2 * cells // 3:
                auxiliary_channels = inputs[1]
        self.auxiliary_after = 2 * cells // 3
        self.auxiliary = AuxiliaryHead(auxiliary_channels, classes) if auxiliary else None
        self.classifier = nn.Linear(inputs[1], classes)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        """Logits `[batch, classes]`, and those of the auxiliary head in training if there is one."""
        auxiliary = None
        first = self.cells[0].get_submodule("preprocess.0")
        # preprocessed, of the cells to come
        if self.large_stem:
            before, out = self.stem(images)
            inputs = [first(before), *read_together(out, self._readers(-1))]
        else:
            inputs = read_together(self.stem(images), [first, *self._readers(-1)])
        for position, cell in enumerate(self.cells):
            out = cell(inputs[:2], self.drop_path)
            inputs = [*inputs[2:], *read_together(out, self._readers(position))]
            if self.training and self.auxiliary is not None and position == self.auxiliary_after:
                auxiliary = self.auxiliary(out)
        pooled = F.adaptive_avg_pool2d(out, 1).flatten(1)
        return self.classifier(pooled), auxiliary

    def _readers(self, position: int) -> list[nn.Module]:
        """The modules that preprocess a cell's output, or at -1 the stem's, for the two cells after it."""
        following = list(self.cells[position + 1 : position + 3])
        return [cell.get_submodule(f"preprocess.{1 - i}") for i, cell in enumerate(following)]

    @staticmethod
    def edges(channels: int, image_size: int, cells: int) -> list[tuple[int, bool, int, int, int]]:
        """The edges of its cells by what their operations cost.

        Args:
            channels, cells: of the network.
            image_size: behind the stem.

        Returns:
            A row for each position and each kind of edge: the cell's number in the search space, whether
            the edge leaves an input, its channels, the image size at its source, and its stride.
        """
        rows = []
        for position in range(cells):
            before, reduction = image_size, position in reduction_cells(cells)
            if reduction:
                channels, image_size = 2 * channels, (image_size + 1) // 2
            rows.append((int(reduction), False, channels, image_size, 1))
            rows.append((int(reduction), True, channels, before, 2 if reduction else 1))
        return rows
