"""Parameters and multiply-accumulates of many genotypes' networks, without building them."""

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from models.genotypes.genotype import Genotype
from models.genotypes.network import LargeStem, Network, StemChoice, has_large_stem, reduction_cells
from models.genotypes.operations import OPERATIONS
from models.genotypes.search_space import CELLS, SearchSpace


@dataclass(frozen=True)
class NetworkShape:
    """The shape of a network: all that its size depends on beside its genotype.

    By default the network at which the DARTS papers report parameters on CIFAR-10.
    """

    image_channels: int = 3
    image_size: int = 32
    classes: int = 10
    channels: int = 36
    cells: int = 20
    stem: StemChoice = "auto"

    @property
    def large_stem(self) -> bool:
        """Whether the network has the large stem."""
        return has_large_stem(self.image_size, self.stem)

    def network(
        self, genotype: Genotype, space: SearchSpace, auxiliary: bool = False, drop_path: float = 0.0
    ) -> Network:
        """The network of this shape of a genotype, with fresh weights."""
        return Network(
            genotype,
            space,
            self.image_channels,
            self.classes,
            self.channels,
            self.cells,
            auxiliary,
            drop_path,
            self.large_stem,
        )


STANDARD_NETWORK = NetworkShape()
"""The network of which the parameters and MACs of a genotype are told."""


@dataclass(frozen=True)
class Costs:
    """The costs of a network: a fixed part, and a part for each edge.

    Args:
        fixed: stem, preprocessing and classifier.
        edges: int64 `[cell, from input, operation]`, summed over the network's cells.
    """

    fixed: int
    edges: Tensor

    def of(self, genotypes: Tensor, space: SearchSpace) -> Tensor:
        """int64 `[batch]`, for genotypes in the form of `genotype.to_tensor`."""
        operation, predecessor = genotypes.unbind(-1)  # [batch, cell, node, slot]
        from_input = (predecessor < space.inputs).long()
        cell = torch.arange(len(CELLS))[:, None, None]
        return self.fixed + self.edges[cell, from_input, operation].sum(dim=(1, 2, 3))

    def bounds(self, space: SearchSpace) -> tuple[int, int]:
        """The least and the most that any genotype costs."""
        choices = self.edges[:, :, list(space.choices)]
        least, most = choices.amin(2), choices.amax(2)  # [cell, from input]
        low = high = self.fixed
        for node in range(space.intermediates):
            inputs = range(max(0, space.predecessors - node), min(space.inputs, space.predecessors) + 1)
            for cell in range(len(CELLS)):
                totals = [(k, space.predecessors - k) for k in inputs]  # so many from inputs, from others
                low += min(k * int(least[cell, 1]) + n * int(least[cell, 0]) for k, n in totals)
                high += max(k * int(most[cell, 1]) + n * int(most[cell, 0]) for k, n in totals)
        return low, high


def count_parameters(genotypes: Tensor, space: SearchSpace, shape: NetworkShape = STANDARD_NETWORK) -> Tensor:
    """Trainable parameters of the networks of many genotypes, auxiliary head not counted.

    Args:
        genotypes: in the form of `genotype.to_tensor`.
        space: their search space.
        shape: of the networks.

    Returns:
        int64 `[batch]`, equal to counting on the built networks.
    """
    return parameter_costs(space, shape).of(genotypes, space)


def count_macs(genotypes: Tensor, space: SearchSpace, shape: NetworkShape = STANDARD_NETWORK) -> Tensor:
    """Multiply-accumulate operations of one image through the networks of many genotypes.

    Args:
        genotypes: in the form of `genotype.to_tensor`.
        space: their search space.
        shape: of the networks.

    Returns:
        int64 `[batch]`, equal to `measure_macs` of the built networks.
    """
    return mac_costs(space, shape).of(genotypes, space)


@lru_cache(maxsize=256)
def parameter_costs(space: SearchSpace, shape: NetworkShape) -> Costs:
    """The costs of networks of a shape in trainable parameters."""
    edges = torch.zeros(len(CELLS), 2, len(space.operations), dtype=torch.int64)
    for reduction, from_input, channels, _ in _edges(shape):
        for index in space.choices:
            module = _operation(space.operations[index], channels, 2 if reduction and from_input else 1)
            edges[reduction, from_input, index] += sum(p.numel() for p in module.parameters())
    return Costs(sum(p.numel() for p in _without_edges(space, shape).parameters()), edges)


@lru_cache(maxsize=256)
def mac_costs(space: SearchSpace, shape: NetworkShape) -> Costs:
    """The costs of networks of a shape in multiply-accumulates of one image."""
    edges = torch.zeros(len(CELLS), 2, len(space.operations), dtype=torch.int64)
    for reduction, from_input, channels, size in _edges(shape):
        for index in space.choices:
            stride = 2 if reduction and from_input else 1
            edges[reduction, from_input, index] += _operation_macs(
                space.operations[index], channels, stride, size
            )
    fixed = measure_macs(_without_edges(space, shape), shape.image_channels, shape.image_size)
    return Costs(fixed, edges)


def measure_macs(network: nn.Module, image_channels: int, image_size: int) -> int:
    """Multiply-accumulate operations of one image through a network's convolutions and linear layer."""
    training = network.training
    device = next(network.parameters()).device
    macs = _macs(network.eval(), torch.zeros(1, image_channels, image_size, image_size, device=device))
    network.train(training)
    return macs


def _edges(shape: NetworkShape) -> list[tuple[int, int, int, int]]:
    """Of every cell, for edges from an intermediate node and from an input: (reduction, from input,
    channels, image size at the edge's source)."""
    channels, size, rows = shape.channels, shape.image_size, []
    if shape.large_stem:
        size = -(-size // LargeStem.REDUCTION)
    for position in range(shape.cells):
        before, reduction = size, position in reduction_cells(shape.cells)
        if reduction:
            channels, size = 2 * channels, (size + 1) // 2
        rows += [(int(reduction), 0, channels, size), (int(reduction), 1, channels, before)]
    return rows


def _without_edges(space: SearchSpace, shape: NetworkShape) -> Network:
    """A network whose edges are pooling alone, which has no parameters and no multiply-accumulates."""
    edges = tuple(
        ("max_pool_3x3", node) for _ in range(space.intermediates) for node in range(space.predecessors)
    )
    genotype = Genotype(edges, space.concat, edges, space.concat)
    with torch.device("meta"):
        return shape.network(genotype, space)


@lru_cache(maxsize=4096)
def _operation_macs(name: str, channels: int, stride: int, size: int) -> int:
    module = _operation(name, channels, stride)
    return _macs(module, torch.zeros(1, channels, size, size, device="meta"))


@lru_cache(maxsize=4096)
def _operation(name: str, channels: int, stride: int) -> nn.Module:
    with torch.device("meta"):
        return OPERATIONS[name](channels, stride, True).eval()


def _macs(module: nn.Module, images: Tensor) -> int:
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        module(images)
    return counter.get_total_flops() // 2


def depth(genotypes: Tensor, space: SearchSpace) -> Tensor:
    """Operations on the longest path from an input to the output, the larger of both cells.

    Args:
        genotypes: in the form of `genotype.to_tensor`.
        space: their search space.

    Returns:
        int64 `[batch]`.
    """
    predecessors = genotypes[..., 1]  # [batch, cell, node, slot]
    reached = torch.zeros(*predecessors.shape[:2], space.inputs + space.intermediates, dtype=torch.int64)
    for node in range(space.intermediates):
        before = reached.gather(2, predecessors[:, :, node])
        reached[:, :, space.inputs + node] = before.amax(2) + 1
    return reached.amax((1, 2))
