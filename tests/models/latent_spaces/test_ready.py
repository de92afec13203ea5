"""The ready space is exact for genotypes that it never saw, small, and told how it was made."""

import pytest
import torch

from app.generation.schemas import DEFAULT_GAMMA
from models.generation.generate import near
from models.genotypes.genotype import edits, random_tensor, to_tensor
from models.genotypes.graph import from_tensor
from models.genotypes.published import PUBLISHED
from models.genotypes.search_space import DARTS
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


@pytest.mark.parametrize("known", [0, 5, 200])
def test_neighbours_differ_by_few_edges_however_many_genotypes_are_known(known: int) -> None:
    net = ready.load(DARTS)
    starts = random_tensor(100, DARTS, torch.Generator().manual_seed(3))
    points = encode(net, from_tensor(starts, DARTS))
    box = spanning(net, points[:0] if known == 0 else points.repeat(2, 1, 1)[:known])
    sample = near(points, box, DEFAULT_GAMMA, torch.Generator().manual_seed(1))(4_000)
    changed = edits(decode(net, sample.latents), starts[sample.points], DARTS)
    assert 2 <= float(changed.double().mean()) <= 4


def test_the_box_is_that_of_members_alone_where_no_random_genotypes_were_trained_on() -> None:
    net = VGAE(DARTS, PRESETS["paper"])
    latents = torch.randn(3, DARTS.nodes, net.recipe.latent_dimension)
    assert spanning(net, latents) is latents
    wide = spanning(ready.load(DARTS), torch.full((1, DARTS.nodes, 10), 1e3))
    assert wide.amax() == 1e3
    assert len(wide) == 1_001
