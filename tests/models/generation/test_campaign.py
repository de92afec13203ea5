"""What to train next: nothing twice, better than at random, and a source that helps and does not hurt."""

import numpy as np
import pytest
import torch
from torch import Tensor

from bench.transfer import edit
from models.generation.campaign import FORGOTTEN, Choice, Source, propose
from models.generation.predictor import PredictorError
from models.genotypes.genotype import random_tensor, to_tensor
from models.genotypes.search_space import DARTS, NAS_BENCH_201, SearchSpace
from models.genotypes.size import count_parameters
from models.genotypes.text import from_text

Figures = np.ndarray[tuple[int], np.dtype[np.float64]]
NONE = torch.empty(0, 2, 8, 2, dtype=torch.int64)


def truth(genotypes: Tensor) -> Figures:
    """Percent: by separable convolutions of the normal cell, and how few of them skip."""
    operation = genotypes[:, 0, :, 0]
    separable = (operation == DARTS.operation("sep_conv_3x3")).sum(1)
    skips = (operation == DARTS.operation("skip_connect")).sum(1)
    return np.asarray((85 + 2 * separable - skips).double().numpy())


def some(count: int, seed: int, space: SearchSpace = DARTS) -> Tensor:
    return random_tensor(count, space, torch.Generator().manual_seed(seed))


def campaign(trainings: int, seed: int, source: Source | None = None) -> Figures:
    """The accuracies of trainings, one after the other."""
    tried = NONE
    for step in range(trainings):
        pool = some(200, 1_000 * seed + step)
        chosen = propose(tried, truth(tried), pool, DARTS, source)
        assert chosen is not None
        tried = torch.cat([tried, pool[chosen.number][None]])
    return truth(tried)


def test_the_first_is_the_largest_and_the_next_are_unlike_it() -> None:
    pool = some(300, 0)
    first = propose(NONE, np.empty(0), pool, DARTS)
    assert first == Choice(int(count_parameters(pool, DARTS).argmax()), "size")
    tried = pool[first.number][None]
    second = propose(tried, truth(tried), pool, DARTS)
    assert second is not None
    assert second.by == "difference"
    assert int((pool[second.number] == pool[first.number]).all(-1).sum()) < 6  # of 16 edges


def test_an_expected_improvement_tells_what_it_expects() -> None:
    tried = some(30, 3)
    pool = some(300, 4)
    choice = propose(tried, truth(tried), pool, DARTS)
    assert choice is not None
    assert choice.by == "improvement"
    assert choice.accuracy is not None
    assert choice.deviation is not None
    off = abs(choice.accuracy - truth(pool)[choice.number])
    assert off < 3 * choice.deviation + 1
    assert truth(pool)[choice.number] > truth(pool).mean() + 2


def test_what_is_known_to_be_good_goes_before_what_nothing_is_known_of() -> None:
    best = some(1, 11)[0]

    def edited(count: int, edits: int, rng: np.random.Generator) -> Tensor:
        found = best.repeat(count, 1, 1, 1)
        for genotype in found:
            for _ in range(edits):
                edit(genotype, DARTS, rng)
        return found

    def near_the_best(genotypes: Tensor) -> Figures:
        shared = (genotypes == best).all(-1).flatten(1).double().mean(1)
        return np.asarray((60 + 30 * shared**2).numpy())

    for seed in range(6):
        rng = np.random.default_rng(seed)
        tried = torch.cat([edited(60, 3, rng), some(20, seed)])
        pool = torch.cat([edited(50, 2, rng), some(50, seed + 100)])
        measured = near_the_best(tried) + rng.normal(0, 2, len(tried))  # the best of them were lucky
        choice = propose(tried, measured, pool, DARTS)
        assert choice is not None
        assert near_the_best(pool)[choice.number] > near_the_best(tried)[:60].mean()


def test_what_is_chosen_is_better_than_what_is_drawn() -> None:
    for seed in range(3):
        accuracies = campaign(20, seed)
        drawn = truth(some(20, 77 + seed))
        assert accuracies.max() >= drawn.max()
        assert accuracies[8:].mean() > drawn.mean() + 2


def test_a_source_helps_from_the_first_training_on() -> None:
    known = some(60, 5)
    source = Source.of(known, truth(known), DARTS)
    for seed in range(3):
        taught = campaign(3, seed, source)
        assert taught.mean() > truth(some(60, 99)).mean() + 3


def test_a_source_that_is_wrong_is_left_behind() -> None:
    known = some(60, 5)
    source = Source.of(known, 100 - truth(known), DARTS)
    accuracies = campaign(20, 1, source)
    assert accuracies[:3].max() < accuracies[10:].mean()
    assert accuracies[10:].mean() > truth(some(60, 99)).mean() + 1
    more = some(FORGOTTEN, 6)
    pool = some(100, 7)
    alone = propose(more, truth(more), pool, DARTS)
    assert propose(more, truth(more), pool, DARTS, source) == alone


def test_nothing_is_proposed_twice_in_any_form() -> None:
    # in the first two (0, 1) is entered and never left: they are one network
    genotypes = to_tensor([from_text(text, NAS_BENCH_201) for text in ("212111", "312111")], NAS_BENCH_201)
    assert propose(genotypes[:1], np.array([50.0]), genotypes, NAS_BENCH_201) is None
    other = torch.cat([genotypes, some(1, 1, NAS_BENCH_201)])
    choice = propose(genotypes[:1], np.array([50.0]), other, NAS_BENCH_201)
    assert choice is not None
    assert choice.number == 2


def test_what_is_in_training_turns_the_next_worker_elsewhere() -> None:
    tried, pool = some(12, 3), some(300, 4)
    first = propose(tried, truth(tried), pool, DARTS)
    assert first is not None
    waiting = torch.cat([tried, pool[first.number][None]])
    second = propose(waiting, truth(tried), pool, DARTS)
    assert second is not None
    assert second.number != first.number


def test_equal_accuracies_are_no_reason_to_stop() -> None:
    tried = some(6, 3)
    assert propose(tried, np.full(6, 10.0), some(50, 4), DARTS) is not None
    with pytest.raises(PredictorError):
        Source.of(tried, np.full(6, 10.0), DARTS)
