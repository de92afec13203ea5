"""The PC-DARTS supernets (Xu et al., 2020); `edges.py` has how all edges of a state are computed together."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from models.genotypes.genotype import ContinuousGenotype
from models.genotypes.network import STEM_MULTIPLIER, LargeStem, SmallStem, reduction_cells
from models.genotypes.operations import FactorizedReduce, ReLUConvBN
from models.genotypes.residual import ResidualBlock
from models.genotypes.search_space import SearchSpace
from models.searches.edges import MOMENTUM, EdgeNorm, StateEdges


class SearchCell(nn.Module):
    """One cell of the supernet: every legal edge, every operation on it.

    Args:
        space: the search space.
        channels: of this cell's states.
        reduction: halves height and width, on the edges that leave its inputs.
        partial: K of the paper.
        preprocess: a module for each input, or none at all.
    """

    def __init__(
        self,
        space: SearchSpace,
        channels: int,
        reduction: bool,
        partial: int,
        preprocess: tuple[nn.Module, ...] = (),
    ) -> None:
        super().__init__()
        self.preprocess = nn.ModuleList(preprocess)
        self.inputs, self.join, self.partial = space.inputs, space.join, partial
        # the rows of `space.edges` that leave each state, in the order of the nodes they enter
        self.leaving = [
            [row for row, (i, _) in enumerate(space.edges) if i == state]
            for state in range(space.candidates.stop)
        ]
        self.states = nn.ModuleList(
            StateEdges(space, len(rows), channels, 2 if reduction and i < space.inputs else 1, partial)
            for i, rows in enumerate(self.leaving)
        )

    def forward(self, inputs: list[Tensor], weights: Tensor, betas: Tensor) -> Tensor:
        """The output: intermediate states concatenated, or the last one.

        Args:
            inputs: outputs of the cells before.
            weights: `[edges, operations]`, the softmax of this cell's alphas.
            betas: `[edges]`, the softmax of its betas over the edges into each node.
        """
        weights = weights * betas[:, None]
        states = list(inputs)
        for i, preprocess in enumerate(self.preprocess):
            states[i] = preprocess(inputs[i])
        # sums for the nodes that are not complete yet, the next one first
        mixed_sums: Tensor | None = None
        rest_sums: list[Tensor | None] = [None] * (len(self.states) - self.inputs + 1)
        for i, (rows, edges) in enumerate(zip(self.leaving, self.states, strict=True)):
            mixed, rest = edges(states[i], weights[rows])
            mixed_sums = mixed if mixed_sums is None else mixed_sums + mixed
            into = range(len(rest_sums) - len(rows), len(rest_sums))
            for node, beta in zip(into, betas[rows].unbind(), strict=True):
                total = rest_sums[node]
                rest_sums[node] = beta * rest if total is None else torch.addcmul(total, rest, beta)
            if i >= self.inputs - 1:
                width = mixed.shape[1] // len(rows)
                complete, mixed_sums = mixed_sums.split([width, mixed_sums.shape[1] - width], dim=1)
                states.append(self._shuffle(complete, rest_sums[i - self.inputs + 1]))
        return torch.cat(states[self.inputs :], dim=1) if self.join == "concatenate" else states[-1]

    def _shuffle(self, mixed: Tensor, rest: Tensor | None) -> Tensor:
        """Joins both parts with the channel shuffle, `[K, width]` to `[width, K]`."""
        assert rest is not None
        return torch.stack([mixed, *rest.chunk(self.partial - 1, dim=1)], dim=2).flatten(1, 2)


class Supernet(nn.Module, ABC):
    """Stacked search cells between a convolutional stem and a linear classifier, with alphas and betas.

    Args:
        space: the search space.
        image_channels: channels of the images.
        classes: outputs.
        channels: channels of the first cells; doubled at one and two thirds of the depth.
        cells: how many cells.
        partial: K of the paper; divides `channels`.
        large_stem: brings images down to an eighth before the first cell.
        activation_checkpointing: keeps only what goes from cell to cell, and computes each cell again for
            its gradient (Chen et al., 2016): the same numbers, less memory, more time.
    """

    classifier: nn.Linear
    alphas: nn.Parameter
    betas: nn.Parameter

    def __init__(
        self,
        space: SearchSpace,
        image_channels: int,
        classes: int,
        channels: int,
        cells: int,
        partial: int,
        large_stem: bool = False,
        activation_checkpointing: bool = False,
    ) -> None:
        super().__init__()
        self.space, self.large_stem = space, large_stem
        self.activation_checkpointing = activation_checkpointing
        self.reductions = reduction_cells(cells)
        width = self._stack(image_channels, channels, cells, partial)
        self.classifier = nn.Linear(width, classes)
        shape = (len(space.cells), len(space.edges))
        self.alphas = nn.Parameter(1e-3 * torch.randn(*shape, len(space.operations)))
        self.betas = nn.Parameter(1e-3 * torch.randn(shape))

    @abstractmethod
    def _stack(self, image_channels: int, channels: int, cells: int, partial: int) -> int:
        """Makes the stem and the cells; the channels that reach the classifier."""

    @abstractmethod
    def _features(self, images: Tensor, weights: Tensor, betas: Tensor) -> Tensor:
        """The output of the last cell, `[batch, channels, height, width]`."""

    def forward(self, images: Tensor) -> Tensor:
        """Logits `[batch, classes]`."""
        features = self._features(images, self.operation_weights(), self.edge_weights())
        return self.classifier(F.adaptive_avg_pool2d(features, 1).flatten(1))

    def _cell(self, cell: nn.Module, inputs: list[Tensor], weights: Tensor, betas: Tensor) -> Tensor:
        """The output of a cell."""

        def contexts() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
            return nullcontext(), _settled(cell)

        if not (self.activation_checkpointing and torch.is_grad_enabled()):
            out: Tensor = cell(inputs, weights, betas)
            return out
        out = checkpoint(
            cell,
            inputs,
            weights,
            betas,
            use_reentrant=False,
            preserve_rng_state=False,  # nothing in a cell is random
            context_fn=contexts,
        )
        return out

    def operation_weights(self) -> Tensor:
        """Softmax of alphas, `[cell, edges, operations]`."""
        return F.softmax(self.alphas, dim=-1)

    def edge_weights(self) -> Tensor:
        """Softmax of betas over the edges into each node, `[cell, edges]` (PC-DARTS, eq. 3)."""
        into = self.betas.split(list(self.space.choosing), dim=1)  # a node has an edge from each before it
        return torch.cat([F.softmax(part, dim=1) for part in into], dim=1)

    def architecture(self) -> list[nn.Parameter]:
        """The parameters that the architecture step trains: alphas and betas."""
        return [self.alphas, self.betas]

    def weights(self) -> list[nn.Parameter]:
        """The parameters that the weight step trains: all but alphas and betas."""
        return [p for name, p in self.named_parameters() if name not in ("alphas", "betas")]

    @torch.no_grad()
    def continuous(self) -> ContinuousGenotype:
        """The genotype as the search left it."""
        cells = self.operation_weights().tolist()
        operations = tuple(tuple(map(tuple, rows)) for rows in cells)
        return ContinuousGenotype(self.space, operations, tuple(map(tuple, self.edge_weights().tolist())))


@contextmanager
def _settled(module: nn.Module) -> Iterator[None]:
    """Within it the module's normalisations keep their statistics: what is computed again counts once."""
    norms = [part for part in module.modules() if isinstance(part, EdgeNorm | nn.BatchNorm2d)]
    counts = [(norm, norm.num_batches_tracked) for norm in norms if isinstance(norm, nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = 0.0
    for norm, _ in counts:
        norm.num_batches_tracked = None
    try:
        yield
    finally:
        for norm in norms:
            norm.momentum = MOMENTUM
        for norm, count in counts:
            norm.num_batches_tracked = count


class DartsSupernet(Supernet):
    """The supernet of `network.Network`: cells of two inputs, some of them reduction cells."""

    def _stack(self, image_channels: int, channels: int, cells: int, partial: int) -> int:
        self.stem: SmallStem | LargeStem = (
            LargeStem(image_channels, channels)
            if self.large_stem
            else SmallStem(image_channels, STEM_MULTIPLIER * channels)
        )
        inputs = (self.stem.width, self.stem.width)
        self.cells = nn.ModuleList()
        for position in range(cells):
            reduction = position in self.reductions
            channels *= 2 if reduction else 1
            halved = position - 1 in self.reductions if position else self.large_stem
            before = FactorizedReduce if halved else ReLUConvBN
            preprocess = before(inputs[0], channels, False), ReLUConvBN(inputs[1], channels, False)
            self.cells.append(SearchCell(self.space, channels, reduction, partial, preprocess))
            inputs = (inputs[1], self.space.intermediates * channels)
        return inputs[1]

    def _features(self, images: Tensor, weights: Tensor, betas: Tensor) -> Tensor:
        stem = self.stem(images)
        s0, s1 = stem if self.large_stem else (stem, stem)
        for position, cell in enumerate(self.cells):
            kind = int(position in self.reductions)
            s0, s1 = s1, self._cell(cell, [s0, s1], weights[kind], betas[kind])
        return s1


class ResidualSupernet(Supernet):
    """The supernet of `residual.ResidualNetwork`: cells of one input, between stages a residual block."""

    def _stack(self, image_channels: int, channels: int, cells: int, partial: int) -> int:
        self.stem = (LargeStem if self.large_stem else SmallStem)(image_channels, channels)
        self.cells, self.blocks = nn.ModuleList(), nn.ModuleDict()
        for position in range(cells):
            if position in self.reductions:
                self.blocks[str(position)] = ResidualBlock(channels, 2 * channels, False)
                channels *= 2
            self.cells.append(SearchCell(self.space, channels, False, partial))
        self.last = nn.Sequential(nn.BatchNorm2d(channels), nn.ReLU())
        return channels

    def _features(self, images: Tensor, weights: Tensor, betas: Tensor) -> Tensor:
        out = self.stem(images)
        if self.large_stem:
            _, out = out
        for position, cell in enumerate(self.cells):
            if str(position) in self.blocks:
                out = self.blocks[str(position)](out)
            out = self._cell(cell, [out], weights[0], betas[0])
        features: Tensor = self.last(out)
        return features


SUPERNETS: dict[str, type[Supernet]] = {"darts": DartsSupernet, "residual": ResidualSupernet}
"""The supernets by the network that a search space names."""
