"""Dense graph layers on batches of cells; they equal PyG's `GATConv` and `GCNConv` on the same graphs."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.graph import Cells


class DenseGAT(nn.Module):
    """Graph attention (Veličković et al., 2018) with edge features, as PyG's `GATConv` computes it.

    `h_j = sum_i a_ij W x_i + b`, where `a_ij` is the softmax over the predecessors `i` of `j` (and
    `j` itself) of `LeakyReLU(s·W x_i + t·W x_j + e_ij)`. On a continuous graph a predecessor counts
    in the softmax by its adjacency. A self-loop has the mean edge score of the node's edges.

    Args:
        inputs, outputs: features of a node; `heads` divides `outputs`.
        heads: number of attention heads.
    """

    def __init__(self, inputs: int, outputs: int, heads: int) -> None:
        super().__init__()
        width = outputs // heads
        self.weight = nn.Linear(inputs, heads * width, bias=False)
        self.source = nn.Parameter(torch.empty(heads, width))
        self.target = nn.Parameter(torch.empty(heads, width))
        self.bias = nn.Parameter(torch.zeros(heads * width))
        self.heads = heads
        for parameter in (self.source, self.target):
            nn.init.xavier_uniform_(parameter)
        nn.init.xavier_uniform_(self.weight.weight)

    def forward(self, x: Tensor, cells: Cells, scores: Tensor) -> Tensor:
        """New features of every node, `[outputs, cell, node, batch]`.

        Args:
            x: `[inputs, cell, node]`, the same in every graph.
            cells: the batch.
            scores: `[heads, operations]`, of each operation's features.
        """
        h = (self.weight.weight @ x.flatten(1)).view(
            self.heads, -1, *x.shape[1:]
        )  # [head, width, cell, node]
        leaving = (h * self.source[..., None, None]).sum(1)  # [head, cell, node]
        entering = (h * self.target[..., None, None]).sum(1)
        edge = (scores @ cells.operations.flatten(1)).view(self.heads, *cells.looped.shape)
        logits = F.leaky_relu(edge + leaving[:, :, None, :, None] + entering[..., None, None], 0.2)
        logits = logits.masked_fill(cells.looped == 0, -torch.inf)
        share = cells.looped * (logits - logits.detach().amax(3, keepdim=True)).exp()
        share = share / share.sum(3, keepdim=True)  # [head, cell, target, source, batch]
        sums = contract("hwcs,hctsb->hwctb", h, share)
        return sums.flatten(0, 1) + self.bias[:, None, None, None]


class DenseGCN(nn.Module):
    """Graph convolution (Kipf, Welling, 2017), `D^-1/2 (A + I) D^-1/2 X W + b`, as PyG's `GCNConv`."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Linear(inputs, outputs, bias=False)
        self.bias = nn.Parameter(torch.zeros(outputs))
        nn.init.xavier_uniform_(self.weight.weight)

    def forward(self, x: Tensor, cells: Cells) -> Tensor:
        """New features of every node, `[outputs, cell, node, batch]`, from `[inputs, cell, node, batch]`."""
        return convolve(x, cells, self.weight.weight, self.bias)


def convolve(x: Tensor, cells: Cells, weight: Tensor, bias: Tensor) -> Tensor:
    """Graph convolution by given weights, `[outputs, inputs]` and `[outputs]`."""
    h = (weight @ x.flatten(1)).view(-1, 1, *x.shape[1:]).transpose(1, 2)  # [output, cell, 1, source, batch]
    return (h * cells.propagation).sum(3) + bias[:, None, None, None]


def contract(equation: str, left: Tensor, right: Tensor) -> Tensor:
    """`torch.einsum` of two factors; in compiled code, by sums of products that the compiler fuses.

    It would call a library for a batched product, and on graphs so small the call costs more than the
    product does.
    """
    if not torch.compiler.is_compiling():
        return torch.einsum(equation, left, right)
    factors, result = equation.split("->")
    names = result + "".join(sorted(set(factors) - set(result) - {","}))
    wide = []
    for axes, factor in zip(factors.split(","), (left, right), strict=True):
        order = [axes.index(name) for name in names if name in axes]
        shape = [factor.shape[axes.index(name)] if name in axes else 1 for name in names]
        wide.append(factor.permute(order).view(shape))
    return (wide[0] * wide[1]).sum(tuple(range(len(result), len(names))))
