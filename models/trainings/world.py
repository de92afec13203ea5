"""One network trained by several processes, each on its part of every batch."""

from dataclasses import dataclass

import torch

# private, as PyTorch 2.11 to 2.14 have no public collective that gradients go through without a warning
import torch.distributed._functional_collectives as collectives
from torch import Tensor, nn

from models.genotypes.operations import Zero


@dataclass(frozen=True)
class World:
    """The place of this process among those that train one network together."""

    rank: int = 0
    size: int = 1

    def wrap(self, net: nn.Module) -> nn.Module:
        """A network whose gradients, and whose batch normalisations, are those of the whole batch."""
        if self.size == 1:
            return net
        if next(net.parameters()).is_cuda:
            net = nn.SyncBatchNorm.convert_sync_batchnorm(net)
        else:
            _normalise_whole_batches(net, self)
        # a weight before an edge that is not there has no gradient, which would be waited for
        unused = any(isinstance(module, Zero) for module in net.modules())
        return nn.parallel.DistributedDataParallel(net, find_unused_parameters=unused)

    def part(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """This process's part of a batch; all have equally many, and the few images beyond are left out."""
        if self.size == 1:
            return images, labels
        rows = slice(self.rank, len(labels) // self.size * self.size, self.size)
        return images[rows], labels[rows]

    def sum(self, values: Tensor) -> Tensor:
        """The sum of all processes' values."""
        if self.size > 1:
            torch.distributed.all_reduce(values)
        return values


ALONE = World()
"""The world of a training in one process."""


class WholeBatchNorm(nn.BatchNorm2d):
    """Batch normalisation by the mean and variance of all processes' parts, which are equally large.

    PyTorch's `SyncBatchNorm`, which needs GPUs, for CPUs.

    Args:
        norm: has the parameters and statistics that this one takes over; affine.
        world: the processes.
    """

    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor
    momentum: float

    def __init__(self, norm: nn.BatchNorm2d, world: World) -> None:
        super().__init__(norm.num_features, norm.eps, norm.momentum)
        self.weight, self.bias = norm.weight, norm.bias
        for name, buffer in norm.named_buffers():
            setattr(self, name, buffer)
        self.world = world

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return super().forward(x)
        mean = self._mean(x)
        centred = x - mean[:, None, None]
        variance = self._mean(centred.square())
        count = self.world.size * x.numel() / x.shape[1]
        with torch.no_grad():
            self.num_batches_tracked += 1
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(variance * count / (count - 1), self.momentum)
        scale = self.weight * (variance + self.eps).rsqrt()
        return centred * scale[:, None, None] + self.bias[:, None, None]

    def _mean(self, x: Tensor) -> Tensor:
        """Mean of every channel over all processes, differentiable through all of them."""
        everyone = torch.distributed.group.WORLD
        assert everyone is not None
        total = collectives.all_reduce(x.mean((0, 2, 3)), "sum", everyone)
        return total / self.world.size


def _normalise_whole_batches(net: nn.Module, world: World) -> None:
    for module in list(net.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.BatchNorm2d):
                setattr(module, name, WholeBatchNorm(child, world))
