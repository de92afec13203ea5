"""Latent spaces: exact members, legal decoding, resuming, maps."""

import copy

import pytest
import torch

from models import graph
from models.genotype import from_tensor, random_tensor, to_tensor
from models.latent import LatentError, LatentFit, decode, encode, project
from models.published import PUBLISHED
from models.search_space import DARTS
from models.vgae import PRESETS, VGAE, LatentRecipe

CPU = torch.device("cpu")
SHORT = LatentRecipe(max_epochs=1_000, positions=True, incoming=True, directed=True, exclusive=True)


def fit(count: int, recipe: LatentRecipe, seed: int = 2024) -> LatentFit:
    members = random_tensor(count, DARTS, torch.Generator().manual_seed(0))
    return LatentFit(graph.from_tensor(members, DARTS), DARTS, recipe, seed, CPU)


def nothing() -> None:
    pass


def test_the_default_preset_gives_every_published_genotype_back() -> None:
    members = to_tensor([p.genotype for p in PUBLISHED], DARTS)
    space = LatentFit(graph.from_tensor(members, DARTS), DARTS, PRESETS["default"], 2024, CPU)
    while not space.done:
        report = space.run(nothing)
    assert report.members_exact == 1.0
    assert space.epoch < PRESETS["default"].max_epochs  # it ended early
    assert from_tensor(decode(space.net, space.latents()[0]), DARTS) == [p.genotype for p in PUBLISHED]


@pytest.mark.parametrize("preset", list(PRESETS))
def test_ten_thousand_random_latents_decode_to_legal_genotypes(preset: str) -> None:
    torch.manual_seed(1)
    net = VGAE(DARTS, PRESETS[preset])
    operation, predecessor = decode(net, 3 * torch.randn(10_000, 14, 4)).unbind(-1)
    assert (operation > 0).all()
    assert (predecessor[..., 0] < predecessor[..., 1]).all()
    assert (predecessor[..., 1] < torch.arange(2, 6)).all()


def test_a_resumed_training_ends_bit_for_bit_as_one_that_was_never_stopped() -> None:
    whole = fit(5, SHORT)
    whole.run(nothing)
    state = copy.deepcopy(whole.state_dict())
    resumed = fit(5, SHORT)
    resumed.load_state_dict(state)
    whole.run(nothing)
    resumed.run(nothing)
    assert torch.equal(whole.latents()[0], resumed.latents()[0])


def test_the_latent_of_a_member_is_what_encoding_it_gives() -> None:
    space = fit(4, SHORT)
    space.run(nothing)
    torch.testing.assert_close(encode(space.net, space.graph), space.latents()[0])


def test_what_is_raised_between_epochs_stops_the_training() -> None:
    def stop() -> None:
        raise KeyboardInterrupt

    space = fit(3, SHORT)
    with pytest.raises(KeyboardInterrupt):
        space.run(stop)
    assert space.epoch == 0


def test_one_member_is_too_few() -> None:
    with pytest.raises(LatentError, match="at least 2"):
        fit(1, SHORT)


def test_pca_explains_variance_and_tsne_needs_points() -> None:
    z = torch.randn(12, 14, 4, generator=torch.Generator().manual_seed(0))
    pca = project(z, "pca")
    assert len(pca.points) == 12
    assert pca.explained_variance is not None
    assert 0 < pca.explained_variance[1] <= pca.explained_variance[0] < 1
    assert project(z, "tsne").points == project(z, "tsne").points
    with pytest.raises(LatentError, match="needs at least"):
        project(z[:3], "tsne")
