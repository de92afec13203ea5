"""The dense layers equal PyG's."""

import pytest
import torch
from torch import Tensor
from torch_geometric import nn as pyg

from models.genotypes import graph
from models.genotypes.genotype import random_tensor
from models.genotypes.graph import Graph
from models.genotypes.search_space import DARTS
from models.latent_spaces.layers import DenseGAT, DenseGCN, contract


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
    ours = DenseGAT(6, 6, heads=2, edge_dim=5)
    with torch.no_grad():
        ours.lin.weight.copy_(reference.lin.weight)
        ours.lin_edge.weight.copy_(reference.lin_edge.weight)
        for name in ("att_src", "att_dst", "att_edge"):
            getattr(ours, name).copy_(getattr(reference, name)[0])
        ours.bias.copy_(reference.bias)
    out = by_graph(ours(x.T.unflatten(1, (2, 7)), graph.cells(graphs, DARTS), embedding.T))
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
        ours.lin.weight.copy_(reference.lin.weight)
        ours.bias.copy_(reference.bias)
    out = by_graph(ours(x.permute(2, 1, 0).unflatten(1, (2, 7)), graph.cells(graphs, DARTS)))
    for position in range(4):
        expected = reference(x[position], graphs.to_pyg(position).edge_index)
        torch.testing.assert_close(out[position], expected, atol=1e-5, rtol=1e-5)


def test_compiled_contractions_are_those_of_einsum(monkeypatch: pytest.MonkeyPatch) -> None:
    h, share = torch.randn(4, 3, 2, 7), torch.randn(4, 2, 5, 7, 6)
    expected = contract("hwcs,hctsb->hwctb", h, share)
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    torch.testing.assert_close(contract("hwcs,hctsb->hwctb", h, share), expected, rtol=1e-4, atol=1e-5)
