"""The VGAE's losses equal PyG's, and every preset trains and decodes."""

from dataclasses import replace

import pytest
import torch
from torch_geometric import nn as pyg

from models.genotypes import graph
from models.genotypes.genotype import random_tensor
from models.genotypes.graph import Graph
from models.genotypes.search_space import DARTS
from models.latent_spaces.vgae import PRESETS, VGAE


def batch(count: int = 4) -> Graph:
    return graph.from_tensor(random_tensor(count, DARTS, torch.Generator().manual_seed(0)), DARTS)


def test_the_paper_losses_equal_pyg_on_one_graph() -> None:
    torch.manual_seed(0)
    net = VGAE(DARTS, PRESETS["paper"])
    # little noise, since PyG's logarithm is cut off at the probabilities of large scores
    one, noise = batch(1), 0.1 * torch.randn(1, 14, 4)
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
    dimension = net.recipe.latent_dimension
    losses = net(graph.cells(graphs, DARTS), torch.randn(3, 14, dimension))
    losses.total.backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in net.parameters())
    assert net.encode(graphs)[0].shape == (3, 14, dimension)
    z = torch.randn(200, 14, dimension)
    with torch.no_grad():
        genotypes, repaired = net.genotypes(z)
        assert torch.equal(graph.to_tensor(net.decode(z), DARTS), genotypes)
    assert repaired.any() == (not PRESETS[preset].exclusive)


def test_positions_count_in_the_edges_of_undirected_nodes_too() -> None:
    net, z = VGAE(DARTS, replace(PRESETS["default"], directed=False)), torch.randn(10, 2, 7, 3)
    position = net.decoder.position.T.unflatten(1, (2, 7))[..., None].expand(-1, -1, -1, 3)
    whole, placed = torch.cat([z, position]), net.decoder.placed(z)
    nodes = whole.flatten(1, 2)
    torch.testing.assert_close(net.decoder.edges(placed), torch.einsum("fib,fjb->ijb", nodes, nodes))
    into = torch.einsum("fcsb,fctb->ctsb", whole[:, :, DARTS.candidates], whole[:, :, DARTS.choosers])
    torch.testing.assert_close(net.decoder.predecessors(placed), into)


def test_the_operations_of_chosen_edges_alone_give_the_loss_of_all_pairs() -> None:
    torch.manual_seed(0)
    net, graphs = VGAE(DARTS, PRESETS["default"]), batch(6)
    noise, found = torch.randn(6, 14, net.recipe.latent_dimension), []
    for discrete in (False, True):
        cells = graph.cells(graphs, DARTS, discrete)
        assert (cells.predecessors is not None) is discrete
        net.zero_grad()
        losses = net(cells, noise)
        losses.total.backward()
        found.append((losses, [parameter.grad.clone() for parameter in net.parameters()]))
    (dense, gradients), (chosen, others) = found
    torch.testing.assert_close(chosen.edge, dense.edge)
    torch.testing.assert_close(chosen.total, dense.total)
    torch.testing.assert_close(others, gradients, rtol=1e-4, atol=1e-6)


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
