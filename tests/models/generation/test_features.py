"""Features of genotypes: blocks of one weight, and nothing that changes no network."""

import numpy as np
import pytest
import torch

from models.generation.features import blocks, features
from models.genotypes.genotype import from_dict, random_tensor, to_tensor
from models.genotypes.published import PUBLISHED
from models.genotypes.search_space import DARTS, NAS_BENCH_201, SEARCH_SPACES, SearchSpace
from models.genotypes.size import count_parameters
from models.genotypes.text import from_text


@pytest.mark.parametrize("space", SEARCH_SPACES.values(), ids=lambda space: space.name)
def test_every_block_weighs_the_same(space: SearchSpace) -> None:
    genotypes = random_tensor(4_000, space, torch.Generator().manual_seed(1))
    found = features(genotypes, space)
    named = blocks(genotypes, space)
    varying = [int((block.std(0) > 0).sum()) for block in named.values()]
    assert found.shape == (4_000, sum(varying))
    start = 0
    for width in varying:
        if width:
            assert found[:, start : start + width].var(axis=0).sum() == pytest.approx(1.0, abs=0.15)
        start += width


def test_features_do_not_depend_on_the_batch() -> None:
    genotypes = random_tensor(50, DARTS, torch.Generator().manual_seed(2))
    alone = np.concatenate([features(genotype[None], DARTS) for genotype in genotypes])
    np.testing.assert_allclose(features(genotypes, DARTS), alone)


def test_counts_and_sizes_stand_in_their_blocks() -> None:
    genotype = next(entry.genotype for entry in PUBLISHED if entry.genotype.space is DARTS)
    batch = to_tensor([genotype], DARTS)
    found = blocks(batch, DARTS)
    for place, cell in enumerate(genotype.cells):
        names = [operation for operation, _ in cell]
        counts = found["counts"].view(len(DARTS.cells), -1)[place]
        assert counts.tolist() == [names.count(name) for name in DARTS.operations]
        into = found["predecessors"].view(len(DARTS.cells), -1)[place]
        taken = [predecessor for _, predecessor in cell]
        assert into.tolist() == [taken.count(node) for node in range(5)]
    assert found["size"][0, 0].exp().item() == pytest.approx(count_parameters(batch, DARTS).item())


def test_an_edge_that_leads_nowhere_changes_the_size_alone() -> None:
    # (0, 1) is entered and never left
    texts = ("212111", "312111", "112111")
    found = blocks(
        to_tensor([from_text(text, NAS_BENCH_201) for text in texts], NAS_BENCH_201), NAS_BENCH_201
    )
    for name, block in found.items():
        same = bool((block == block[0]).all())
        assert same == (name != "size")


def test_what_differs_in_a_genotype_differs_in_its_features() -> None:
    flat = [["skip_connect", n] for _ in range(4) for n in (0, 1)]
    other = [*flat[:-1], ["skip_connect", 4]]
    two = [from_dict({"normal": normal, "reduce": flat}, DARTS) for normal in (flat, other)]
    first, second = features(to_tensor(two, DARTS), DARTS)
    assert np.abs(first - second).max() > 0.1
