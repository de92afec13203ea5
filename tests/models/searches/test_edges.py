"""How edges are normalised."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from models.searches.edges import EPSILON, MANY, MOMENTUM, EdgeNorm


@pytest.mark.parametrize("weighted", [False, True], ids=["plain", "weighted"])
@pytest.mark.parametrize(
    "shape",
    [(32, 8, 32, 32), (32, 24, 16, 16), (31, 24, 11, 9), (32, 16, 16, 16), (4, 8, 8, 8)],
    ids=["few", "uneven", "odd number of pixels", "full", "small"],
)
def test_a_norm_and_its_gradients_are_those_of_batch_normalisation(
    shape: tuple[int, int, int, int], weighted: bool
) -> None:
    generator = torch.Generator().manual_seed(0)
    # far from zero, as sums of what is far from its mean lose their last digits
    x = 20 + 3 * torch.randn(shape, generator=generator).contiguous(memory_format=torch.channels_last)
    of_out = torch.randn(shape, generator=generator)
    weight = torch.rand(shape[1], generator=generator) if weighted else None
    norm = EdgeNorm(shape[1])

    given = _inputs(x, weight)
    out = norm(*given)
    found = torch.autograd.grad(out, [part for part in given if part is not None], of_out)

    exact = _inputs(x.double(), None if weight is None else weight.double())
    mean, variance = torch.zeros(shape[1]).double(), torch.ones(shape[1]).double()
    wanted_out = F.batch_norm(exact[0], mean, variance, exact[1], None, True, MOMENTUM, EPSILON)
    wanted = torch.autograd.grad(wanted_out, [part for part in exact if part is not None], of_out.double())

    torch.testing.assert_close(out.double(), wanted_out, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(norm.mean.double(), mean, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(norm.variance.double(), variance, rtol=1e-5, atol=1e-5)
    for ours, theirs in zip(found, wanted, strict=True):
        error = (ours.double() - theirs).abs().max() / theirs.abs().max()
        assert error < 1e-4, (ours.shape, float(error))


def test_the_cases_are_on_both_sides_of_what_counts_as_many_numbers() -> None:
    assert 31 * 24 * 11 * 9 >= MANY > 4 * 8 * 8 * 8


def test_a_gradient_that_is_a_part_of_another_is_taken_as_it_is() -> None:
    x = torch.randn(32, 8, 32, 32).contiguous(memory_format=torch.channels_last)
    joined = torch.randn(32, 12, 32, 32).contiguous(memory_format=torch.channels_last)
    grads = []
    for of_out in (joined[:, :8], joined[:, :8].contiguous()):
        leaf = x.clone().requires_grad_()
        grads.append(torch.autograd.grad(EdgeNorm(8)(leaf), leaf, of_out)[0])
    assert torch.equal(*grads)


def _inputs(x: Tensor, weight: Tensor | None) -> tuple[Tensor, Tensor | None]:
    return x.detach().requires_grad_(), None if weight is None else weight.detach().requires_grad_()
