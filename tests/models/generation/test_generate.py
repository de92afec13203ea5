"""Equation 8, by hand."""

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from models.generation.generate import around, between, generate, near, pack, prior, uniform
from models.genotypes.constraints import Constraints, Range
from models.genotypes.genotype import from_tensor, random_tensor
from models.genotypes.graph import from_tensor as graph_of
from models.genotypes.search_space import DARTS
from models.latent_spaces.vgae import PRESETS, VGAE


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_equation_8_on_a_hand_worked_example() -> None:
    # two nodes, one dimension; the members span [0, 4] and [-1, 1]
    members = torch.tensor([[[0.0], [-1.0]], [[4.0], [1.0]], [[1.0], [0.0]]])
    sample = near(members[2:], members, 0.25, seeded(0))(200)
    # normalised 1/4 and 1/2, moved by 1/4: 0 or 1/2, and 1/4 or 3/4; brought back: 0 or 2, -1/2 or 1/2
    assert set(sample.latents[:, 0, 0].tolist()) == {0.0, 2.0}
    assert set(sample.latents[:, 1, 0].tolist()) == {-0.5, 0.5}
    assert sample.directions is not None
    up = sample.directions[:, 0, 0] > 0
    assert (sample.latents[up, 0, 0] == 2.0).all()
    assert 0.35 < up.float().mean() < 0.65


def test_gamma_0_gives_the_point_itself() -> None:
    members = torch.randn(5, 14, 4, generator=torch.Generator().manual_seed(0))
    assert torch.equal(near(members[1:2], members, 0.0, seeded(1))(3).latents, members[1].expand(3, 14, 4))


def test_a_coordinate_in_which_all_members_agree_stays() -> None:
    members = torch.tensor([[[1.0, 0.0]], [[1.0, 2.0]]])
    assert (near(members[:1], members, 0.5, seeded(0))(10).latents[:, 0, 0] == 1.0).all()


@given(st.integers(0, 2**31 - 1), st.floats(0, 1))
def test_the_same_seed_gives_the_same_latents(seed: int, gamma: float) -> None:
    members = torch.randn(3, 2, 2, generator=torch.Generator().manual_seed(1))
    first, again = (near(members[:1], members, gamma, seeded(seed))(4).latents for _ in range(2))
    assert torch.equal(first, again)
    extent = members.amax(0) - members.amin(0)
    torch.testing.assert_close(
        (first - members[0]).abs(), (gamma * extent).expand(4, 2, 2), atol=1e-5, rtol=1e-4
    )


@given(st.integers(0, 2**31 - 1), st.floats(0.01, 10))
def test_around_moves_every_coordinate_by_deviations_of_its_own_posterior(seed: int, k: float) -> None:
    net = VGAE(DARTS, PRESETS["default"])
    genotypes = random_tensor(2, DARTS, seeded(seed))
    with torch.no_grad():
        mu, logstd = net.encode(graph_of(genotypes, DARTS))
    draw = around(net, mu, genotypes, k, seeded(seed))
    sample, again = draw(3), around(net, mu, genotypes, k, seeded(seed))(3)
    assert torch.equal(sample.latents, again.latents)
    assert sample.points is not None
    assert sample.points.tolist() == [0, 1, 0]
    assert draw(1).points == 1  # where the draw before left off
    assert sample.directions is not None
    expected = mu[[0, 1, 0]] + k * logstd[[0, 1, 0]].exp() * sample.directions
    torch.testing.assert_close(sample.latents, expected)
    assert 0.3 < float((sample.directions > 0).float().mean()) < 0.7


def test_uniform_latents_lie_in_the_box_of_the_members() -> None:
    members = torch.randn(4, 14, 4, generator=torch.Generator().manual_seed(2))
    latents = uniform(members, seeded(3))(1_000).latents
    assert (latents >= members.amin(0)).all()
    assert (latents <= members.amax(0)).all()
    middle = (members.amin(0) + members.amax(0)) / 2
    spread = members.amax(0) - members.amin(0)
    assert ((latents.mean(0) - middle).abs() < 0.05 * spread).all()


def test_prior_latents_are_standard_normal() -> None:
    latents = prior(torch.zeros(2, 14, 4), seeded(0))(2_000).latents
    assert latents.shape == (2_000, 14, 4)
    assert abs(latents.mean()) < 0.02
    assert abs(latents.std() - 1) < 0.02


def test_points_between_are_weighted_means_and_take_turns() -> None:
    ends = torch.tensor([[[0.0, 3.0]], [[4.0, 0.1]]])
    points = between(ends, torch.tensor([[2.0, 0.0], [3.0, 1.0], [0.0, 5.0]]))
    assert torch.equal(points[0], ends[0])
    assert torch.equal(points[2], ends[1])
    torch.testing.assert_close(points[1], torch.tensor([[1.0, 2.275]]))
    draw = near(points, ends, 0.0, seeded(0))
    first, more = draw(2), draw(3)
    assert first.points is not None
    assert more.points is not None
    assert [*first.points.tolist(), *more.points.tolist()] == [0, 1, 2, 0, 1]


@given(st.integers(0, 2**31 - 1))
def test_packed_numbers_are_the_same_exactly_for_equal_genotypes(seed: int) -> None:
    batch = random_tensor(50, DARTS, seeded(seed))
    batch = torch.cat([batch, batch[:10]])
    kinds = {genotype.digest() for genotype in from_tensor(batch, DARTS)}
    assert len(np.unique(pack(batch, DARTS), axis=0)) == len(kinds)


def test_the_figures_of_a_generation_add_up() -> None:
    torch.manual_seed(0)
    net = VGAE(DARTS, PRESETS["default"])
    members = torch.randn(3, 14, net.recipe.latent_dimension)
    known, _ = net.genotypes(members)
    limits = Constraints(operations={"sep_conv_3x3": Range(max=2)})
    found = generate(net, near(members, members, 0.2, seeded(0)), 40, known, limits, unique=True)
    assert len(found.genotypes) == len(found.sample.latents) == 40
    assert found.sampled == 40 + found.duplicates + found.rejected
    assert len(np.unique(pack(torch.cat([found.genotypes, known]), DARTS), axis=0)) == 40 + len(
        np.unique(pack(known, DARTS), axis=0)
    )
    assert limits.met_by(found.genotypes, DARTS).all()
    again, _ = net.genotypes(found.sample.latents)
    assert torch.equal(again, found.genotypes)
    plain = generate(net, near(members, members, 0.0, seeded(0)), 6, known, None, unique=False)
    assert (plain.sampled, plain.duplicates, plain.rejected) == (6, 6, 0)
