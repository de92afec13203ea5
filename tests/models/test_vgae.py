"""The VGAE's layers and losses equal PyG's."""

import pytest
import torch
from torch import Tensor
from torch_geometric import nn as pyg

from models import graph
from models.genotype import random_tensor
from models.graph import Graph
from models.search_space import DARTS
from models.vgae import PRESETS, VGAE, DenseGAT, DenseGCN, contract


def batch(count: int = 4) -> Graph:
    return graph.from_tensor(random_tensor(count, DARTS, torch.Generator().manual_seed(0)), DARTS)


def by_graph(features: Tensor) -> Tensor:
    """`[features, cell, node, batch]` as `[batch, node of both cells, features]`."""
    return features.flatten(1, 2).permute(2, 1, 0)


def test_dense_attention_equals_gat_conv() -> None:
    torch.manual_seed(0)
    graphs, embedding = batch(), torch.randn(8, 5)
    x = torch.randn(14, 6)
    reference = pyg.GATConv(6, 3, heads=2, edge_dim=5)
    torch.nn.init.normal_(reference.bias)
    ours = DenseGAT(6, 6, heads=2)
    with torch.no_grad():
        ours.weight.weight.copy_(reference.lin.weight)
        ours.source.copy_(reference.att_src[0])
        ours.target.copy_(reference.att_dst[0])
        ours.bias.copy_(reference.bias)
    by_operation = (reference.lin_edge(embedding).view(8, 2, 3) * reference.att_edge).sum(-1)
    out = by_graph(ours(x.T.unflatten(1, (2, 7)), graph.cells(graphs, DARTS), by_operation.T))
    for position in range(4):
        data = graphs.to_pyg(position)
        expected = reference(x, data.edge_index, data.edge_attr @ embedding)
        torch.testing.assert_close(out[position], expected, atol=1e-5, rtol=1e-5)


def test_dense_convolution_equals_gcn_conv() -> None:
    torch.manual_seed(0)
    graphs, x = batch(), torch.randn(4, 14, 6)
    reference, ours = pyg.GCNConv(6, 3), DenseGCN(6, 3)
    torch.nn.init.normal_(reference.bias)
    with torch.no_grad():
        ours.weight.weight.copy_(reference.lin.weight)
        ours.bias.copy_(reference.bias)
    out = by_graph(ours(x.permute(2, 1, 0).unflatten(1, (2, 7)), graph.cells(graphs, DARTS)))
    for position in range(4):
        expected = reference(x[position], graphs.to_pyg(position).edge_index)
        torch.testing.assert_close(out[position], expected, atol=1e-5, rtol=1e-5)


def test_the_paper_losses_equal_pyg_on_one_graph() -> None:
    torch.manual_seed(0)
    net = VGAE(DARTS, PRESETS["paper"])
    one, noise = batch(1), torch.randn(1, 14, 4)
    losses = net(graph.cells(one, DARTS), noise)
    mu, logstd = net.encode(one)
    z = (mu + noise * logstd.exp())[0]
    reference = pyg.VGAE(torch.nn.Identity())
    edge_index = one.to_pyg(0).edge_index
    absent = (1 - one.adjacency[0] - torch.eye(14)).nonzero().T
    torch.testing.assert_close(
        losses.positive + losses.negative,
        reference.recon_loss(z, edge_index, absent),
        rtol=1e-4,
        atol=1e-4,
    )
    torch.testing.assert_close(losses.kl, reference.kl_loss(mu[0], logstd[0]) / 14, rtol=1e-5, atol=1e-6)
    weighted = 2 * losses.positive + losses.negative + 0.5 * losses.edge + losses.kl
    torch.testing.assert_close(losses.total, weighted)


@pytest.mark.parametrize("preset", list(PRESETS))
def test_every_preset_trains_and_decodes(preset: str) -> None:
    torch.manual_seed(0)
    net, graphs = VGAE(DARTS, PRESETS[preset]), batch(3)
    losses = net(graph.cells(graphs, DARTS), torch.randn(3, 14, 4))
    losses.total.backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in net.parameters())
    assert net.encode(graphs)[0].shape == (3, 14, 4)
    z = torch.randn(200, 14, 4)
    with torch.no_grad():
        genotypes, repaired = net.genotypes(z)
        assert torch.equal(graph.to_tensor(net.decode(z), DARTS), genotypes)
    assert repaired.any() == (not PRESETS[preset].exclusive)


def test_the_exclusive_loss_is_the_likelihood_of_the_predecessor_sets() -> None:
    net, graphs = VGAE(DARTS, PRESETS["default"]), batch(1)
    adjacency, scores = graph.cells(graphs, DARTS).adjacency, torch.randn(2, 4, 5, 1)
    expected = []
    for cell in (0, 1):  # by hand: at each node a softmax over the sets of two
        for node in range(2, 6):
            local = scores[cell, node - 2, :node, 0]
            sets = torch.combinations(torch.arange(node), 2)
            first = 7 * cell
            chosen = graphs.adjacency[0, first : first + node, first + node].nonzero().flatten()
            expected.append(-local[sets].sum(1).log_softmax(0)[(sets == chosen).all(1)].item())
    assert net._exclusive(scores, adjacency).item() == pytest.approx(sum(expected) / 8, rel=1e-5)


def test_compiled_contractions_are_those_of_einsum(monkeypatch: pytest.MonkeyPatch) -> None:
    h, share = torch.randn(4, 3, 2, 7), torch.randn(4, 2, 5, 7, 6)
    expected = contract("hwcs,hctsb->hwctb", h, share)
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    torch.testing.assert_close(contract("hwcs,hctsb->hwctb", h, share), expected, rtol=1e-4, atol=1e-5)
