"""Scores of networks that nobody has trained, for many architectures at once.

All architectures have the same random weights wherever they have the same operation in the same place, so
that they differ by their form alone. They pass through one network side by side, as parts of its batch: an
operation is applied at once to all that have it there.
"""

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from models.genotypes.genotype import from_tensor, random_tensor
from models.genotypes.network import Cell
from models.genotypes.operations import OPERATIONS
from models.genotypes.search_space import SearchSpace
from models.genotypes.size import NetworkShape

SIDE = 8
"""Pixels a side to which larger images are brought down."""

CHANNELS, CELLS = 8, 5
"""Of the network in which architectures are compared."""

ELEMENTS = 1 << 22
"""Numbers in a node's output, of all architectures that pass side by side."""

EPSILON = 1e-5
"""Of batch normalisation."""

_seeding = threading.Lock()
"""Of the process's random numbers, from which weights are drawn."""


@dataclass(frozen=True)
class Scores:
    """What can be told of architectures without training, each float64 `[batch]`; the larger the better.

    Args:
        naswot: how differently images activate the network: the logarithm of the determinant of the kernel of
            their binary codes (Mellor et al., 2021, section 3).
        synflow: the logarithm of the flow through all weights (Tanaka et al., 2020, section 6).
    """

    naswot: Tensor
    synflow: Tensor


def scores(genotypes: Tensor, images: Tensor, space: SearchSpace) -> Scores:
    """The scores of genotypes on a batch of images.

    Args:
        genotypes: int64 `[batch, cell, edge, 2]`, in the form of `genotype.to_tensor`.
        images: float32 `[images, channels, size, size]`, normalised, two at least, where it is computed.
        space: the search space.
    """
    side = min(SIDE, images.shape[-1])
    small = F.interpolate(images, side, mode="area")
    network = _network(space, small.shape[1], side).to(images.device)
    together = max(1, ELEMENTS // (len(small) * CHANNELS * side**2))
    with torch.no_grad():
        naswot = [_naswot(network, part, small) for part in genotypes.split(together)]
    flows = [_synflow(network, part, small[:1]) for part in genotypes.split(together)]
    return Scores(torch.cat(naswot), torch.cat(flows))


def _network(space: SearchSpace, image_channels: int, image_size: int) -> "SideBySide":
    with _seeding:
        return _built(space, NetworkShape(CHANNELS, CELLS, image_channels, image_size))


@lru_cache(maxsize=8)
def _built(space: SearchSpace, shape: NetworkShape) -> "SideBySide":
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return SideBySide(space, shape)


def _naswot(network: "SideBySide", genotypes: Tensor, images: Tensor) -> Tensor:
    with Codes(network.passing, len(genotypes), len(images), images.device) as codes:
        network(genotypes, images)
    return torch.linalg.slogdet(codes.kernel.double())[1].cpu()


def _synflow(network: "SideBySide", genotypes: Tensor, image: Tensor) -> Tensor:
    with Flow(network.passing) as flow:
        logits = network(genotypes, torch.ones_like(image))
    return flow.through(logits, len(genotypes)).log().cpu()


class Passing(threading.local):
    """What passes through the network at a moment, in the thread that asks."""

    each: int
    """Images of every genotype."""
    rows: Tensor
    """int64, the genotypes of which the batch consists, each with its images."""
    groups: Mapping[tuple[int, bool], "Groups"]
    """By cell of the space and whether it is a reduction, then by edge: who has which operation."""


Group = tuple[str, Sequence[tuple[int, Tensor]], Tensor]
"""An operation by its key; the genotypes that have it by their predecessors; and all of these in turn."""

Groups = Sequence[Sequence[Group]]
"""Of every edge."""


class SideBySide(nn.Module):
    """A network with all operations of a search space on every edge, of which each genotype has one.

    Args:
        space: the search space.
        shape: of the network.
    """

    def __init__(self, space: SearchSpace, shape: NetworkShape) -> None:
        super().__init__()
        self.space, self.passing = space, Passing()
        any_one = random_tensor(1, space, torch.Generator().manual_seed(0))
        self.network = shape.network(from_tensor(any_one, space)[0])
        for position, cell in enumerate(self.network.cells):
            assert isinstance(cell, Cell)
            self.network.cells[position] = ManyCells(cell, space, self.passing)
        for module in list(self.network.modules()):
            for name, child in list(module.named_children()):
                if isinstance(child, nn.BatchNorm2d):
                    setattr(module, name, NormEach(self.passing))
        self.eval()

    def forward(self, genotypes: Tensor, images: Tensor) -> Tensor:
        """The logits of every genotype, each with all images, `[genotypes * images, classes]`."""
        count, each = len(genotypes), len(images)
        self.passing.each = each
        self.passing.rows = torch.arange(count, device=images.device)
        kinds = {(cell.which, cell.reduction) for cell in self.network.cells if isinstance(cell, ManyCells)}
        self.passing.groups = {kind: self._groups(genotypes, *kind, images.device) for kind in kinds}
        logits, _ = self.network(images.repeat(count, 1, 1, 1))
        return torch.as_tensor(logits)

    def _groups(self, genotypes: Tensor, which: int, reduction: bool, device: torch.device) -> Groups:
        groups = []
        for edge in genotypes[:, which].transpose(0, 1).tolist():
            found: dict[str, dict[int, list[int]]] = {}
            for number, (operation, predecessor) in enumerate(edge):
                if self.space.operations[operation] != "none":
                    key = _key(self.space, operation, reduction and predecessor < self.space.inputs)
                    found.setdefault(key, {}).setdefault(predecessor, []).append(number)
            groups.append([_group(key, readers, device) for key, readers in sorted(found.items())])
        return groups


class ManyCells(nn.Module):
    """One cell for many genotypes.

    Args:
        cell: of the network, whose place it takes.
        space: the search space.
        passing: what passes.
    """

    def __init__(self, cell: Cell, space: SearchSpace, passing: Passing) -> None:
        super().__init__()
        self.preprocess, self.space, self.passing = cell.preprocess, space, passing
        self.reduction, self.stride = cell.reduction, 2 if cell.reduction else 1
        self.which = min(int(cell.reduction), len(space.cells) - 1)
        strides = {False, cell.reduction}
        self.operations = nn.ModuleList(
            nn.ModuleDict(
                {
                    _key(space, operation, halves): _operation(space, operation, halves, cell.channels)
                    for operation in space.choices
                    for halves in strides
                }
            )
            for _ in space.kept
        )

    def forward(self, inputs: list[Tensor], drop_path: float) -> Tensor:
        passing, everyone = self.passing, self.passing.rows
        states = [x.unflatten(0, (-1, passing.each)) for x in inputs]  # [genotype, image, channel, y, x]
        groups = passing.groups[self.which, self.reduction]
        for slot in self.space.slots:
            out = torch.zeros_like(states[0][..., :: self.stride, :: self.stride])
            for edge in range(slot.start, slot.stop):
                for key, readers, rows in groups[edge]:
                    x = torch.cat([states[predecessor][numbers] for predecessor, numbers in readers])
                    passing.rows = rows
                    y = self.operations[edge][key](x.flatten(0, 1))  # type: ignore[index]
                    out.index_add_(0, rows, y.unflatten(0, (-1, passing.each)))
            states.append(out)
        passing.rows = everyone
        joined = torch.cat(states[self.space.inputs :], dim=2) if self.space.concat else states[-1]
        return joined.flatten(0, 1)


class NormEach(nn.Module):
    """Batch normalisation of each genotype by its own images; one image passes as it is.

    Args:
        passing: what passes.
    """

    def __init__(self, passing: Passing) -> None:
        super().__init__()
        self.passing = passing

    def forward(self, x: Tensor) -> Tensor:
        if self.passing.each == 1:
            return x
        each = x.unflatten(0, (-1, self.passing.each))
        # sums over rows of memory first: several times as fast as var_mean over the three (PyTorch 2.14.1)
        mean, square = (part.mean((3, 4), True).mean(1, True) for part in (each, each.square()))
        return ((each - mean) * (square - mean.square() + EPSILON).rsqrt()).flatten(0, 1)


class Codes(TorchFunctionMode):
    """Adds up how many units images have in the same state, on or off, over all ReLUs.

    Args:
        passing: what passes.
        count, each: genotypes, and images of each.
        device: where it is computed.
    """

    def __init__(self, passing: Passing, count: int, each: int, device: torch.device) -> None:
        super().__init__()
        self.passing, self.kernel = passing, torch.zeros(count, each, each, device=device)

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        if func is F.relu:
            signs = (out > 0).float().mul_(2).sub_(1).unflatten(0, (-1, self.passing.each)).flatten(2)
            same = (torch.bmm(signs, signs.transpose(1, 2)) + signs.shape[-1]) / 2
            self.kernel.index_add_(0, self.passing.rows, same)
        return out


class Flow(TorchFunctionMode):
    """Makes a network linear, with the magnitudes of its weights, in float64, and adds up what they carry.

    The flow through a layer's weights is the sum of weight times gradient; as the layer is linear in its
    weights, that is the sum of output times the output's gradient, which is known for each genotype.

    Args:
        passing: what passes.
    """

    def __init__(self, passing: Passing) -> None:
        super().__init__()
        self.passing = passing
        self.outputs: list[Tensor] = []
        self.rows: list[Tensor] = []

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        if func not in (F.conv2d, F.linear):
            return func(*args, **(kwargs or {}))
        x, weight, *rest = args
        out = func(x.double(), weight.detach().abs().double(), None, *rest[1:], **(kwargs or {}))
        out.requires_grad_()
        self.outputs.append(out)
        self.rows.append(self.passing.rows)
        return out

    def through(self, logits: Tensor, count: int) -> Tensor:
        """The flow of each genotype, `[count]`."""
        total = torch.zeros(count, dtype=torch.float64, device=logits.device)
        gradients = torch.autograd.grad(logits.sum(), self.outputs, allow_unused=True)
        for out, gradient, rows in zip(self.outputs, gradients, self.rows, strict=True):
            if gradient is not None:
                total.index_add_(0, rows, (out * gradient).detach().flatten(1).sum(1))
        return total


def _key(space: SearchSpace, operation: int, halves: bool) -> str:
    return f"{space.operations[operation]}{' halving' if halves else ''}"


def _operation(space: SearchSpace, operation: int, halves: bool, channels: int) -> nn.Module:
    return OPERATIONS[space.operations[operation]](channels, 2 if halves else 1, False)


def _group(key: str, readers: Mapping[int, list[int]], device: torch.device) -> Group:
    numbers = [(p, torch.tensor(rows, device=device)) for p, rows in sorted(readers.items())]
    return key, numbers, torch.cat([rows for _, rows in numbers])
