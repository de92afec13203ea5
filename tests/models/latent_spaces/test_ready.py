"""The ready space is exact for genotypes that it never saw, small, and told how it was made."""

import torch

from models.genotypes.genotype import random_tensor, to_tensor
from models.genotypes.graph import from_tensor
from models.genotypes.published import PUBLISHED
from models.genotypes.search_space import DARTS
from models.latent_spaces import ready
from models.latent_spaces.vgae import decode, encode


def test_every_genotype_comes_back_exactly() -> None:
    net, _ = ready.load(DARTS)
    drawn = random_tensor(2_000, DARTS, torch.Generator().manual_seed(12345))
    genotypes = torch.cat([drawn, to_tensor([p.genotype for p in PUBLISHED], DARTS)])
    assert torch.equal(decode(net, encode(net, from_tensor(genotypes, DARTS))), genotypes)


def test_the_file_is_small_and_holds_recipe_and_figures() -> None:
    assert ready.path(DARTS).stat().st_size <= 1 << 20
    described = ready.described(DARTS)
    assert described["figures"]["exact"] == 1.0
    assert described["recipe"]["max_epochs"] == described["figures"]["epochs"] == ready.RECIPE.max_epochs


def test_its_corners_span_what_random_genotypes_do() -> None:
    net, corners = ready.load(DARTS)
    drawn = random_tensor(1_000, DARTS, torch.Generator().manual_seed(7))
    z = encode(net, from_tensor(drawn, DARTS))
    assert corners.shape == (2, DARTS.nodes, net.recipe.latent_dimension)
    inside = (z >= corners[0]) & (z <= corners[1])
    assert inside.float().mean() > 0.999
