"""Parameters and multiply-accumulates of many genotypes' networks, without building them."""

from dataclasses import dataclass
from functools import lru_cache
from threading import Lock
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from models.genotypes.genotype import Genotype
from models.genotypes.network import LargeStem, Network, StemChoice, has_large_stem
from models.genotypes.operations import OPERATIONS
from models.genotypes.residual import ResidualNetwork
from models.genotypes.search_space import SearchSpace

AnyNetwork = Network | ResidualNetwork
"""The network of a genotype of any search space."""

NETWORKS: dict[str, type[Network] | type[ResidualNetwork]] = {"darts": Network, "residual": ResidualNetwork}
"""The networks that a search space can name."""


_measuring = Lock()


@dataclass(frozen=True)
class NetworkShape:
    """The shape of a network: all that its size depends on beside its genotype.

    By default for CIFAR-10.
    """

    channels: int
    cells: int
    image_channels: int = 3
    image_size: int = 32
    classes: int = 10
    stem: StemChoice = "auto"

    @property
    def large_stem(self) -> bool:
        """Whether the network has the large stem."""
        return has_large_stem(self.image_size, self.stem)

    def network(self, genotype: Genotype, auxiliary: bool = False, drop_path: float = 0.0) -> AnyNetwork:
        """The network of this shape of a genotype, with fresh weights."""
        return NETWORKS[genotype.space.network](
            genotype,
            self.image_channels,
            self.classes,
            self.channels,
            self.cells,
            auxiliary,
            drop_path,
            self.large_stem,
        )


def standard_network(space: SearchSpace) -> NetworkShape:
    """The network of which the parameters and MACs of a search space's genotypes are told.

    It is the one at which the space's paper reports sizes on CIFAR-10.
    """
    return NetworkShape(space.channels, space.depth)


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
        operation, predecessor = genotypes.unbind(-1)  # [batch, cell, edge]
        from_input = (predecessor < space.inputs).long()
        cell = torch.arange(len(space.cells))[:, None]
        return self.fixed + self.edges[cell, from_input, operation].sum(dim=(1, 2))

    def bounds(self, space: SearchSpace) -> tuple[int, int]:
        """The least and the most that any genotype costs."""
        choices = self.edges[:, :, list(space.choices)]
        least, most = choices.amin(2), choices.amax(2)  # [cell, from input]
        low = high = self.fixed
        for node in space.choosing:
            kept, others = space.kept_into(node), node - space.inputs
            inputs = range(max(0, kept - others), min(space.inputs, kept) + 1)
            for cell in range(len(space.cells)):
                totals = [(k, kept - k) for k in inputs]  # so many from inputs, from others
                low += min(k * int(least[cell, 1]) + n * int(least[cell, 0]) for k, n in totals)
                high += max(k * int(most[cell, 1]) + n * int(most[cell, 0]) for k, n in totals)
        return low, high


def count_parameters(genotypes: Tensor, space: SearchSpace, shape: NetworkShape | None = None) -> Tensor:
    """Trainable parameters of the networks of many genotypes, auxiliary head not counted.

    Args:
        genotypes: in the form of `genotype.to_tensor`.
        space: their search space.
        shape: of the networks; by default of the space's standard network.

    Returns:
        int64 `[batch]`, equal to counting on the built networks.
    """
    return parameter_costs(space, shape or standard_network(space)).of(genotypes, space)


def count_macs(genotypes: Tensor, space: SearchSpace, shape: NetworkShape | None = None) -> Tensor:
    """Multiply-accumulate operations of one image through the networks of many genotypes.

    Args:
        genotypes: in the form of `genotype.to_tensor`.
        space: their search space.
        shape: of the networks; by default of the space's standard network.

    Returns:
        int64 `[batch]`, equal to `measure_macs` of the built networks.
    """
    return mac_costs(space, shape or standard_network(space)).of(genotypes, space)


@lru_cache(maxsize=256)
def parameter_costs(space: SearchSpace, shape: NetworkShape) -> Costs:
    """The costs of networks of a shape in trainable parameters."""
    edges = torch.zeros(len(space.cells), 2, len(space.operations), dtype=torch.int64)
    for cell, from_input, channels, _, stride in edges_of(space, shape):
        for index in space.choices:
            module = _operation(space.operations[index], channels, stride)
            edges[cell, int(from_input), index] += sum(p.numel() for p in module.parameters())
    return Costs(sum(p.numel() for p in _without_edges(space, shape).parameters()), edges)


def mac_costs(space: SearchSpace, shape: NetworkShape) -> Costs:
    """The costs of networks of a shape in multiply-accumulates of one image."""
    with _measuring:  # of many threads that ask at once one measures, which takes a second
        return _mac_costs(space, shape)


@lru_cache(maxsize=256)
def _mac_costs(space: SearchSpace, shape: NetworkShape) -> Costs:
    edges = torch.zeros(len(space.cells), 2, len(space.operations), dtype=torch.int64)
    for cell, from_input, channels, size, stride in edges_of(space, shape):
        for index in space.choices:
            macs = _operation_macs(space.operations[index], channels, stride, size)
            edges[cell, int(from_input), index] += macs
    fixed = measure_macs(_without_edges(space, shape), shape.image_channels, shape.image_size)
    return Costs(fixed, edges)


def measure_macs(network: nn.Module, image_channels: int, image_size: int) -> int:
    """Multiply-accumulate operations of one image through a network's convolutions and linear layer."""
    training = network.training
    device = next(network.parameters()).device
    macs = _macs(network.eval(), torch.zeros(1, image_channels, image_size, image_size, device=device))
    network.train(training)
    return macs


def edges_of(space: SearchSpace, shape: NetworkShape) -> list[tuple[int, bool, int, int, int]]:
    """The edges of a network's cells by what their operations cost, as `network.Network.edges` tells them."""
    size = -(-shape.image_size // LargeStem.REDUCTION) if shape.large_stem else shape.image_size
    return NETWORKS[space.network].edges(shape.channels, size, shape.cells)


def _without_edges(space: SearchSpace, shape: NetworkShape) -> AnyNetwork:
    """A network with nothing on its edges, so without their parameters and multiply-accumulates."""
    edges = tuple(("none", predecessor) for predecessor in _first_predecessors(space))
    with torch.device("meta"):
        return shape.network(Genotype(space, (edges,) * len(space.cells)))


def _first_predecessors(space: SearchSpace) -> list[int]:
    """Legal predecessors of all edges of a cell: the first ones of each node."""
    return [place for slot in space.slots for place in range(slot.stop - slot.start)]


@lru_cache(maxsize=4096)
def _operation_macs(name: str, channels: int, stride: int, size: int) -> int:
    module = _operation(name, channels, stride)
    return _macs(module, torch.zeros(1, channels, size, size, device="meta"))


@lru_cache(maxsize=4096)
def _operation(name: str, channels: int, stride: int) -> nn.Module:
    with torch.device("meta"):
        return OPERATIONS[name](channels, stride, True).eval()


def _macs(module: nn.Module, images: Tensor) -> int:
    with _Counter() as counter, torch.no_grad():
        module(images)
    return counter.flops // 2


class _Counter(TorchDispatchMode):
    """Counts operations by PyTorch's formulas, in its own thread alone.

    PyTorch's own `FlopCounterMode` hooks into the modules of all threads, and fails those that infer
    meanwhile (2.14.1).
    """

    def __init__(self) -> None:
        super().__init__()
        self.flops = 0

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        formula = flop_registry.get(func.overloadpacket)
        if formula is not None:
            self.flops += formula(*args, **kwargs, out_val=out)
        return out
