"""Equation 8, by hand."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from models.generate import near, uniform


def test_equation_8_on_a_hand_worked_example() -> None:
    # two nodes, one dimension; the members span [0, 4] and [-1, 1]
    members = torch.tensor([[[0.0], [-1.0]], [[4.0], [1.0]], [[1.0], [0.0]]])
    sample = near(members[2], members, gamma=0.25, count=200, seed=0)
    # normalised 1/4 and 1/2, moved by 1/4: 0 or 1/2, and 1/4 or 3/4; brought back: 0 or 2, -1/2 or 1/2
    assert set(sample.latents[:, 0, 0].tolist()) == {0.0, 2.0}
    assert set(sample.latents[:, 1, 0].tolist()) == {-0.5, 0.5}
    assert sample.directions is not None
    up = sample.directions[:, 0, 0] > 0
    assert (sample.latents[up, 0, 0] == 2.0).all()
    assert 0.35 < up.float().mean() < 0.65


def test_gamma_0_gives_the_point_itself() -> None:
    members = torch.randn(5, 14, 4, generator=torch.Generator().manual_seed(0))
    assert torch.equal(near(members[1], members, 0.0, 3, seed=1).latents, members[1].expand(3, 14, 4))


def test_a_coordinate_in_which_all_members_agree_stays() -> None:
    members = torch.tensor([[[1.0, 0.0]], [[1.0, 2.0]]])
    assert (near(members[0], members, 0.5, 10, seed=0).latents[:, 0, 0] == 1.0).all()


@given(st.integers(0, 2**31 - 1), st.floats(0, 1))
def test_the_same_seed_gives_the_same_latents(seed: int, gamma: float) -> None:
    members = torch.randn(3, 2, 2, generator=torch.Generator().manual_seed(1))
    first, again = (near(members[0], members, gamma, 4, seed).latents for _ in range(2))
    assert torch.equal(first, again)
    extent = members.amax(0) - members.amin(0)
    torch.testing.assert_close(
        (first - members[0]).abs(), (gamma * extent).expand(4, 2, 2), atol=1e-5, rtol=1e-4
    )


def test_uniform_latents_lie_in_the_box_of_the_members() -> None:
    members = torch.randn(4, 14, 4, generator=torch.Generator().manual_seed(2))
    latents = uniform(members, 1_000, seed=3).latents
    assert (latents >= members.amin(0)).all()
    assert (latents <= members.amax(0)).all()
    middle = (members.amin(0) + members.amax(0)) / 2
    spread = members.amax(0) - members.amin(0)
    assert ((latents.mean(0) - middle).abs() < 0.05 * spread).all()
