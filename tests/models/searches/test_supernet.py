"""The fast supernet computes what the textbook one does."""

import pytest
import torch
from torch import Tensor

from models.genotypes.search_space import (
    DARTS,
    NAS_BENCH_201,
    SEARCH_SPACES,
    TRANSNAS_BENCH_101_MICRO,
    SearchSpace,
)
from models.searches.edges import PlainConv, StateEdges
from models.searches.supernet import SUPERNETS, DartsSupernet, ResidualSupernet, SearchCell
from tests.models.searches.plain_supernet import PlainMixedOp, PlainSupernet


def copy_edges(plain: list[PlainMixedOp], ours: StateEdges) -> None:
    """Copies the weights of plain edges that leave one state into ours."""
    names = [name for name in ours.names if name != "none"]
    with torch.no_grad():
        for e, edge in enumerate(plain):
            for name, operation in zip(names, edge.operations, strict=True):
                if name in ours.first:
                    convs = [m for m in operation.modules() if isinstance(m, torch.nn.Conv2d)]
                    folded = [ours.first[name], *([ours.second[name]] if name in ours.second else [])]
                    if isinstance(ours.first[name], PlainConv):
                        ours.first[name].weight[e] = convs[0].weight
                        continue
                    for k, conv in enumerate(folded):
                        conv.depthwise[e] = convs[2 * k].weight[:, 0]
                        conv.pointwise[e] = convs[2 * k + 1].weight[:, :, 0, 0]
                elif name == "skip_connect" and ours.stride == 2:
                    ours.reduce.even[e] = operation.even.weight[:, :, 0, 0]
                    ours.reduce.odd[e] = operation.odd.weight[:, :, 0, 0]


def copy_supernet(plain: PlainSupernet, ours: DartsSupernet) -> None:
    """Copies every weight, alpha and beta of the plain supernet into ours."""
    ours.stem.load_state_dict(plain.stem.state_dict())
    ours.classifier.load_state_dict(plain.classifier.state_dict())
    with torch.no_grad():
        ours.alphas.copy_(plain.alphas)
        ours.betas.copy_(plain.betas)
    for theirs, cell in zip(plain.cells, ours.cells, strict=True):
        cell.preprocess[0].load_state_dict(theirs.preprocess0.state_dict())
        cell.preprocess[1].load_state_dict(theirs.preprocess1.state_dict())
        for rows, edges in zip(cell.leaving, cell.states, strict=True):
            copy_edges([theirs.edges[row] for row in rows], edges)


def relative(ours: Tensor, plain: Tensor) -> float:
    return float((ours - plain).detach().norm() / plain.detach().norm())


def pair(
    size: int, cells: int, large_stem: bool = False
) -> tuple[PlainSupernet, DartsSupernet, Tensor, Tensor]:
    torch.manual_seed(0)
    plain = PlainSupernet(DARTS, 3, 10, 16, cells, 4, large_stem)
    with torch.no_grad():  # away from the flat start, where errors of betas would hide
        plain.alphas.normal_()
        plain.betas.normal_()
    ours = DartsSupernet(DARTS, 3, 10, 16, cells, 4, large_stem)
    copy_supernet(plain, ours)
    return plain, ours, torch.randn(8, 3, size, size), torch.randint(10, (8,))


@pytest.mark.parametrize(
    ("size", "dtype", "tolerance", "large_stem"),
    [
        (16, torch.float32, 1e-4, False),
        # in single precision a rounding that crosses a kink of ReLU or max pooling moves a gradient by
        # far more than itself, and odd sizes have such a crossing; in double they agree to the last digits
        (16, torch.float64, 1e-9, False),
        (14, torch.float64, 1e-9, False),
        (9, torch.float64, 1e-9, False),
        (96, torch.float64, 1e-9, True),
        (73, torch.float64, 1e-9, True),
    ],
)
def test_outputs_and_gradients_equal_the_plain_supernet(
    size: int, dtype: torch.dtype, tolerance: float, large_stem: bool
) -> None:
    plain, ours, images, labels = pair(size, 5, large_stem)
    plain, ours, images = plain.to(dtype), ours.to(dtype), images.to(dtype)
    logits, expected = ours(images), plain(images)
    assert relative(logits, expected) < tolerance
    torch.nn.functional.cross_entropy(logits, labels).backward()
    torch.nn.functional.cross_entropy(expected, labels).backward()
    assert relative(ours.alphas.grad, plain.alphas.grad) < tolerance
    assert relative(ours.betas.grad, plain.betas.grad) < tolerance
    # a gradient copied by the same map as the weights must land on our gradient
    mirror = DartsSupernet(DARTS, 3, 10, 16, 5, 4, large_stem).to(dtype)
    for p in plain.parameters():
        p.data = p.grad
    copy_supernet(plain, mirror)
    grads = torch.cat([p.grad.flatten() for p in ours.weights()])
    expected_grads = torch.cat([p.detach().flatten() for p in mirror.weights()])
    assert relative(grads, expected_grads) < tolerance
    for (name, parameter), reference in zip(ours.named_parameters(), mirror.parameters(), strict=True):
        assert relative(parameter.grad, reference) < 10 * tolerance, name


def test_evaluation_uses_the_running_statistics() -> None:
    plain, ours, images, _ = pair(16, cells=3)
    for _ in range(3):
        ours(images), plain(images)
    assert relative(ours.eval()(images), plain.eval()(images)) < 1e-4


@pytest.mark.parametrize(
    ("space", "stride"),
    [(DARTS, 1), (DARTS, 2), (NAS_BENCH_201, 1), (NAS_BENCH_201, 2), (TRANSNAS_BENCH_101_MICRO, 1)],
)
def test_one_state_equals_its_plain_edges(space: SearchSpace, stride: int) -> None:
    torch.manual_seed(1)
    plain = [PlainMixedOp(space, 16, stride, 4) for _ in range(3)]
    ours = StateEdges(space, 3, 16, stride, 4)
    copy_edges(plain, ours)
    x, weights = torch.randn(4, 16, 10, 10), torch.rand(3, len(space.operations))
    mixed, rest = ours(x, weights)
    for e, edge in enumerate(plain):
        expected = edge(x, weights[e])
        joined = torch.stack([mixed.chunk(3, dim=1)[e], *rest.chunk(3, dim=1)], dim=2).flatten(1, 2)
        assert relative(joined, expected) < 1e-5


def test_a_cell_that_keeps_all_edges_sums_them_into_every_node() -> None:
    torch.manual_seed(2)
    space = NAS_BENCH_201
    cell = SearchCell(space, 16, False, 4).double()
    plain = [PlainMixedOp(space, 16, 1, 4).double() for _ in space.edges]
    for rows, edges in zip(cell.leaving, cell.states, strict=True):
        copy_edges([plain[row] for row in rows], edges)
    x = torch.randn(4, 16, 9, 9, dtype=torch.float64)
    weights, betas = torch.rand(6, 5, dtype=torch.float64), torch.rand(6, dtype=torch.float64)
    states = [x]
    for node in space.choosing:
        into = [row for row, (_, target) in enumerate(space.edges) if target == node]
        states.append(sum(betas[r] * plain[r](states[space.edges[r][0]], weights[r]) for r in into))
    assert relative(cell([x], weights, betas), states[-1]) < 1e-9


@pytest.mark.parametrize(("size", "large_stem"), [(8, False), (9, False), (64, True)])
def test_the_residual_supernet_halves_images_between_its_stages(size: int, large_stem: bool) -> None:
    torch.manual_seed(3)
    net = ResidualSupernet(NAS_BENCH_201, 3, 7, 8, 6, 4, large_stem)
    seen: list[tuple[int, ...]] = []
    for cell in net.cells:
        cell.register_forward_hook(lambda _, __, out: seen.append(tuple(out.shape[1:])))
    logits = net(torch.randn(2, 3, size, size))
    assert logits.shape == (2, 7)
    first = size // 8 if large_stem else size
    half = (first + 1) // 2
    quarter = (half + 1) // 2
    assert [shape[0] for shape in seen] == [8, 8, 16, 16, 32, 32]
    assert [shape[1] for shape in seen] == [first, first, half, half, quarter, quarter]
    logits.sum().backward()
    assert net.alphas.grad is not None
    assert net.alphas.grad.abs().sum((0, 1)).count_nonzero() == 5  # none too, through the softmax


@pytest.mark.parametrize("space", SEARCH_SPACES.values(), ids=list(SEARCH_SPACES))
def test_every_weight_of_a_supernet_has_a_gradient(space: SearchSpace) -> None:
    torch.manual_seed(4)
    net = SUPERNETS[space.network](space, 1, 10, 8, 3, 4)
    torch.nn.functional.cross_entropy(net(torch.randn(4, 1, 8, 8)), torch.arange(4)).backward()
    assert all(parameter.grad is not None for parameter in net.parameters())
    assert net.continuous().space == space


def test_edge_weights_sum_to_one_into_each_node() -> None:
    weights = DartsSupernet(DARTS, 1, 10, 8, 3, 4).edge_weights()
    for part in weights.split([2, 3, 4, 5], dim=1):
        torch.testing.assert_close(part.sum(dim=1), torch.ones(2))
