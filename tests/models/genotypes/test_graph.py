"""Genotypes as graphs and back."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from models.genotypes import graph
from models.genotypes.genotype import continuous_from_dict, discretise, random_tensor, to_tensor
from models.genotypes.search_space import DARTS, NAS_BENCH_201
from models.genotypes.text import from_text
from tests.models.genotypes.test_genotype import MANY, continuous


def test_genotype_to_graph_to_genotype_is_the_identity_on_many_random_genotypes() -> None:
    batch = random_tensor(MANY, DARTS, torch.Generator().manual_seed(3))
    for part in batch.split(1_000):
        assert torch.equal(graph.to_tensor(graph.from_tensor(part, DARTS), DARTS), part)


def test_a_graph_has_14_nodes_of_3_kinds_and_identity_into_its_outputs() -> None:
    batch = graph.from_tensor(random_tensor(5, DARTS, torch.Generator().manual_seed(0)), DARTS)
    assert batch.adjacency.shape == (5, 14, 14)
    assert torch.bincount(batch.kinds).tolist() == [4, 8, 2]
    assert batch.adjacency.sum((1, 2)).tolist() == [24.0] * 5  # 2 cells x (8 chosen + 4 into the output)
    for output in (6, 13):
        into = batch.operations[:, output - 4 : output, output]
        assert (into.argmax(-1) == DARTS.operation("skip_connect")).all()
    assert (batch.adjacency[:, :7, 7:] == 0).all()


def test_none_is_an_edge_that_is_not_there() -> None:
    genotypes = torch.cat(
        [to_tensor([from_text(digits, NAS_BENCH_201)], NAS_BENCH_201) for digits in ("111111", "210321")]
    )
    batch = graph.from_tensor(genotypes, NAS_BENCH_201)
    assert batch.adjacency.sum((1, 2)).tolist() == [0.0, 4.0]
    assert batch.adjacency[1, 0].tolist() == [0.0, 1.0, 0.0, 1.0]
    assert torch.equal(batch.operations.sum(-1), torch.ones(4, 4).triu(1).expand(2, 4, 4))
    assert batch.kinds.tolist() == [0, 1, 1, 2]
    assert torch.equal(graph.to_tensor(batch, NAS_BENCH_201), genotypes)


def test_the_share_of_none_weakens_an_edge_of_a_continuous_graph() -> None:
    weights = torch.randn(6, 5, generator=torch.Generator().manual_seed(2)).softmax(1)
    value = continuous_from_dict({"cell": weights.tolist()}, NAS_BENCH_201)
    batch = graph.from_continuous([value], NAS_BENCH_201)
    source, target = graph.legal_edges(NAS_BENCH_201)
    torch.testing.assert_close(batch.adjacency[0, source, target], 1 - weights[:, 0])
    decoded = graph.to_tensor(batch, NAS_BENCH_201)
    assert torch.equal(decoded, to_tensor([discretise(value)], NAS_BENCH_201))


def test_the_pyg_form_holds_the_same_edges() -> None:
    batch = graph.from_tensor(random_tensor(2, DARTS, torch.Generator().manual_seed(1)), DARTS)
    data = batch.to_pyg(1)
    assert data.edge_index.shape == (2, 24)
    assert data.edge_attr.shape == (24, 8)
    assert torch.equal(data.edge_attr.sum(1), torch.ones(24))


@given(st.integers(0, 2**31), st.floats(1e-3, 1e3))
def test_any_scores_decode_to_a_legal_genotype(seed: int, scale: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    scores = graph.Graph(
        graph.node_kinds(DARTS),
        scale * torch.randn(20, 14, 14, generator=generator),
        scale * torch.randn(20, 14, 14, 8, generator=generator),
    )
    operation, predecessor = graph.to_tensor(scores, DARTS).unflatten(2, (4, 2)).unbind(-1)
    assert (operation > 0).all()  # never none
    assert (predecessor[..., 0] < predecessor[..., 1]).all()
    assert (predecessor[..., 1] < torch.arange(2, 6)).all()


def test_a_continuous_graph_decodes_to_the_discretised_genotype() -> None:
    torch.manual_seed(0)
    weights = continuous(0.6)
    for cell in ("normal_edges", "reduce_edges"):  # no ties
        weights[cell] = [w for n in (2, 3, 4, 5) for w in torch.randn(n).mul(0.3).softmax(0).tolist()]
    value = continuous_from_dict(weights, DARTS)
    batch = graph.from_continuous([value], DARTS)
    assert torch.equal(graph.to_tensor(batch, DARTS), to_tensor([discretise(value)], DARTS))
