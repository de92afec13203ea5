"""Retrained networks learn, resume, and beat a linear classifier."""

import copy
from dataclasses import replace

import pytest
import torch
from sklearn.linear_model import LogisticRegression

from models.data import DataError
from models.published import PUBLISHED
from models.retrain import RECIPES, Training
from models.search_space import DARTS
from models.sources import load_digits

CPU = torch.device("cpu")
TINY = replace(RECIPES["quick"], channels=4, cells=2, epochs=3, train_images=200)


def nothing() -> None:
    pass


@pytest.mark.parametrize("name", ["PC-DARTS-CIFAR", "DARTS-V1"])
def test_the_quick_recipe_beats_logistic_regression_on_digits(name: str) -> None:
    digits = load_digits()
    flat = [images.flatten(1).numpy() / 255 for images in (digits.train.images, digits.test.images)]
    linear = LogisticRegression(max_iter=2_000).fit(flat[0], digits.train.labels.numpy())
    baseline = 100 * linear.score(flat[1], digits.test.labels.numpy())
    genotype = next(p.genotype for p in PUBLISHED if p.name == name)
    training = Training(genotype, DARTS, digits, RECIPES["quick"], 0, CPU)
    while training.epoch < training.recipe.epochs:
        epoch = training.run_epoch(nothing)
    assert epoch.test_accuracy > baseline  # the last epoch, not the best of many
    assert baseline > 90


@pytest.mark.parametrize("change", [{}, {"drop_path": 0.3, "auxiliary": True}])
def test_a_resumed_training_ends_bit_for_bit_as_one_that_was_never_stopped(change: dict[str, object]) -> None:
    def start() -> Training:
        return Training(PUBLISHED[5].genotype, DARTS, load_digits(), replace(TINY, **change), 3, CPU)

    whole, resumed = start(), start()
    whole.run_epoch(nothing)
    resumed.load_state_dict(copy.deepcopy(whole.state_dict()))
    ends = []
    for training in (whole, resumed):
        while training.epoch < training.recipe.epochs:
            epoch = training.run_epoch(nothing)
        ends.append((epoch, training.net.classifier.weight.detach().clone()))
    assert ends[0][0] == ends[1][0]
    assert torch.equal(ends[0][1], ends[1][1])


def test_size_and_macs_are_those_of_the_network_in_use() -> None:
    plain = Training(PUBLISHED[0].genotype, DARTS, load_digits(), TINY, 0, CPU)
    with_head = Training(PUBLISHED[0].genotype, DARTS, load_digits(), replace(TINY, auxiliary=True), 0, CPU)
    assert plain.parameters() == with_head.parameters() == sum(p.numel() for p in plain.net.parameters())
    assert plain.macs() == with_head.macs() > 0


def test_images_that_are_too_small_are_refused() -> None:
    digits = load_digits()
    tiny = replace(digits, image_size=2)
    with pytest.raises(DataError, match="too small"):
        Training(PUBLISHED[0].genotype, DARTS, tiny, RECIPES["quick"], 0, CPU)
