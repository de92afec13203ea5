"""Sizes as published, and counts as built."""

import time
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import Any

import pytest
import torch
from torch import nn

from models.genotypes import size
from models.genotypes.genotype import from_tensor, random_tensor, to_tensor
from models.genotypes.network import StemChoice
from models.genotypes.published import PUBLISHED, Published
from models.genotypes.search_space import DARTS, NAS_BENCH_201, SEARCH_SPACES, SearchSpace
from models.genotypes.size import (
    NetworkShape,
    count_macs,
    count_parameters,
    mac_costs,
    measure_macs,
    parameter_costs,
)
from models.genotypes.text import from_text

IMAGENET = NetworkShape(image_size=224, classes=1000, channels=48, cells=14)


@pytest.mark.parametrize(
    "published", [p for p in PUBLISHED if p.reported[-1].dataset == "imagenet"], ids=lambda p: p.name
)
def test_imagenet_sizes_are_near_the_published_ones(published: Published) -> None:
    count = count_parameters(to_tensor([published.genotype], DARTS), DARTS, IMAGENET)
    assert count.item() / 1e6 == pytest.approx(published.reported[-1].parameters, rel=0.1)


@pytest.mark.parametrize("space", SEARCH_SPACES.values(), ids=list(SEARCH_SPACES))
@pytest.mark.parametrize(
    ("channels", "cells", "image_channels", "classes", "size", "stem"),
    [
        (16, 8, 3, 10, 32, "auto"),
        (10, 5, 1, 7, 9, "auto"),
        (8, 1, 1, 3, 5, "auto"),
        (9, 2, 3, 10, 7, "auto"),
        (4, 20, 3, 10, 16, "auto"),
        (16, 14, 3, 10, 224, "auto"),
        (9, 5, 1, 3, 101, "auto"),
        (8, 5, 3, 10, 33, "large"),
        (4, 2, 3, 10, 97, "small"),
    ],
)
def test_counts_equal_the_built_networks(
    space: SearchSpace,
    channels: int,
    cells: int,
    image_channels: int,
    classes: int,
    size: int,
    stem: StemChoice,
) -> None:
    batch = random_tensor(4, space, torch.Generator().manual_seed(0))
    shape = NetworkShape(channels, cells, image_channels, size, classes, stem)
    with torch.device("meta"):
        built = [shape.network(g) for g in from_tensor(batch, space)]
    parameters = [sum(p.numel() for p in net.parameters()) for net in built]
    assert count_parameters(batch, space, shape).tolist() == parameters
    assert count_macs(batch, space, shape).tolist() == [
        measure_macs(net, image_channels, size) for net in built
    ]


@pytest.mark.parametrize(
    ("text", "parameters", "macs"),
    [
        # from NATS-Bench's own table, in millions: .802426 is told in D-X-Y/NATS-Bench#36
        (
            "|skip_connect~0|+|none~0|nor_conv_3x3~1|+|avg_pool_3x3~0|nor_conv_3x3~1|nor_conv_3x3~2|",
            802_426,
            113_951_360,
        ),
        ("|nor_conv_3x3~0|+|none~0|nor_conv_3x3~1|+|skip_connect~0|none~1|nor_conv_3x3~2|", 802_426, None),
        ("222222", 1_531_546, 220_119_680),
        ("111111", 73_306, None),
    ],
)
def test_sizes_are_those_that_nats_bench_tells(text: str, parameters: int, macs: int | None) -> None:
    genotype = to_tensor([from_text(text, NAS_BENCH_201)], NAS_BENCH_201)
    assert count_parameters(genotype, NAS_BENCH_201).tolist() == [parameters]
    if macs is not None:
        assert count_macs(genotype, NAS_BENCH_201).tolist() == [macs]


def test_the_bounds_of_costs_are_those_of_all_genotypes() -> None:
    shape = NetworkShape(channels=4, cells=5, image_size=8)
    batch = random_tensor(20_000, DARTS, torch.Generator().manual_seed(1))
    # cells of one operation alone, from the inputs and from the nodes before
    alone = batch[:2].repeat(len(DARTS.choices), 1, 1, 1)
    alone[..., 0] = torch.tensor(DARTS.choices).repeat_interleave(2)[:, None, None]
    alone[::2, ..., 1] = torch.tensor([0, 1]).repeat(4)
    alone[1::2, ..., 1] = torch.tensor([0, 1, 1, 2, 2, 3, 3, 4])
    everything = torch.cat([batch, alone])
    for costs in (parameter_costs(DARTS, shape), mac_costs(DARTS, shape)):
        least, most = costs.bounds(DARTS)
        counted = costs.of(everything, DARTS)
        assert least == counted.min()
        assert counted.max() <= most <= 1.01 * counted.max()


def test_macs_of_a_known_layer_are_counted_right() -> None:
    class Plain(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 8, 3, padding=1, bias=False)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.conv(x)

    assert measure_macs(Plain(), 3, 10) == 10 * 10 * 3 * 3 * 3 * 8


def test_of_many_threads_that_ask_at_once_one_measures(monkeypatch: pytest.MonkeyPatch) -> None:
    measured: list[int] = []
    measure = size.measure_macs

    def counted(*arguments: Any) -> int:
        measured.append(1)
        time.sleep(0.1)  # the others come meanwhile
        return measure(*arguments)

    monkeypatch.setattr(size, "measure_macs", counted)
    shape = NetworkShape(6, 2, image_size=9)
    with ThreadPoolExecutor(8) as threads:
        costs = list(threads.map(lambda _: size.mac_costs(NAS_BENCH_201, shape), range(8)))
    assert len(measured) == 1
    assert all(cost is costs[0] for cost in costs)


class _Waiting(nn.Module):
    """A convolution that waits in the middle of its forward pass."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 3)
        self.began, self.may_end = Event(), Event()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.began.set()
        assert self.may_end.wait(60)
        out: torch.Tensor = self.conv(images)
        return out


def test_other_threads_infer_while_one_counts() -> None:
    waiting, linear, parameter = _Waiting(), nn.Linear(2, 3), nn.Parameter(torch.ones(4, 2))
    with ThreadPoolExecutor(1) as pool:
        counted = pool.submit(measure_macs, waiting, 1, 8)
        assert waiting.began.wait(60)
        try:
            with torch.inference_mode():
                assert linear(parameter).shape == (4, 3)
        finally:
            waiting.may_end.set()
        assert counted.result() == 2 * 9 * 6 * 6  # and nothing of the other thread
