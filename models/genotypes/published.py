"""Genotypes of the `darts` space as their papers and authors' code give them, with reported results.

Edges are written `operation@predecessor`, two for each intermediate node in turn. Accuracies are
percent: CIFAR-10 top-1 with cutout, ImageNet top-1 and top-5 in the mobile setting; where a paper
gives a mean over seeds, the mean.
"""

from dataclasses import dataclass

from models.genotypes.genotype import Genotype, from_dict
from models.genotypes.search_space import DARTS

_SHORT = {
    "max": "max_pool_3x3",
    "avg": "avg_pool_3x3",
    "skip": "skip_connect",
    "sep3": "sep_conv_3x3",
    "sep5": "sep_conv_5x5",
    "dil3": "dil_conv_3x3",
    "dil5": "dil_conv_5x5",
}


@dataclass(frozen=True)
class Reported:
    """A result that a paper reports: data set, top-1, top-5 (both percent), parameters in millions."""

    dataset: str
    test_accuracy: float
    test_top5: float | None
    parameters: float


@dataclass(frozen=True)
class Published:
    """A published genotype.

    Args:
        name: what the field calls it.
        paper: authors, title, venue.
        searched_on: the data set of its search.
        genotype: the cells.
        reported: results of the paper.
    """

    name: str
    paper: str
    searched_on: str
    genotype: Genotype
    reported: tuple[Reported, ...]


def _genotype(normal: str, reduce: str) -> Genotype:
    def edges(cell: str) -> list[tuple[str, int]]:
        pairs = (edge.split("@") for edge in cell.split())
        return [(_SHORT[name], int(node)) for name, node in pairs]

    return from_dict({"normal": edges(normal), "reduce": edges(reduce)}, DARTS)


def _cifar10(accuracy: float, parameters: float) -> Reported:
    return Reported("cifar10", accuracy, None, parameters)


def _imagenet(top1: float, top5: float, parameters: float) -> Reported:
    return Reported("imagenet", top1, top5, parameters)


PUBLISHED: tuple[Published, ...] = (
    Published(
        "DARTS-V1",
        "Liu, Simonyan, Yang: DARTS: Differentiable Architecture Search. ICLR 2019 (first order)",
        "cifar10",
        _genotype(
            "sep3@1 sep3@0 skip@0 sep3@1 skip@0 sep3@1 sep3@0 skip@2",
            "max@0 max@1 skip@2 max@0 max@0 skip@2 skip@2 avg@0",
        ),
        (_cifar10(97.00, 3.3),),
    ),
    Published(
        "DARTS-V2",
        "Liu, Simonyan, Yang: DARTS: Differentiable Architecture Search. ICLR 2019 (second order)",
        "cifar10",
        _genotype(
            "sep3@0 sep3@1 sep3@0 sep3@1 sep3@1 skip@0 skip@0 dil3@2",
            "max@0 max@1 skip@2 max@1 max@0 skip@2 skip@2 max@1",
        ),
        (_cifar10(97.24, 3.3), _imagenet(73.3, 91.3, 4.7)),
    ),
    Published(
        "SNAS-mild",
        "Xie, Zheng, Liu, Lin: SNAS: Stochastic Neural Architecture Search. ICLR 2019 (mild constraint)",
        "cifar10",
        _genotype(
            "sep3@0 sep3@1 skip@0 dil3@1 skip@0 skip@1 skip@0 sep3@1",
            "max@0 max@1 skip@2 max@1 max@1 skip@2 dil5@2 max@0",
        ),
        (_cifar10(97.02, 2.9), _imagenet(72.7, 90.8, 4.3)),
    ),
    Published(
        "GDAS",
        "Dong, Yang: Searching for a Robust Neural Architecture in Four GPU Hours. CVPR 2019",
        "cifar10",
        _genotype(
            "skip@0 skip@1 skip@0 sep5@2 sep3@3 skip@0 sep5@4 sep3@3",
            "sep5@0 sep3@1 sep5@2 sep5@1 dil5@2 sep3@1 sep5@0 sep5@1",
        ),
        (_cifar10(97.07, 3.4), _imagenet(74.0, 91.5, 5.3)),
    ),
    Published(
        "P-DARTS",
        "Chen, Xie, Wu, Tian: Progressive Differentiable Architecture Search: Bridging the Depth Gap "
        "between Search and Evaluation. ICCV 2019",
        "cifar10",
        _genotype(
            "skip@0 dil3@1 skip@0 sep3@1 sep3@1 sep3@3 sep3@0 dil5@4",
            "avg@0 sep5@1 sep3@0 dil5@2 max@0 dil3@1 dil3@1 dil5@3",
        ),
        (_cifar10(97.50, 3.4), _imagenet(75.6, 92.6, 4.9)),
    ),
    Published(
        "PC-DARTS-CIFAR",
        "Xu, Xie, Zhang, Chen, Qi, Tian, Xiong: PC-DARTS: Partial Channel Connections for "
        "Memory-Efficient Architecture Search. ICLR 2020 (searched on CIFAR-10)",
        "cifar10",
        _genotype(
            "sep3@1 skip@0 sep3@0 dil3@1 sep5@0 sep3@1 avg@0 dil3@1",
            "sep5@1 max@0 sep5@1 sep5@2 sep3@0 sep3@3 sep3@1 sep3@2",
        ),
        (_cifar10(97.43, 3.6), _imagenet(74.9, 92.2, 5.3)),
    ),
    Published(
        "PC-DARTS-ImageNet",
        "Xu, Xie, Zhang, Chen, Qi, Tian, Xiong: PC-DARTS: Partial Channel Connections for "
        "Memory-Efficient Architecture Search. ICLR 2020 (searched on ImageNet)",
        "imagenet",
        _genotype(
            "skip@1 sep3@0 sep3@0 skip@1 sep3@1 sep3@3 sep3@1 dil5@4",
            "sep3@0 skip@1 dil5@2 max@1 sep3@2 sep3@1 sep5@0 sep3@3",
        ),
        (_imagenet(75.8, 92.7, 5.3),),
    ),
    Published(
        "SDARTS-ADV",
        "Chen, Hsieh: Stabilizing Differentiable Architecture Search via Perturbation-based "
        "Regularization. ICML 2020 (adversarial)",
        "cifar10",
        _genotype(
            "sep3@0 sep3@1 sep3@1 skip@0 sep5@0 dil3@3 dil3@4 skip@0",
            "max@0 sep5@1 skip@2 max@0 skip@3 skip@2 skip@2 sep5@4",
        ),
        (_cifar10(97.39, 3.3),),
    ),
    Published(
        "CARS-H",
        "Yang, Wang, Chen, Shi, Xu, Xu, Tian, Xu: CARS: Continuous Evolution for Efficient Neural "
        "Architecture Search. CVPR 2020",
        "cifar10",
        _genotype(
            "sep5@0 sep3@1 sep3@0 dil5@2 avg@0 skip@1 sep5@2 max@0",
            "sep5@0 max@1 sep3@0 skip@1 dil3@2 max@0 sep5@0 avg@3",
        ),
        (_cifar10(97.34, 3.3),),
    ),
    Published(
        "CARS-I",
        "Yang, Wang, Chen, Shi, Xu, Xu, Tian, Xu: CARS: Continuous Evolution for Efficient Neural "
        "Architecture Search. CVPR 2020",
        "cifar10",
        _genotype(
            "sep3@0 sep3@1 skip@0 sep5@1 skip@2 sep3@3 sep3@0 dil5@4",
            "dil3@0 skip@1 max@0 max@2 skip@1 sep5@3 dil3@1 max@4",
        ),
        (_cifar10(97.38, 3.6), _imagenet(75.2, 92.5, 5.1)),
    ),
    Published(
        "DrNAS-CIFAR",
        "Chen, Wang, Cheng, Tang, Hsieh: DrNAS: Dirichlet Neural Architecture Search. ICLR 2021 "
        "(searched on CIFAR-10)",
        "cifar10",
        _genotype(
            "sep3@0 sep5@1 sep3@1 sep3@2 skip@0 sep3@1 sep3@2 dil5@3",
            "max@0 sep5@1 dil5@2 sep5@1 sep5@1 dil5@3 skip@4 sep5@1",
        ),
        (_cifar10(97.54, 4.1),),
    ),
    Published(
        "DrNAS-ImageNet",
        "Chen, Wang, Cheng, Tang, Hsieh: DrNAS: Dirichlet Neural Architecture Search. ICLR 2021 "
        "(searched on ImageNet)",
        "imagenet",
        _genotype(
            "sep3@1 sep3@0 sep3@0 sep3@1 sep3@0 dil3@3 skip@0 sep3@1",
            "max@0 sep3@1 sep3@0 skip@2 sep3@0 sep3@2 sep3@3 sep3@1",
        ),
        (_imagenet(76.3, 92.9, 5.7),),
    ),
    Published(
        "CDARTS",
        "Yu, Peng, Huang, Fu, Du, Wang, Ling: Cyclic Differentiable Architecture Search. TPAMI 2022",
        "cifar10",
        _genotype(
            "sep3@0 sep3@1 sep3@1 sep3@2 sep3@0 sep3@1 skip@0 skip@2",
            "sep5@1 max@0 dil5@2 skip@0 sep3@0 sep5@1 sep3@0 dil5@2",
        ),
        (_cifar10(97.52, 3.9),),
    ),
)
"""Ordered by year."""
