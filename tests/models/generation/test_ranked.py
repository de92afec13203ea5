"""Choosing the best of many, and different ones."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from models.generation.ranked import best
from models.genotypes.genotype import edits, random_tensor, to_tensor
from models.genotypes.search_space import NAS_BENCH_201, SEARCH_SPACES
from models.genotypes.text import from_text


@given(st.sampled_from(sorted(SEARCH_SPACES)), st.integers(0, 1_000), st.integers(0, 5), st.integers(1, 20))
def test_the_best_come_first_and_lie_apart(name: str, seed: int, apart: int, count: int) -> None:
    space = SEARCH_SPACES[name]
    generator = torch.Generator().manual_seed(seed)
    genotypes, scores = random_tensor(60, space, generator), torch.rand(60, generator=generator)
    chosen = best(genotypes, scores, count, space, apart)
    assert 1 <= len(chosen) <= count
    assert chosen[0] == scores.argmax()
    assert (scores[chosen].diff() <= 0).all()
    if apart == 0:
        assert len(chosen) == count
    if not space.none:
        for number in chosen:
            others = genotypes[chosen[chosen != number]]
            assert (edits(others, genotypes[number].expand_as(others), space) >= apart).all()


def test_one_network_in_two_forms_is_chosen_once() -> None:
    texts = ("212111", "312111", "222222")  # in the first two (0, 1) is entered and never left
    genotypes = to_tensor([from_text(text, NAS_BENCH_201) for text in texts], NAS_BENCH_201)
    assert best(genotypes, torch.tensor([3.0, 2.0, 1.0]), 3, NAS_BENCH_201, 1).tolist() == [0, 2]
    assert best(genotypes, torch.tensor([3.0, 2.0, 1.0]), 3, NAS_BENCH_201, 0).tolist() == [0, 1, 2]


def test_nothing_is_chosen_of_nothing() -> None:
    none = torch.empty(0, 1, 6, 2, dtype=torch.int64)
    assert best(none, torch.empty(0), 5, NAS_BENCH_201, 2).tolist() == []
