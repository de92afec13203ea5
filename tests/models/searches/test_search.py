"""Searches: what they read, what they train, and that they resume bit for bit."""

import copy
from dataclasses import replace

import pytest
import torch

from models.datasets.data import DataError, ImageData
from models.datasets.sources import load_digits, resident
from models.errors import NonFiniteLoss
from models.genotypes.search_space import DARTS, NAS_BENCH_201, SearchSpace
from models.precision import Precision
from models.searches.search import METHODS, RECIPES, PCDARTSSearch, RandomSearch, SearchRecipe

CPU = torch.device("cpu")
TINY = replace(
    RECIPES["quick"], channels=8, cells=2, epochs=3, warmup_epochs=1, batch_size=32, train_images=128
)


def images_like(channels: int, size: int, train: int, classes: int = 10) -> ImageData:
    """Noise in the form of a data set."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(256, (train, channels, size, size), generator=generator, dtype=torch.uint8)
    labels = torch.arange(train) % classes
    return resident(images, labels, images[:classes], labels[:classes], tuple(map(str, range(classes))))


def nothing() -> None:
    pass


def search(recipe: SearchRecipe = TINY, seed: int = 1, data: ImageData | None = None) -> PCDARTSSearch:
    return PCDARTSSearch(data or load_digits(), DARTS, recipe, seed, CPU)


def test_the_paper_recipe_is_its_table_1() -> None:
    recipe = RECIPES["paper-small"]
    assert (recipe.channels, recipe.cells, recipe.epochs, recipe.batch_size) == (16, 8, 50, 256)
    assert (recipe.learning_rate, recipe.momentum, recipe.weight_decay) == (0.1, 0.9, 3e-4)
    assert (recipe.alpha_learning_rate, recipe.alpha_beta1, recipe.alpha_beta2) == (3e-4, 0.5, 0.999)
    assert (recipe.alpha_weight_decay, recipe.gradient_clip, recipe.warmup_epochs) == (1e-3, 5.0, 15)
    assert (recipe.crop_padding, recipe.flip, recipe.partial) == (4, True, 4)


def test_large_images_are_searched_through_the_large_stem() -> None:
    recipe = replace(TINY, batch_size=8, epochs=1, warmup_epochs=0, train_images=16)
    running = search(recipe, data=images_like(3, 96, 16, classes=2))
    assert running.net.large_stem
    assert running.run(nothing).loss > 0
    assert not search(replace(recipe, stem="small"), data=images_like(3, 96, 16, 2)).net.large_stem


def test_the_halves_are_disjoint_and_hold_no_test_image() -> None:
    digits = load_digits()
    running = search(replace(TINY, train_images=None), data=digits)
    halves = [
        {image.numpy().tobytes() for image in half.images}
        for half in (running.weight_half, running.alpha_half)
    ]
    train = {image.numpy().tobytes() for image in digits.train.images}
    assert halves[0] | halves[1] == train
    assert len(running.weight_half) + len(running.alpha_half) == len(digits.train.images)
    only_test = {image.numpy().tobytes() for image in digits.test.images} - train
    assert not only_test & (halves[0] | halves[1])


def test_the_architecture_rests_while_the_weights_warm_up() -> None:
    running = search()
    before = running.net.alphas.detach().clone()
    running.run(nothing)
    assert torch.equal(running.net.alphas, before)
    running.run(nothing)
    assert not torch.equal(running.net.alphas, before)


def test_the_learning_rate_falls_to_zero() -> None:
    running = search()
    rates = []
    while running.epoch < running.epochs:
        rates.append(running.weight_optimizer.param_groups[0]["lr"])
        running.run(nothing)
    assert rates == sorted(rates, reverse=True)
    assert running.weight_optimizer.param_groups[0]["lr"] == pytest.approx(0, abs=1e-9)


def test_a_resumed_search_ends_bit_for_bit_as_one_that_was_never_stopped() -> None:
    whole = search()
    whole.run(nothing)
    state = copy.deepcopy(whole.state_dict())
    resumed = search()
    resumed.load_state_dict(state)
    for running in (whole, resumed):
        while running.epoch < running.epochs:
            running.run(nothing)
    assert torch.equal(whole.net.alphas, resumed.net.alphas)
    assert torch.equal(whole.net.betas, resumed.net.betas)
    assert whole.genotype() == resumed.genotype()


@pytest.mark.parametrize(
    ("space", "precision"), [(DARTS, "float32"), (DARTS, "bfloat16"), (NAS_BENCH_201, "float32")]
)
def test_checkpointed_activations_give_the_same_search_bit_for_bit(
    space: SearchSpace, precision: Precision
) -> None:
    ends = []
    for checkpointing in (False, True):
        recipe = replace(TINY, epochs=2, activation_checkpointing=checkpointing, precision=precision)
        running = PCDARTSSearch(load_digits(), space, recipe, 1, CPU)
        reports = [running.run(nothing) for _ in range(2)]
        ends.append((reports, running.net.state_dict()))
    (reports, plain), (others, checkpointed) = ends
    assert others == reports
    assert all(torch.equal(plain[name], value) for name, value in checkpointed.items())


def kept_bytes(running: PCDARTSSearch) -> int:
    """The memory that a search keeps of one batch for its gradient."""
    storages: dict[int, int] = {}

    def keep(x: torch.Tensor) -> torch.Tensor:
        storages[x.untyped_storage().data_ptr()] = x.untyped_storage().nbytes()
        return x

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda x: x):
        assert running._logits(torch.randn(16, 1, 16, 16)).requires_grad
    return sum(storages.values())


def test_bfloat16_searches_nearly_the_same_in_less_memory() -> None:
    exact, near = (search(replace(TINY, cells=5, precision=name)) for name in ("float32", "bfloat16"))
    assert kept_bytes(near) < 0.65 * kept_bytes(exact)
    for _ in range(TINY.epochs):
        expected, found = exact.run(nothing).loss, near.run(nothing).loss
        assert found != expected
        assert found == pytest.approx(expected, rel=0.05)
    assert {parameter.dtype for parameter in near.net.parameters()} == {torch.float32}


def test_checkpointed_activations_keep_a_fraction_of_the_memory() -> None:
    kept = [
        kept_bytes(search(replace(TINY, cells=5, activation_checkpointing=checkpointing)))
        for checkpointing in (True, False)
    ]
    assert kept[0] < kept[1] / 4


def test_two_seeds_search_differently_and_one_seed_the_same() -> None:
    alphas = []
    for seed in (1, 1, 2):
        running = search(seed=seed)
        running.run(nothing)
        running.run(nothing)
        alphas.append(running.net.alphas.detach())
    assert torch.equal(alphas[0], alphas[1])
    assert not torch.equal(alphas[0], alphas[2])


def test_an_epoch_reports_what_happened() -> None:
    running = search()
    epoch = running.run(nothing)
    assert epoch.epoch == 1
    assert 0 <= epoch.accuracy <= 100
    assert epoch.entropy == pytest.approx(2.0794, abs=1e-3)  # ln 8: alphas start flat
    assert epoch.skip_connections == running.genotype().count("skip_connect")


def test_what_is_raised_between_steps_stops_the_epoch() -> None:
    def stop() -> None:
        raise KeyboardInterrupt

    running = search()
    with pytest.raises(KeyboardInterrupt):
        running.run(stop)
    assert running.epoch == 0


def test_a_loss_that_is_not_finite_names_the_epoch() -> None:
    running = search()
    with torch.no_grad():
        running.net.classifier.weight.fill_(float("inf"))
    with pytest.raises(NonFiniteLoss, match="epoch 1"):
        running.run(nothing)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"batch_size": 1_000}, "at least 2000"),
        ({"channels": 10}, "multiple of partial"),
        ({"cells": 8, "image": 2}, "too small"),
        ({"classes": 1}, "at least 2"),
    ],
)
def test_data_that_does_not_suit_is_refused(change: dict[str, int], message: str) -> None:
    digits = load_digits()
    if size := change.pop("image", None):
        digits = replace(digits, image_size=size)
    if count := change.pop("classes", None):
        digits = replace(digits, classes=digits.classes[:count])
    with pytest.raises(DataError, match=message):
        search(replace(TINY, **change), data=digits)


def test_random_search_is_another_method_of_the_same_interface() -> None:
    assert METHODS["random"] is RandomSearch
    found = [RandomSearch(None, DARTS, TINY, seed, CPU) for seed in (1, 1, 2)]
    assert [f.run(nothing).epoch for f in found] == [1, 1, 1]
    assert found[0].genotype() == found[1].genotype() != found[2].genotype()
