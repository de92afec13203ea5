"""Paths through cells, by hand and against a walk along every one."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from models.genotypes.genotype import Genotype, from_dict, from_tensor, random_tensor, to_tensor
from models.genotypes.paths import depth, live, paths
from models.genotypes.search_space import DARTS, NAS_BENCH_201, SEARCH_SPACES
from models.genotypes.text import from_text

SKIP, SEP = "skip_connect", "sep_conv_3x3"


@pytest.mark.parametrize(
    ("text", "operations"),
    [
        ("222222", 3),
        ("111111", 0),
        ("110111", 1),  # (0, 3) alone
        ("011111", 0),  # (0, 1), from where nothing goes on
        ("011011", 0),  # (0, 1) and (1, 2), from where nothing goes on either
        ("011110", 0),  # (0, 1) and (2, 3), with nothing between
        ("011101", 2),  # (0, 1) and (1, 3)
        ("101110", 2),  # (0, 2) and (2, 3)
        ("011000", 3),
    ],
)
def test_a_path_does_not_lead_through_none(text: str, operations: int) -> None:
    genotype = to_tensor([from_text(text, NAS_BENCH_201)], NAS_BENCH_201)
    assert depth(genotype, NAS_BENCH_201).tolist() == [operations]


def test_depth_is_the_longest_path_of_either_cell() -> None:
    flat = [(SKIP, n) for _ in range(4) for n in (0, 1)]
    chain = [(SEP, 0), (SEP, 1), (SEP, 0), (SEP, 2), (SEP, 0), (SEP, 3), (SEP, 0), (SEP, 4)]
    both = [from_dict({"normal": a, "reduce": b}, DARTS) for a, b in ((flat, flat), (flat, chain))]
    assert depth(to_tensor(both, DARTS), DARTS).tolist() == [1, 4]


@pytest.mark.parametrize(
    ("text", "alive"),
    [
        ("222222", "222222"),
        ("221211", "111111"),  # nodes 1 and 2 are entered, but nothing enters node 3
        ("011011", "111111"),
        ("212111", "112111"),  # (0, 1) is entered and never left
        ("011101", "011101"),
        ("110100", "110111"),  # node 2 is never entered
    ],
)
def test_edges_that_lead_nowhere_are_as_if_not_there(text: str, alive: str) -> None:
    genotypes = to_tensor([from_text(each, NAS_BENCH_201) for each in (text, alive)], NAS_BENCH_201)
    assert torch.equal(live(genotypes[:1], NAS_BENCH_201), genotypes[1:])


@given(st.sampled_from(sorted(SEARCH_SPACES)), st.integers(0, 10**6))
def test_every_path_counts_once(name: str, seed: int) -> None:
    space = SEARCH_SPACES[name]
    genotypes = random_tensor(3, space, torch.Generator().manual_seed(seed))
    found, alive = paths(genotypes, space), live(genotypes, space)
    assert torch.equal(live(alive, space), alive)
    for row, genotype in enumerate(from_tensor(genotypes, space)):
        for cell in range(len(space.cells)):
            walked = walk(genotype, cell)
            assert found.number[row, cell] == len(walked)
            assert found.longest[row, cell].max() == max(map(len, walked), default=0)
            used = {edge for path in walked for edge in path}
            kept = from_tensor(alive[row][None], space)[0].cells[cell]
            assert all((kept[edge][0] != "none") == (edge in used) for edge in range(len(kept)))


def walk(genotype: Genotype, cell: int) -> list[tuple[int, ...]]:
    """Every path from an input to what enters the output, as the numbers of its edges."""
    space, edges = genotype.space, genotype.cells[cell]
    into: dict[int, list[tuple[int, ...]]] = {node: [()] for node in range(space.inputs)}
    for node, slot in zip(space.choosing, space.slots, strict=True):
        into[node] = [
            (*path, edge)
            for edge in range(slot.start, slot.stop)
            if edges[edge][0] != "none"
            for path in into[edges[edge][1]]
        ]
    return [path for end in list(space.concat) or [space.choosers.stop - 1] for path in into[end]]
