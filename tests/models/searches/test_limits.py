"""Limits on skip connections and size are kept, at the least cost in weight."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models.genotypes.genotype import ContinuousGenotype, discretise
from models.genotypes.search_space import DARTS
from models.searches.limits import LimitError, Limits, discretise_within, parameters, random_within

SMALLEST = 1_400_000


def drawn(seed: int, favour: int, by: float) -> ContinuousGenotype:
    """Random weights in which one operation is favoured."""
    generator = torch.Generator().manual_seed(seed)

    def rows() -> tuple[tuple[float, ...], ...]:
        logits = torch.randn(14, 8, generator=generator)
        logits[:, favour] += by
        return tuple(map(tuple, logits.softmax(1).tolist()))

    def edges() -> tuple[float, ...]:
        return tuple(w for n in (2, 3, 4, 5) for w in torch.randn(n, generator=generator).softmax(0).tolist())

    cells = [(rows(), edges()) for _ in DARTS.cells]
    operations, weights = zip(*cells, strict=True)
    return ContinuousGenotype(DARTS, operations, weights)


@settings(max_examples=40)
@given(
    st.integers(0, 10_000),
    st.sampled_from([3, 5]),
    st.none() | st.integers(0, 8),
    st.none() | st.integers(SMALLEST, 6_000_000),
)
def test_the_result_is_within_any_limits_that_can_be_met(
    seed: int, favour: int, skips: int | None, params: int | None
) -> None:
    continuous, limits = drawn(seed, favour, 2.0), Limits(skips, params)
    limits.require_possible(DARTS)
    genotype = discretise_within(continuous, limits)
    assert limits.met_by(genotype)
    unlimited = discretise(continuous)
    if limits.met_by(unlimited):
        assert genotype == unlimited


def test_the_weakest_skip_connection_goes_first() -> None:
    continuous = drawn(1, 3, 4.0)
    before = discretise(continuous)
    assert before.count("skip_connect") == {"normal": 8, "reduce": 8}
    after = discretise_within(continuous, Limits(max_skip_connections=7))
    assert after.count("skip_connect") == {"normal": 7, "reduce": 7}
    assert sum(edge not in before.cells[0] for edge in after.cells[0]) == 1


def test_a_size_that_no_genotype_has_is_refused() -> None:
    with pytest.raises(LimitError, match="at least"):
        Limits(max_params=1_000_000).require_possible(DARTS)


def test_random_genotypes_keep_limits_too() -> None:
    limits = Limits(max_skip_connections=0, max_params=2_500_000)
    for seed in range(5):
        assert limits.met_by(random_within(DARTS, limits, seed))
    assert random_within(DARTS, Limits(), 1) == random_within(DARTS, Limits(), 1)
    with pytest.raises(LimitError, match="loosen"):
        random_within(DARTS, Limits(max_skip_connections=0, max_params=SMALLEST), 1)


def test_parameters_are_those_of_the_standard_network() -> None:
    genotype = random_within(DARTS, Limits(), 0)
    assert 1_000_000 < parameters(genotype) < 6_000_000
