"""Genotypes in a line of text."""

import pytest

from models.genotypes.genotype import GenotypeError
from models.genotypes.published import PUBLISHED
from models.genotypes.search_space import (
    DARTS,
    NAS_BENCH_201,
    SEARCH_SPACES,
    TRANSNAS_BENCH_101_MICRO,
    SearchSpace,
)
from models.genotypes.text import from_text, to_text

CELL = "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|skip_connect~0|nor_conv_3x3~1|nor_conv_1x1~2|"


@pytest.mark.parametrize("space", [NAS_BENCH_201, TRANSNAS_BENCH_101_MICRO], ids=lambda space: space.name)
def test_digits_and_the_form_of_nats_bench_are_one_genotype(space: SearchSpace) -> None:
    genotype = from_text("220223", space)
    assert to_text(genotype) == CELL
    assert from_text(f" {CELL}\n", space) == genotype
    assert genotype.as_dict()["cell"][3:] == [["skip_connect", 0], ["nor_conv_3x3", 1], ["nor_conv_1x1", 2]]


def test_digits_are_in_the_order_of_the_node_that_an_edge_leaves() -> None:
    genotype = from_text("012343", NAS_BENCH_201)
    given = dict(zip(NAS_BENCH_201.edges, (operation for operation, _ in genotype.cells[0]), strict=True))
    assert given == {
        (0, 1): "skip_connect",
        (0, 2): "none",
        (0, 3): "nor_conv_3x3",
        (1, 2): "nor_conv_1x1",
        (1, 3): "avg_pool_3x3",
        (2, 3): "nor_conv_1x1",
    }


@pytest.mark.parametrize(
    ("text", "match"),
    [
        (to_text(PUBLISHED[0].genotype), "another search space"),
        ("", "another search space|must be of the form"),
        ("22022", "has 5 digits"),
        ("2202233", "has 7 digits"),
        ("220225", "digit 6 is 5"),
        ("²20223", "digit 1 is ²"),
        (CELL.replace("+", ""), "1 nodes"),
        (CELL + "+" + CELL, "nodes"),
        (CELL[:-1], "must be of the form"),
        (CELL.replace("nor_conv_1x1", "sep_conv_3x3"), "unknown operation 'sep_conv_3x3'"),
        (CELL.replace("~2", "~3"), "predecessor 3 is out of range"),
        (CELL.replace("~2", "~1"), "repeats predecessor 1"),
        (CELL.replace("~2", "~-1"), "must be of the form"),
        (CELL.replace("~2", "~٢"), "must be of the form"),
        (CELL.replace("|nor_conv_1x1~2|", "|"), "has 2 edges into node 3"),
        ("|" * 5_000, "nodes|form"),
        ("1" * 20_000, "at most"),
    ],
)
def test_a_text_that_is_no_genotype_of_the_space_says_why(text: str, match: str) -> None:
    with pytest.raises(GenotypeError, match=match):
        from_text(text, NAS_BENCH_201)


@pytest.mark.parametrize("text", [CELL, "220223", f" {CELL}"])
def test_a_text_of_another_space_is_named(text: str) -> None:
    with pytest.raises(
        GenotypeError, match="of another search space; genotypes of the space 'darts'"
    ) as error:
        from_text(text, DARTS)
    assert error.value.field == "text"


@pytest.mark.parametrize("text", [CELL.replace("nor_conv_1x1", "avg_pool_3x3"), "220224"])
def test_an_operation_that_only_the_larger_space_has_is_refused(text: str) -> None:
    from_text(text, NAS_BENCH_201)
    with pytest.raises(GenotypeError, match=r"avg_pool_3x3|digit 6 is 4"):
        from_text(text, TRANSNAS_BENCH_101_MICRO)


def test_spaces_are_known_by_their_names() -> None:
    assert all(space.name == name for name, space in SEARCH_SPACES.items())
