"""The ready space is exact for genotypes that it never saw, small, and told how it was made."""

import pytest
import torch

from models.generation.generate import DEVIATIONS, around, generate, near
from models.genotypes.genotype import edits, every, random_tensor, to_tensor
from models.genotypes.graph import from_tensor
from models.genotypes.published import PUBLISHED
from models.genotypes.search_space import (
    DARTS,
    NAS_BENCH_201,
    TRANSNAS_BENCH_101_MICRO,
    SearchSpace,
)
from models.latent_spaces import ready
from models.latent_spaces.vgae import PRESETS, VGAE, decode, encode, spanning


def test_every_genotype_comes_back_exactly() -> None:
    net = ready.load(DARTS)
    drawn = random_tensor(2_000, DARTS, torch.Generator().manual_seed(12345))
    genotypes = torch.cat([drawn, to_tensor([p.genotype for p in PUBLISHED], DARTS)])
    assert torch.equal(decode(net, encode(net, from_tensor(genotypes, DARTS))), genotypes)


def test_the_file_is_small_and_holds_recipe_and_figures() -> None:
    assert ready.path(DARTS).stat().st_size <= 1 << 20
    described = ready.described(DARTS)
    assert described["figures"]["exact"] == 1.0
    assert described["recipe"]["max_epochs"] == described["figures"]["epochs"] == ready.RECIPE.max_epochs


@pytest.mark.parametrize("space", [NAS_BENCH_201, TRANSNAS_BENCH_101_MICRO], ids=lambda space: space.name)
def test_every_genotype_of_a_small_space_comes_back(space: SearchSpace) -> None:
    genotypes, net = every(space), ready.load(space)
    assert len(genotypes) == len(space.operations) ** 6
    assert torch.equal(decode(net, encode(net, from_tensor(genotypes, space))), genotypes)


@pytest.mark.parametrize("space", [NAS_BENCH_201, TRANSNAS_BENCH_101_MICRO], ids=lambda space: space.name)
def test_a_point_of_a_small_space_has_many_neighbours(space: SearchSpace) -> None:
    net = ready.load(space)
    starts = random_tensor(10, space, torch.Generator().manual_seed(3))
    points = encode(net, from_tensor(starts, space))
    few = []
    for start, point in zip(starts, points, strict=True):
        draw = near(point[None], spanning(net, points), space.gamma, torch.Generator().manual_seed(1))
        generated = generate(net, draw, 100, start[None], None, True, start[None])
        few.append(len(generated.genotypes))
        assert generated.edits is not None
        assert 1 <= float(generated.edits.double().mean()) <= 3
    assert sorted(few)[5] >= 80


@pytest.mark.parametrize(
    "space", [DARTS, NAS_BENCH_201, TRANSNAS_BENCH_101_MICRO], ids=lambda space: space.name
)
def test_in_deviations_every_edge_changes_while_equation_8_keeps_the_first_ones(space: SearchSpace) -> None:
    net = ready.load(space)
    starts = random_tensor(100, space, torch.Generator().manual_seed(3))
    points = encode(net, from_tensor(starts, space))
    of_deviations = around(net, points, starts, DEVIATIONS, torch.Generator().manual_seed(1))(4_000)
    of_box = near(points, spanning(net, points), space.gamma, torch.Generator().manual_seed(1))(4_000)
    changed, by_box = (
        (decode(net, sample.latents) != starts[sample.points]).any(-1).float().mean(0)
        for sample in (of_deviations, of_box)
    )
    assert float(by_box[:, 0].max()) < 0.01
    assert float(changed.min()) > float(changed.max()) / 3
    assert 1 <= float(changed.sum()) <= 4


@pytest.mark.parametrize("known", [0, 5, 200])
def test_neighbours_differ_by_few_edges_however_many_genotypes_are_known(known: int) -> None:
    net = ready.load(DARTS)
    starts = random_tensor(100, DARTS, torch.Generator().manual_seed(3))
    points = encode(net, from_tensor(starts, DARTS))
    box = spanning(net, points[:0] if known == 0 else points.repeat(2, 1, 1)[:known])
    sample = near(points, box, DARTS.gamma, torch.Generator().manual_seed(1))(4_000)
    changed = edits(decode(net, sample.latents), starts[sample.points], DARTS)
    assert 2 <= float(changed.double().mean()) <= 4


def test_the_box_is_that_of_members_alone_where_no_random_genotypes_were_trained_on() -> None:
    net = VGAE(DARTS, PRESETS["paper"])
    latents = torch.randn(3, DARTS.nodes, net.recipe.latent_dimension)
    assert spanning(net, latents) is latents
    wide = spanning(ready.load(DARTS), torch.full((1, DARTS.nodes, 10), 1e3))
    assert wide.amax() == 1e3
    assert len(wide) == 1_001
