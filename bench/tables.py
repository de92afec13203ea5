"""Public tables of trained architectures, which benchmarks read from `benchmarks` below the data root.

NAS-Bench-201's is of NATS-Bench (Dong et al., 2021), with NinaPro and Darcy of NAS-Bench-360 (Tu et al.,
2022); TransNAS-Bench-101's of Duan et al. (2021). Of the DARTS space there are genotypes with what
NAS-Bench-301's surrogate (Zela et al., 2022) predicts of them, where nothing was trained, and 199 trained
ones of NAS-Bench-Suite-Zero (Krishnakumar et al., 2022).
"""

import csv
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata
from torch import Tensor

from models.genotypes.genotype import Genotype, from_dict, to_tensor
from models.genotypes.search_space import DARTS, SearchSpace
from models.genotypes.text import from_text

Figures = NDArray[np.float64]

NASLIB_EDGES = (
    "max_pool_3x3",
    "avg_pool_3x3",
    "skip_connect",
    "sep_conv_3x3",
    "sep_conv_5x5",
    "dil_conv_3x3",
    "dil_conv_5x5",
)
"""The operations of the DARTS tables by their digit, which stands after that of the predecessor."""

COLUMNS = {
    "nas-bench-201": {
        "cifar10": "cifar10_test",
        "cifar100": "cifar100_test",
        "imagenet16-120": "imagenet16_test",
        "ninapro": "ninapro_test",
        "darcy": "darcy",
    },
    "transnas-bench-101-micro": {
        name: name
        for name in (
            "class_scene",
            "class_object",
            "jigsaw",
            "room_layout",
            "segmentsemantic",
            "autoencoder",
            "normal",
        )
    },
    "darts-199": {"svhn": "svhn", "scifar100": "scifar100", "ninapro": "ninapro"},
}
"""The columns of a table by the name of their data set or task."""


@dataclass(frozen=True)
class Table:
    """Architectures with what is known of them on several data sets.

    Args:
        space: their search space.
        genotypes: in the form of `genotype.to_tensor`.
        percentiles: by data set, `[genotypes]`, 0 for the worst and 100 for the best.
        accuracies: by data set, `[genotypes]`, in the table's unit.
    """

    space: SearchSpace
    genotypes: Tensor
    percentiles: Mapping[str, Figures]
    accuracies: Mapping[str, Figures]


def read(folder: Path, name: str, space: SearchSpace, parse: Callable[[dict[str, str]], Genotype]) -> Table:
    """A table of the folder."""
    with (folder / f"{name}.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    columns = COLUMNS[name.removesuffix("-trained")]
    accuracies = {key: np.array([float(row[column]) for row in rows]) for key, column in columns.items()}
    percentiles = {key: (rankdata(values) - 1) / (len(rows) - 1) * 100 for key, values in accuracies.items()}
    return Table(space, to_tensor([parse(row) for row in rows], space), percentiles, accuracies)


def darts(row: dict[str, str]) -> Genotype:
    """A genotype of the DARTS tables."""
    cells = {
        cell: [[NASLIB_EDGES[int(edge[1])], int(edge[0])] for edge in row[cell].split()]
        for cell in ("normal", "reduce")
    }
    return from_dict(cells, DARTS)


def columns(folder: Path, name: str) -> dict[str, Figures]:
    """The columns of numbers of a table, by their names."""
    with (folder / f"{name}.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    return {key: np.array([float(row[key]) for row in rows]) for key in rows[0] if key != "arch"}


def whole(folder: Path, space: SearchSpace) -> Table:
    """The table that holds all of a search space."""
    return read(folder, space.name, space, lambda row: from_text(row["arch"], space))


def surrogate(folder: Path) -> tuple[Tensor, Figures]:
    """The genotypes of the NAS-Bench-301 sample, and their accuracies on CIFAR-10 by its surrogate."""
    with (folder / "nas-bench-301-sample.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    accuracies = np.array([float(row["cifar10_val_surrogate"]) for row in rows])
    return to_tensor([darts(row) for row in rows], DARTS), accuracies
