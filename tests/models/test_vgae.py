"""The VGAE's layers and losses equal PyG's."""

import pytest
import torch
from torch_geometric import nn as pyg

from models import graph
from models.genotype import random_tensor
from models.graph import Graph
from models.search_space import DARTS
from models.vgae import PRESETS, VGAE, DenseGAT, DenseGCN


def batch(count: int = 4) -> Graph:
    return graph.from_tensor(random_tensor(count, DARTS, torch.Generator().manual_seed(0)), DARTS)


def test_dense_attention_equals_gat_conv() -> None:
    torch.manual_seed(0)
    graphs, embedding = batch(), torch.randn(8, 5)
    x = torch.randn(14, 6)
    reference = pyg.GATConv(6, 3, heads=2, edge_dim=5)
    torch.nn.init.normal_(reference.bias)
    ours = DenseGAT(DARTS, 6, 6, heads=2)
    with torch.no_grad():
        ours.weight.weight.copy_(reference.lin.weight)
        ours.source.copy_(reference.att_src[0])
        ours.target.copy_(reference.att_dst[0])
        ours.bias.copy_(reference.bias)
    by_operation = (reference.lin_edge(embedding).view(8, 2, 3) * reference.att_edge).sum(-1)
    out = ours(x, graphs.adjacency, graphs.operations, by_operation)
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
    out = ours(x, graphs.adjacency)
    for position in range(4):
        expected = reference(x[position], graphs.to_pyg(position).edge_index)
        torch.testing.assert_close(out[position], expected, atol=1e-5, rtol=1e-5)


def test_the_paper_losses_equal_pyg_on_one_graph() -> None:
    torch.manual_seed(0)
    net = VGAE(DARTS, PRESETS["paper"])
    one, noise = batch(1), torch.randn(1, 14, 4)
    losses = net(one, noise)
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
    losses = net(graphs, torch.randn(3, 14, 4))
    losses.total.backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in net.parameters())
    assert net.encode(graphs)[0].shape == (3, 14, 4)
    assert graph.to_tensor(net.decode(torch.randn(3, 14, 4)), DARTS).shape == (3, 2, 4, 2, 2)


def test_the_exclusive_loss_is_the_likelihood_of_the_predecessor_sets() -> None:
    net, graphs = VGAE(DARTS, PRESETS["default"]), batch(1)
    scores = torch.randn(1, 14, 14)
    # the last node of the normal cell by hand: softmax over the ten sets of two
    local = scores[0, :5, 5]
    sets = torch.combinations(torch.arange(5), 2)
    log_share = local[sets].sum(1).log_softmax(0)
    chosen = graphs.adjacency[0, :5, 5].nonzero().flatten()
    expected = -log_share[(sets == chosen).all(1)].item()
    windows = net._windows(scores)[0, 3]
    torch.testing.assert_close(windows, local)
    only = torch.zeros_like(graphs.adjacency)
    only[0, :5, 5] = graphs.adjacency[0, :5, 5]
    others = net._exclusive(scores, graphs.adjacency) * 8 - expected
    scores[0, :5, 5] += 3.0  # a shift of all scores of one node changes nothing
    torch.testing.assert_close(net._exclusive(scores, graphs.adjacency) * 8 - expected, others)
