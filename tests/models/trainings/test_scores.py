"""Scores by class, beside scikit-learn on the labels themselves."""

import pytest
import torch
from sklearn.metrics import balanced_accuracy_score, confusion_matrix, f1_score

from models.trainings.retrain import balanced_weights
from models.trainings.scores import scores


def test_scores_are_those_of_scikit_learn() -> None:
    generator = torch.Generator().manual_seed(0)
    true = torch.cat([torch.full((count,), label) for label, count in enumerate((50, 20, 5))])
    given = torch.where(torch.rand(75, generator=generator) < 0.6, true, (true + 1) % 3)
    found = scores(torch.tensor(confusion_matrix(true, given)))
    assert found.balanced_accuracy == pytest.approx(100 * balanced_accuracy_score(true, given))
    assert found.macro_f1 == pytest.approx(100 * f1_score(true, given, average="macro"))
    assert found.confusion == confusion_matrix(true, given).tolist()
    recalls = [100 * float((given[true == label] == label).double().mean()) for label in range(3)]
    assert found.class_accuracies == pytest.approx(recalls)


def test_a_class_without_a_test_image_is_not_scored() -> None:
    # nothing is of class 1, yet one image is given to it: that image is wrong, and class 1 counts in no mean
    found = scores(torch.tensor([[3, 1, 0], [0, 0, 0], [0, 0, 2]]))
    assert found.class_accuracies == [75.0, None, 100.0]
    assert found.balanced_accuracy == pytest.approx(87.5)
    assert found.macro_f1 == pytest.approx(100 * (6 / 7 + 1) / 2)


def test_a_class_that_nothing_is_given_to_has_a_score_of_zero() -> None:
    found = scores(torch.tensor([[4, 0], [2, 0]]))
    assert found.class_accuracies == [100.0, 0.0]
    assert found.macro_f1 == pytest.approx(100 * (0.8 + 0) / 2)


def test_balanced_weights_give_every_class_the_same_sum() -> None:
    labels = torch.tensor([0] * 30 + [1] * 6 + [3] * 4)
    weights = balanced_weights(labels, 5)
    assert weights[2] == weights[4] == 0
    sums = torch.bincount(labels, minlength=5) * weights
    torch.testing.assert_close(sums[[0, 1, 3]], torch.full((3,), 40 / 3))
    assert float(weights[labels].mean()) == pytest.approx(1)
