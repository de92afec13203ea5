"""Networks as large as a budget allows: exact, and as large as trying every shape finds."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models.genotypes.budget import FULLEST, Budget
from models.genotypes.genotype import random_tensor
from models.genotypes.search_space import DARTS, NAS_BENCH_201, SEARCH_SPACES, SearchSpace
from models.genotypes.size import NetworkShape, count_macs, count_parameters

SHAPE = NetworkShape(channels=2, cells=2, image_size=16)


def some(space: SearchSpace, count: int = 6, seed: int = 0) -> torch.Tensor:
    return random_tensor(count, space, torch.Generator().manual_seed(seed))


@given(
    space=st.sampled_from([DARTS, NAS_BENCH_201]),
    seed=st.integers(0, 1_000),
    image=st.sampled_from([(1, 8), (3, 32), (3, 33), (3, 96)]),
    limits=st.sampled_from(
        [{"parameters": 10**5}, {"macs": 3 * 10**6}, {"parameters": 10**6, "macs": 10**7}]
    ),
)
@settings(max_examples=10)
def test_counts_are_those_of_the_shapes_and_within_the_budget(
    space: SearchSpace, seed: int, image: tuple[int, int], limits: dict[str, int]
) -> None:
    shape = replace(SHAPE, image_channels=image[0], image_size=image[1])
    genotypes = some(space, seed=seed)
    found = Budget(shape, **limits).fit(genotypes, space)
    for row in range(len(genotypes)):
        chosen = replace(shape, channels=int(found.channels[row]), cells=int(found.cells[row]))
        one = genotypes[row][None]
        assert count_parameters(one, space, chosen) == found.parameters[row]
        assert count_macs(one, space, chosen) == found.macs[row]
    for name, limit in limits.items():
        assert (getattr(found, name) <= limit).all()


@pytest.mark.parametrize("space", SEARCH_SPACES.values(), ids=lambda space: space.name)
def test_no_other_shape_is_much_larger(space: SearchSpace) -> None:
    genotypes, limit = some(space, 20), 150_000
    budget = Budget(SHAPE, parameters=limit)
    found = budget.fit(genotypes, space)
    largest = torch.zeros(20, dtype=torch.int64)
    for cells in budget.depths(space):
        for channels in range(2, 60, 2):
            sizes = count_parameters(genotypes, space, replace(SHAPE, channels=channels, cells=cells))
            largest = largest.maximum(sizes.where(sizes <= limit, 0))
    assert (found.parameters >= FULLEST * largest).all()
    for row in range(20):
        wider = replace(SHAPE, channels=int(found.channels[row]) + 2, cells=int(found.cells[row]))
        assert count_parameters(genotypes[row][None], space, wider) > limit


def test_what_is_given_is_kept() -> None:
    genotypes = some(DARTS)
    assert Budget(SHAPE, 200_000, cells=7).fit(genotypes, DARTS).cells.tolist() == [7] * 6
    narrow = Budget(SHAPE, 200_000, channels=9).fit(genotypes, DARTS)
    assert narrow.channels.tolist() == [9] * 6
    assert (narrow.parameters <= 200_000).all()
    assert len(set(Budget(SHAPE, 2_000_000).fit(genotypes, DARTS).cells.tolist())) > 1


def test_what_does_not_fit_has_no_network() -> None:
    genotypes = some(DARTS, 200)
    least = Budget(SHAPE, 1).least(DARTS)["parameters"]
    smallest = count_parameters(genotypes, DARTS, SHAPE)
    assert least <= smallest.min()
    found = Budget(SHAPE, int(smallest.median())).fit(genotypes, DARTS)
    for part in (found.cells, found.parameters, found.macs):
        assert ((part == 0) == (found.channels == 0)).all()
    assert 0 < int((found.channels == 0).sum()) < 200
    assert (Budget(SHAPE, least - 1).fit(genotypes, DARTS).channels == 0).all()


def test_small_images_have_fewer_depths() -> None:
    assert Budget(replace(SHAPE, image_size=2), 10**6).depths(DARTS) == [2]
    assert Budget(replace(SHAPE, image_size=2), 10**6).depths(NAS_BENCH_201) == []
    assert Budget(replace(SHAPE, image_size=4), 10**6).depths(NAS_BENCH_201) == [3, 6, 9, 12, 15]
