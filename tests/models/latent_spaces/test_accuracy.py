"""Latent spaces that know accuracies."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from sklearn.linear_model import Ridge

from models.errors import LatentError
from models.generation.predictor import normal_scores
from models.genotypes.genotype import random_tensor
from models.genotypes.graph import from_tensor
from models.genotypes.search_space import DARTS
from models.latent_spaces.accuracy import AccuracyFit, WithHeads
from models.latent_spaces.fit import LatentFit
from models.latent_spaces.vgae import PRESETS, VGAE, encode

CPU = torch.device("cpu")
RECIPE = replace(PRESETS["default"], max_epochs=300, random_genotypes=32, early_end=False)
MEMBERS = random_tensor(40, DARTS, torch.Generator().manual_seed(1))
UNSEEN = random_tensor(200, DARTS, torch.Generator().manual_seed(2))


def truth(genotypes: torch.Tensor) -> torch.Tensor:
    """By the separable convolutions of the normal cell, standard normal."""
    separable = (genotypes[:, 0, :, 0] == DARTS.operation("sep_conv_3x3")).sum(1).double()
    noise = torch.randn(len(genotypes), generator=torch.Generator().manual_seed(3)).double()
    return torch.from_numpy(normal_scores((separable + 0.1 * noise).numpy())).float()[:, None]


def nothing_known(genotypes: torch.Tensor) -> torch.Tensor:
    return torch.full((len(genotypes), 1), torch.nan)


def told(fit: LatentFit) -> float:
    """How far the latents of unseen genotypes tell their accuracies, learnt from those of the members."""
    known, unseen = (encode(fit.net, from_tensor(g, DARTS)).flatten(1).numpy() for g in (MEMBERS, UNSEEN))
    predicted = Ridge(alpha=10.0).fit(known, truth(MEMBERS)[:, 0]).predict(unseen)
    return float(spearmanr(predicted, truth(UNSEEN)[:, 0]).statistic)


def trained(fit: LatentFit) -> LatentFit:
    while not fit.done:
        fit.run(lambda: None)
    return fit


def test_latents_of_a_space_that_learns_accuracies_tell_them_better() -> None:
    graph = from_tensor(MEMBERS, DARTS)
    plain = trained(LatentFit(graph, DARTS, RECIPE, 0, CPU))
    recipe = replace(RECIPE, accuracy_weight=1.0)
    taught = AccuracyFit(graph, DARTS, recipe, 0, CPU, truth(MEMBERS), truth)
    first = taught.run(lambda: None)
    trained(taught)
    assert told(taught) > told(plain) + 0.1
    assert set(first.losses) == {"total", "positive", "negative", "edge", "kl", "accuracy"}
    assert taught.members_exact() > 0.9


def test_a_member_without_an_accuracy_is_taught() -> None:
    scores = truth(MEMBERS).repeat(1, 2)
    scores[:30, 0], scores[5:, 1] = torch.nan, torch.nan
    recipe = replace(RECIPE, accuracy_weight=1.0)
    fit = AccuracyFit(
        from_tensor(MEMBERS, DARTS), DARTS, recipe, 0, CPU, scores, lambda g: 7.0 + truth(g).repeat(1, 2)
    )
    assert fit.scores[:30, 0].min() > 3
    assert torch.equal(fit.scores[30:, 0], scores[30:, 0])
    assert torch.equal(fit.scores[:5, 1], scores[:5, 1])


def test_unknown_scores_have_no_part_in_the_loss() -> None:
    heads = WithHeads(VGAE(DARTS, replace(RECIPE, accuracy_weight=1.0)), 1)
    torch.nn.init.normal_(heads.weight, std=0.1)
    fit = AccuracyFit(from_tensor(MEMBERS, DARTS), DARTS, RECIPE, 0, CPU, truth(MEMBERS), nothing_known)
    batch, scores = fit._batch(torch.Generator().manual_seed(0))
    assert scores.isnan().sum() == RECIPE.random_genotypes
    noise = torch.zeros(len(scores), DARTS.nodes, RECIPE.latent_dimension)
    losses = heads((batch, scores), noise)
    assert torch.isfinite(losses.total)
    other = scores.clone()
    other[: len(MEMBERS)] += 1
    assert heads((batch, other), noise).accuracy != losses.accuracy
    unknown = torch.full_like(scores, torch.nan)
    assert heads((batch, unknown), noise).accuracy < 0.1 * losses.accuracy


def test_a_training_goes_on_from_its_state_as_if_never_stopped() -> None:
    def fresh() -> AccuracyFit:
        recipe = replace(RECIPE, accuracy_weight=1.0, max_epochs=4)
        return AccuracyFit(from_tensor(MEMBERS, DARTS), DARTS, recipe, 0, CPU, truth(MEMBERS), truth)

    whole, stopped = fresh(), fresh()
    for fit in (whole, stopped):
        fit.REPORT_EVERY = 2  # type: ignore[misc]
        fit.run(lambda: None)
    resumed = fresh()
    resumed.load_state_dict(stopped.state_dict())
    for fit in (whole, resumed):
        fit.run(lambda: None)
    np.testing.assert_array_equal(whole.vector.numpy(), resumed.vector.numpy())


def test_a_space_without_any_accuracy_is_refused() -> None:
    with pytest.raises(LatentError, match="no accuracy"):
        AccuracyFit(from_tensor(MEMBERS, DARTS), DARTS, RECIPE, 0, CPU, nothing_known(MEMBERS), nothing_known)
