"""The published cells at ImageNet shape, beside the sizes that their papers report.

The mobile setting: 224 x 224 pixels, 1000 classes, 14 cells, 48 channels, the large stem. Parameters and
multiply-accumulates (both in millions, auxiliary head not counted) are those of Liu, Simonyan, Yang
(2019), table 3, Chen et al. (2019), table 2, and Xu et al. (2020), table 2.

`macs_m` counts as the tools of P-DARTS and PC-DARTS do: beside convolutions and the classifier two for
every element of a batch normalisation and one for every element of a ReLU. `convolution_macs_m` is what
the service tells, without these. DARTS' figure of 574 cannot be had from DARTS' own network, of which
others counted 523 by convolutions alone and 545 by such a tool (quark0/darts#46).
"""

import json

import torch
from torch import Tensor, nn

from models.genotypes.network import Network
from models.genotypes.operations import FactorizedReduce
from models.genotypes.published import PUBLISHED
from models.genotypes.size import NetworkShape, measure_macs

SHAPE = NetworkShape(image_size=224, classes=1000, channels=48, cells=14)

REPORTED = {
    "PC-DARTS-CIFAR": (5.3, 586),
    "PC-DARTS-ImageNet": (5.3, 597),
    "DARTS-V2": (4.7, 574),
    "P-DARTS": (4.9, 557),
}
"""By name: parameters and multiply-accumulates."""


def elements(net: Network) -> tuple[int, int]:
    """The elements that the batch normalisations and the ReLUs of a network give out for one image."""
    normalised = activated = 0

    def count(module: nn.Module, inputs: tuple[Tensor, ...], out: Tensor) -> None:
        nonlocal normalised, activated
        if isinstance(module, nn.BatchNorm2d):
            normalised += out.numel()
        else:  # a `FactorizedReduce` starts with a ReLU that is no module
            activated += inputs[0].numel()

    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d | nn.ReLU | FactorizedReduce):
            module.register_forward_hook(count)
    s0, s1 = net.stem(torch.zeros(1, 3, SHAPE.image_size, SHAPE.image_size, device="meta"))
    for cell in net.cells:  # one by one: together, pointwise convolutions leave their ReLUs out
        s0, s1 = s1, cell(cell.preprocess[0](s0), cell.preprocess[1](s1), 0.0)
    return normalised, activated


def sizes(name: str) -> dict[str, float]:
    """The sizes of a published genotype's built network, and the reported ones."""
    genotype = next(published.genotype for published in PUBLISHED if published.name == name)
    with torch.device("meta"):
        net = SHAPE.network(genotype)
    macs = measure_macs(net, SHAPE.image_channels, SHAPE.image_size)
    normalised, activated = elements(net.eval())
    published_params, published_macs = REPORTED[name]
    return {
        "params_m": round(sum(p.numel() for p in net.parameters()) / 1e6, 3),
        "macs_m": round((macs + 2 * normalised + activated) / 1e6, 1),
        "convolution_macs_m": round(macs / 1e6, 1),
        "published_params_m": published_params,
        "published_macs_m": published_macs,
    }


def main() -> None:
    """Prints the sizes of all of them, and the worst relative difference with the network that has it."""
    networks = {name: sizes(name) for name in REPORTED}
    differences = {
        name: max(
            abs(row[quantity] / row[f"published_{quantity}"] - 1) for quantity in ("params_m", "macs_m")
        )
        for name, row in networks.items()
    }
    worst = max(differences, key=lambda name: differences[name])
    print(
        json.dumps(
            {
                **networks,
                "relative_differences": {name: round(value, 4) for name, value in differences.items()},
                "worst_network": worst,
                "worst_relative_difference": round(differences[worst], 4),
            }
        )
    )


if __name__ == "__main__":
    main()
