"""Predicting accuracies: better than size where something is known, and silent where nothing is."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import spearmanr
from sklearn.linear_model import Ridge
from sklearn.model_selection import LeaveOneOut, cross_val_predict

from models.generation.features import features, operations
from models.generation.predictor import MODELS, PredictorError, fit, normal_scores, select
from models.genotypes.agreement import agreement
from models.genotypes.genotype import random_tensor
from models.genotypes.search_space import DARTS
from models.genotypes.size import count_parameters

GENOTYPES = random_tensor(400, DARTS, torch.Generator().manual_seed(3))
FEATURES = features(GENOTYPES, DARTS)
OPERATIONS = operations(GENOTYPES, DARTS)
SEPARABLE = DARTS.operation("sep_conv_3x3"), DARTS.operation("sep_conv_5x5")


def accuracies(noise: float = 0.2) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Percent: by separable convolutions of the normal cell, and by skip connections at the first node."""
    operation = GENOTYPES[:, 0, :, 0]
    separable = sum((operation == index).sum(1) for index in SEPARABLE)
    first = (operation[:, :2] == DARTS.operation("skip_connect")).sum(1)
    drawn = torch.randn(len(operation), generator=torch.Generator().manual_seed(4))
    return np.asarray((90 + separable - 0.7 * first + noise * drawn).double().numpy())


def test_predictions_rank_what_was_not_seen_and_better_than_size() -> None:
    known, unseen = np.arange(60), np.arange(60, 400)
    found = fit(FEATURES[known], accuracies()[known])
    found.require_order()
    predicted = found.predict(FEATURES[unseen])
    reached = spearmanr(predicted.scores, accuracies()[unseen]).statistic
    by_size = spearmanr(count_parameters(GENOTYPES[unseen], DARTS), accuracies()[unseen]).statistic
    assert reached > max(0.7, by_size)
    # what cross-validation says of it is about what it does
    assert abs(found.agreement.spearman - reached) < 0.2
    assert (np.argsort(predicted.scores) == np.argsort(predicted.mean, kind="stable")).mean() > 0.9


def test_orders_for_another_data_set_leave_sizes_out_and_average_with_ridge_on_operations() -> None:
    known, unseen = np.arange(60), np.arange(60, 400)
    truth = accuracies()[known]
    found = fit(FEATURES[known], truth, OPERATIONS[known])
    assert not found.sized
    assert found.plain is not None
    assert found.plain.weight == pytest.approx(50 / 110)
    ridge = Ridge(alpha=3.0)
    standard = (truth - truth.mean()) / truth.std()
    plain = ridge.fit(OPERATIONS[known], standard).predict(OPERATIONS[unseen])
    form, _ = select(FEATURES[known], normal_scores(truth), (False,)).predict(FEATURES[unseen])
    predicted = found.predict(FEATURES[unseen], OPERATIONS[unseen])
    averaged = 60 / 110 * form + 50 / 110 * plain
    np.testing.assert_allclose(predicted.scores, averaged, atol=0.01)  # all but free is not free
    assert spearmanr(predicted.scores, accuracies()[unseen]).statistic > 0.6


def test_what_is_left_out_of_an_order_for_another_data_set_has_no_part_in_it() -> None:
    truth = accuracies()[:20]
    found = fit(FEATURES[:20], truth, OPERATIONS[:20])
    assert found.plain is not None
    held = cross_val_predict(
        Ridge(alpha=3.0), OPERATIONS[:20], (truth - truth.mean()) / truth.std(), cv=LeaveOneOut()
    )
    form = select(FEATURES[:20], normal_scores(truth), (False,)).scores
    expected = agreement(found.plain.mixed(form, held), truth)
    assert expected is not None
    assert found.agreement.spearman == pytest.approx(expected.spearman, abs=0.03)


def test_intervals_hold_what_they_promise() -> None:
    known, unseen = np.arange(100), np.arange(100, 400)
    predicted = fit(FEATURES[known], accuracies()[known]).predict(FEATURES[unseen])
    inside = np.abs(predicted.mean - accuracies()[unseen]) < 1.96 * predicted.deviation
    assert 0.85 < inside.mean() <= 1.0
    assert (predicted.deviation > 0).all()


def test_predictions_stay_in_percent_beyond_the_known_ones() -> None:
    truth = accuracies(noise=0.0)
    known = np.argsort(truth)[:200]
    predicted = fit(FEATURES[known], truth[known]).predict(FEATURES)
    assert predicted.mean.max() > truth[known].max()
    assert 0 <= predicted.mean.min() <= predicted.mean.max() <= 100
    near_all = np.where(accuracies() > 93, 99.99, 99.9)
    assert fit(FEATURES, near_all).predict(FEATURES).mean.max() <= 100


def test_accuracies_without_an_order_are_not_ranked() -> None:
    drawn = np.random.default_rng(0).uniform(80, 90, 30)
    with pytest.raises(PredictorError, match=r"may be none"):
        fit(FEATURES[:30], drawn).require_order()


@pytest.mark.parametrize(
    ("known", "message"),
    [
        ([], "0 genotypes"),
        ([90.0, 91, 92, 93, 94, 95, 96], "7 genotypes"),
        ([90.0] * 20, "all 20 evaluated genotypes have one accuracy"),
    ],
)
def test_too_little_is_refused(known: list[float], message: str) -> None:
    with pytest.raises(PredictorError, match=message):
        fit(FEATURES[: len(known)], np.array(known))


def test_one_genotype_many_times_tells_nothing() -> None:
    with pytest.raises(PredictorError):
        fit(np.repeat(FEATURES[:1], 9, axis=0), np.arange(90.0, 99.0)).require_order()


def test_the_model_that_agrees_most_is_taken() -> None:
    known = np.arange(80)
    found = fit(FEATURES[known], accuracies()[known])
    again = fit(FEATURES[known], accuracies()[known])
    assert found.name in MODELS
    assert found.agreement == again.agreement
    np.testing.assert_array_equal(found.predict(FEATURES).scores, again.predict(FEATURES).scores)


@given(st.lists(st.floats(0, 100), min_size=2, max_size=40))
def test_scores_keep_the_order(values: list[float]) -> None:
    scores = normal_scores(np.array(values))
    assert np.isfinite(scores).all()
    for first, value in zip(scores, values, strict=True):
        for second, other in zip(scores, values, strict=True):
            assert (first < second) == (value < other)


@given(st.lists(st.floats(-1, 1), min_size=8, max_size=30, unique=True))
def test_an_agreement_lies_in_its_interval(values: list[float]) -> None:
    for other in (values, values[::-1], [-value for value in values]):
        found = agreement(values, other)
        assert found is not None
        assert -1 <= found.low <= found.spearman + 1e-4
        assert found.spearman - 1e-4 <= found.high <= 1
    assert agreement(values[:7], values[:7]) is None
    assert agreement(values, [0.5] * len(values)) is None
