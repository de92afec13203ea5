"""The network of NAS-Bench-201's genotypes (Dong, Yang, 2020, section 2.1 and figure 1)."""

import torch.nn.functional as F
from torch import Tensor, nn

from models.genotypes.genotype import Genotype
from models.genotypes.network import AuxiliaryHead, Cell, LargeStem, SmallStem, reduction_cells
from models.genotypes.operations import ReLUConvBN


class ResidualBlock(nn.Module):
    """A residual block of two convolutions that halves height and width.

    On odd sizes both ways round up, as the convolutions do.
    """

    def __init__(self, inputs: int, outputs: int, affine: bool = True) -> None:
        super().__init__()
        self.first = ReLUConvBN(inputs, outputs, affine, 3, 2)
        self.second = ReLUConvBN(outputs, outputs, affine, 3)
        self.shortcut = nn.Sequential(
            nn.AvgPool2d(2, 2, ceil_mode=True, count_include_pad=False),
            nn.Conv2d(inputs, outputs, 1, bias=False),
        )

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.shortcut(x) + self.second(self.first(x))
        return out


class ResidualNetwork(nn.Module):
    """Three stages of one cell each, with a residual block of stride 2 before the second and the third.

    Args:
        genotype: which cell.
        image_channels: channels of the images.
        classes: outputs.
        channels: channels of the first cells; doubled by each residual block.
        cells: how many cells, in three stages (two below three cells).
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
        self.drop_path, self.large_stem = drop_path, large_stem
        self.stem = (LargeStem if large_stem else SmallStem)(image_channels, channels)
        self.cells, self.blocks = nn.ModuleList(), nn.ModuleDict()
        for position in range(cells):
            if position in reduction_cells(cells):
                self.blocks[str(position)] = ResidualBlock(channels, 2 * channels)
                channels *= 2
            self.cells.append(Cell(genotype.cells[0], genotype.space, channels))
        self.last = nn.Sequential(nn.BatchNorm2d(channels), nn.ReLU())
        self.auxiliary_after = 2 * cells // 3
        self.auxiliary = AuxiliaryHead(channels, classes) if auxiliary else None
        self.classifier = nn.Linear(channels, classes)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        """Logits `[batch, classes]`, and those of the auxiliary head in training if there is one."""
        auxiliary = None
        out = self.stem(images)
        if self.large_stem:
            _, out = out
        for position, cell in enumerate(self.cells):
            if str(position) in self.blocks:
                out = self.blocks[str(position)](out)
            out = cell([out], self.drop_path)
            if self.training and self.auxiliary is not None and position == self.auxiliary_after:
                auxiliary = self.auxiliary(out)
        pooled = F.adaptive_avg_pool2d(self.last(out), 1).flatten(1)
        return self.classifier(pooled), auxiliary

    @staticmethod
    def edges(channels: int, image_size: int, cells: int) -> list[tuple[int, bool, int, int, int]]:
        """The edges of its cells by what their operations cost, as `network.Network.edges` tells them."""
        rows = []
        for position in range(cells):
            if position in reduction_cells(cells):
                channels, image_size = 2 * channels, (image_size + 1) // 2
            rows += [(0, from_input, channels, image_size, 1) for from_input in (False, True)]
        return rows
