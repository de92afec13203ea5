"""Genotypes in every form, and what is refused."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models.genotypes import genotype as forms
from models.genotypes import graph
from models.genotypes.genotype import (
    Genotype,
    GenotypeError,
    edits,
    from_dict,
    from_tensor,
    random_tensor,
    to_tensor,
)
from models.genotypes.published import PUBLISHED
from models.genotypes.search_space import DARTS, NAS_BENCH_201, SEARCH_SPACES
from models.genotypes.text import MAX_TEXT, from_text, to_text

MANY = 10_000


def draw(count: int, seed: int) -> torch.Tensor:
    return random_tensor(count, DARTS, torch.Generator().manual_seed(seed))


@st.composite
def genotypes(draw: st.DrawFn) -> Genotype:
    """Any legal genotype of any space, with the edges into a node in any order."""
    space = draw(st.sampled_from(list(SEARCH_SPACES.values())))
    operations = [space.operations[choice] for choice in space.choices]
    cells = {}
    for cell in space.cells:
        edges = []
        for node in space.choosing:
            kept = space.kept_into(node)
            nodes = draw(st.lists(st.integers(0, node - 1), min_size=kept, max_size=kept, unique=True))
            edges += [(draw(st.sampled_from(operations)), n) for n in nodes]
        cells[cell] = edges
    return from_dict(cells, space)


@given(genotypes())
def test_every_form_gives_the_same_genotype_back(genotype: Genotype) -> None:
    space = genotype.space
    assert from_text(to_text(genotype), space) == genotype
    assert from_dict(genotype.as_dict(), space) == genotype
    batch = to_tensor([genotype], space)
    assert from_tensor(batch, space) == [genotype]
    assert torch.equal(graph.to_tensor(graph.from_tensor(batch, space), space), batch)
    assert forms.described(batch, space) == [(genotype.as_dict(), genotype.digest())]


def test_text_and_tensor_are_identities_on_many_random_genotypes() -> None:
    batch = draw(MANY, 0)
    genotypes = from_tensor(batch, DARTS)
    assert [from_text(to_text(g), DARTS) for g in genotypes] == genotypes
    assert torch.equal(to_tensor(genotypes, DARTS), batch)
    assert len({g.digest() for g in genotypes}) == len(set(genotypes))


def test_random_genotypes_are_uniform_over_predecessors_and_operations() -> None:
    batch = draw(50_000, 1)
    last = batch[:, 0, 6:, 1]  # two of five predecessors: ten sets
    counts = torch.bincount(last[:, 0] * 5 + last[:, 1])
    shares = counts[counts > 0] / len(batch)
    assert len(shares) == 10
    assert (shares - 0.1).abs().max() < 0.01
    operations = torch.bincount(batch[..., 0].flatten(), minlength=8) / batch[..., 0].numel()
    assert operations[0] == 0
    assert (operations[1:] - 1 / 7).abs().max() < 0.005


def test_the_order_of_the_edges_into_a_node_means_nothing() -> None:
    value = PUBLISHED[0].genotype.as_dict()
    swapped = {**value, "normal": [value["normal"][i] for i in (1, 0, 2, 3, 5, 4, 6, 7)]}
    assert from_dict(swapped, DARTS) == PUBLISHED[0].genotype
    assert from_dict(swapped, DARTS).digest() == PUBLISHED[0].genotype.digest()


def test_the_text_form_of_the_darts_code_is_read() -> None:
    genotype = PUBLISHED[1].genotype
    text = f"DARTS_V2 = {to_text(genotype)}".replace("range(2, 6)", "[2, 3, 4, 5]")
    assert from_text(text, DARTS) == genotype


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"normal": [["skip_connect", 0]] * 7}, "normal"),
        ({"normal": "skip_connect"}, "normal"),
        ({"reduce": [["conv_7x7", 0], *[["skip_connect", 1]] * 7]}, "reduce[0]"),
        ({"reduce": [["none", 0], *[["skip_connect", 1]] * 7]}, "reduce[0]"),
        ({"normal": [["skip_connect", 2], *[["skip_connect", 1]] * 7]}, "normal[0]"),
        ({"normal": [["skip_connect", -1], *[["skip_connect", 1]] * 7]}, "normal[0]"),
        ({"normal": [["skip_connect", True], *[["skip_connect", 1]] * 7]}, "normal[0]"),
        ({"normal": [["skip_connect", 0], ["skip_connect", 0], *[["skip_connect", 1]] * 6]}, "normal[1]"),
        ({"normal": [["skip_connect"], *[["skip_connect", 1]] * 7]}, "normal[0]"),
        ({"normal_concat": [2, 3]}, "normal_concat"),
        ({"extra": 1}, "extra"),
    ],
)
def test_a_malformed_genotype_names_the_part_at_fault(change: dict[str, object], field: str) -> None:
    with pytest.raises(GenotypeError) as caught:
        from_dict({**PUBLISHED[0].genotype.as_dict(), **change}, DARTS)
    assert caught.value.field == field


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Genotype",
        "Genotype(",
        "__import__('os').system('true')",
        "Genotype(normal=__import__('os').listdir('.'), reduce=[])",
        "Genotype([], [], [], [])",
        "Genotype(normal=range(0, 10**9), reduce=[])",
        "x = 1; Genotype(normal=[], reduce=[])",
        "Genotype(**{})",
        "(" * 5_000,
        "Genotype(" + "x" * MAX_TEXT + ")",
    ],
)
def test_text_that_is_no_genotype_is_refused_and_never_run(text: str) -> None:
    with pytest.raises(GenotypeError):
        from_text(text, DARTS)


@settings(max_examples=300)
@given(st.text(max_size=200))
def test_no_text_breaks_the_reader(text: str) -> None:
    with pytest.raises(GenotypeError):
        from_text(text, DARTS)


def continuous(peak: float) -> dict[str, list]:
    row = [(1 - peak) / 7] * 8
    row[4] = peak  # sep_conv_3x3
    edges = [weight for n in (2, 3, 4, 5) for weight in [1 / n] * n]
    return {"normal": [row] * 14, "normal_edges": edges, "reduce": [row] * 14, "reduce_edges": edges}


def test_a_continuous_genotype_discretises_to_its_best_edges_and_operations() -> None:
    value = continuous(0.9)
    value["normal_edges"] = [0.5, 0.5, 0.1, 0.2, 0.7, *value["normal_edges"][5:]]
    genotype = forms.discretise(forms.continuous_from_dict(value, DARTS))
    assert genotype.cells[0][:4] == tuple(("sep_conv_3x3", n) for n in (0, 1, 1, 2))


def test_none_is_never_kept_although_it_is_strongest() -> None:
    value = continuous(0.05)
    value["normal"] = [[0.9, *[0.1 / 7] * 7]] * 14
    genotype = forms.discretise(forms.continuous_from_dict(value, DARTS))
    assert all(operation != "none" for operation, _ in genotype.cells[0])


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("normal", [[0.5] * 8] * 14),
        ("normal", [[0.125] * 8] * 13),
        ("normal", "x"),
        ("normal_edges", [0.5] * 14),
        ("reduce", [[-1.0, 2.0, 0, 0, 0, 0, 0, 0]] * 14),
        ("reduce", [[float("nan")] * 8] * 14),
    ],
)
def test_a_malformed_continuous_genotype_names_the_part_at_fault(field: str, value: object) -> None:
    with pytest.raises(GenotypeError) as caught:
        forms.continuous_from_dict({**continuous(0.5), field: value}, DARTS)
    assert caught.value.field == field


def test_many_are_described_as_one_is() -> None:
    batch = random_tensor(300, DARTS, torch.Generator().manual_seed(0))
    expected = [(genotype.as_dict(), genotype.digest()) for genotype in from_tensor(batch, DARTS)]
    assert forms.described(batch, DARTS) == expected


@pytest.mark.parametrize("seed", range(3))
def test_weights_in_another_order_of_operations_are_told_by_names(seed: int) -> None:
    value = continuous(0.9)
    order = torch.randperm(8, generator=torch.Generator().manual_seed(seed)).tolist()
    moved = {
        name: [[row[i] for i in order] for row in rows] if name in ("normal", "reduce") else rows
        for name, rows in value.items()
    }
    moved["operations"] = [DARTS.operations[i] for i in order]
    assert forms.continuous_from_dict(moved, DARTS) == forms.continuous_from_dict(value, DARTS)


@pytest.mark.parametrize(
    "operations",
    [
        [],
        list(DARTS.operations[1:]),
        [*DARTS.operations[1:], "skip_connect"],
        [*DARTS.operations[1:], "zero"],
        8,
    ],
)
def test_names_that_are_not_those_of_the_space_are_refused(operations: object) -> None:
    with pytest.raises(GenotypeError, match="must name each of none, max_pool_3x3") as error:
        forms.continuous_from_dict({**continuous(0.9), "operations": operations}, DARTS)
    assert error.value.field == "operations"


def test_edits_are_the_edges_that_the_start_has_not() -> None:
    start = random_tensor(1, DARTS, torch.Generator().manual_seed(0))
    assert edits(start, start, DARTS).tolist() == [0]
    assert edits(start.unflatten(2, (4, 2)).flip(3).flatten(2, 3), start, DARTS).tolist() == [
        0
    ]  # the order of a node's edges says nothing
    operation = start.clone()
    operation[0, 1, 4, 0] = (operation[0, 1, 4, 0] % 7) + 1
    assert edits(operation, start, DARTS).tolist() == [int(not torch.equal(operation, start))]
    other = start.clone()
    other[..., 0] = (other[..., 0] % 7) + 1
    assert edits(other, start, DARTS).tolist() == [16]


@given(seed=st.integers(0, 2**31))
def test_edits_are_symmetric_and_bounded(seed: int) -> None:
    pair = random_tensor(2, DARTS, torch.Generator().manual_seed(seed))
    there, back = edits(pair[:1], pair[1:], DARTS), edits(pair[1:], pair[:1], DARTS)
    assert there.tolist() == back.tolist()
    edges = [
        [
            {(cell, node, *edge) for edge in genotype[cell][2 * node : 2 * node + 2].tolist()}
            for cell in range(2)
            for node in range(4)
        ]
        for genotype in pair
    ]
    assert there.item() == sum(len(a - b) for a, b in zip(*edges, strict=True))


def test_random_genotypes_of_a_space_that_keeps_all_edges_are_uniform_over_its_operations() -> None:
    batch = random_tensor(20_000, NAS_BENCH_201, torch.Generator().manual_seed(0))
    assert batch.shape == (20_000, 1, 6, 2)
    assert (batch[..., 1] == torch.tensor([0, 0, 1, 0, 1, 2])).all()
    shares = torch.stack([(batch[..., 0] == i).double().mean(0) for i in range(5)])
    assert (shares - 0.2).abs().max() < 0.02


def test_edge_weights_may_be_left_out_where_all_edges_are_kept() -> None:
    weights = torch.randn(6, 5, generator=torch.Generator().manual_seed(1)).softmax(1)
    value = forms.continuous_from_dict({"cell": weights.tolist()}, NAS_BENCH_201)
    (cell,) = forms.discretise(value).cells
    best = [NAS_BENCH_201.operations[i] for i in weights.argmax(1)]
    assert [operation for operation, _ in cell] == best  # none among them, if it is the best


@pytest.mark.parametrize(
    "change",
    [
        {"output": "apart"},
        {"join": "concatenate"},
        {"predecessors": 1},
        {"predecessors": 2, "none": False},
    ],
)
def test_a_space_whose_parts_do_not_go_together_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"output|none|inputs"):
        replace(NAS_BENCH_201, **change)
