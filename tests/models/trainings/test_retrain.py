"""Retrained networks learn, resume, and beat a linear classifier."""

import copy
from dataclasses import replace
from pathlib import Path

import pytest
import safetensors.torch
import torch
import torchvision.models
from sklearn.linear_model import LogisticRegression

from models.datasets.data import DataError, ImageData
from models.datasets.sources import load_digits, resident
from models.genotypes.published import PUBLISHED
from models.trainings.reference import REFERENCES, Reference, load_weights
from models.trainings.retrain import RECIPES, Build, Training, TrainRecipe, of_genotype, of_reference

CPU = torch.device("cpu")
TINY = replace(RECIPES["quick"], channels=4, cells=2, epochs=3, train_images=200)


def nothing() -> None:
    pass


def published(position: int, recipe: TrainRecipe) -> Build:
    return of_genotype(PUBLISHED[position].genotype, recipe)


def test_the_quick_recipe_beats_logistic_regression_on_digits() -> None:
    digits = load_digits()
    flat = [images.flatten(1).numpy() / 255 for images in (digits.train.images, digits.test.images)]
    linear = LogisticRegression(max_iter=2_000).fit(flat[0], digits.train.labels.numpy())
    baseline = 100 * linear.score(flat[1], digits.test.labels.numpy())
    genotype = next(p.genotype for p in PUBLISHED if p.name == "DARTS-V1")
    training = Training(of_genotype(genotype, RECIPES["quick"]), digits, RECIPES["quick"], 0, CPU)
    while training.epoch < training.recipe.epochs:
        epoch = training.run(nothing)
    assert epoch.test_accuracy > baseline  # the last epoch, not the best of many
    assert baseline > 90


@pytest.mark.parametrize(
    "change",
    [{}, {"drop_path": 0.3, "auxiliary": True}, {"cutout": 4, "colour_jitter": 0.4, "precision": "bfloat16"}],
)
def test_a_resumed_training_ends_bit_for_bit_as_one_that_was_never_stopped(change: dict[str, object]) -> None:
    def start() -> Training:
        recipe = replace(TINY, **change)
        return Training(published(5, recipe), load_digits(), recipe, 3, CPU)

    whole, resumed = start(), start()
    whole.run(nothing)
    resumed.load_state_dict(copy.deepcopy(whole.state_dict()))
    ends = []
    for training in (whole, resumed):
        while training.epoch < training.recipe.epochs:
            epoch = training.run(nothing)
        ends.append((epoch, training.net.classifier.weight.detach().clone()))
    assert ends[0][0] == ends[1][0]
    assert torch.equal(ends[0][1], ends[1][1])


def test_size_and_macs_are_those_of_the_network_in_use() -> None:
    head = replace(TINY, auxiliary=True)
    plain, with_head = (
        Training(published(0, recipe), load_digits(), recipe, 0, CPU) for recipe in (TINY, head)
    )
    assert plain.parameters() == with_head.parameters() == sum(p.numel() for p in plain.net.parameters())
    assert plain.macs() == with_head.macs() > 0


def test_images_that_are_too_small_are_refused() -> None:
    digits = load_digits()
    tiny = replace(digits, image_size=2)
    with pytest.raises(DataError, match="too small"):
        Training(published(0, RECIPES["quick"]), tiny, RECIPES["quick"], 0, CPU)


def photographs(size: int, images: int) -> ImageData:
    """Two classes of large colour images: a bright disc on noise, to the left or to the right."""
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(100, (images, 3, size, size), generator=generator, dtype=torch.uint8)
    labels = torch.arange(images) % 2
    half = size // 2
    for image, label in zip(pixels, labels.tolist(), strict=True):
        left = label * half + half // 4
        image[:, size // 4 : size // 2, left : left + half // 2] += 150
    split = 3 * images // 4
    return resident(pixels[:split], labels[:split], pixels[split:], labels[split:], ("left", "right"))


def test_images_of_224_pixels_are_trained_through_the_large_stem() -> None:
    recipe = replace(
        TINY, channels=8, cells=3, epochs=6, batch_size=10, learning_rate=0.1, validation_share=0.0
    )
    training = Training(published(1, recipe), photographs(224, 40), recipe, 0, CPU)
    assert training.net.large_stem
    first = training.net.cells[0].register_forward_hook(
        lambda _, inputs, out: sides.append((inputs[0][0].shape[-1], out.shape[-1]))
    )
    sides: list[tuple[int, int]] = []
    losses = [training.run(nothing).loss for _ in range(6)]
    first.remove()
    assert set(sides) == {(28, 28)}
    assert losses[-1] < 0.7 * losses[0]
    small = replace(recipe, stem="small")
    assert not Training(published(1, small), photographs(224, 4), small, 0, CPU).net.large_stem


def test_the_validation_split_is_held_out_of_the_training_split() -> None:
    recipe = replace(TINY, validation_share=0.2, epochs=1)
    training = Training(published(0, recipe), load_digits(), recipe, 0, CPU)
    assert (len(training.data.train), len(training.validation)) == (160, 40)
    kept = {image.numpy().tobytes() for image in training.data.train.images}  # type: ignore[attr-defined]
    held = {image.numpy().tobytes() for image in training.validation.images}  # type: ignore[attr-defined]
    assert not kept & held
    assert 0 <= (training.run(nothing).validation_accuracy or -1) <= 100
    whole = replace(recipe, validation_share=0.0)
    assert (
        Training(published(0, whole), load_digits(), whole, 0, CPU).run(nothing).validation_accuracy is None
    )


def test_scores_by_class_tell_the_accuracy_of_the_epoch() -> None:
    training = Training(published(0, TINY), load_digits(), TINY, 0, CPU)
    epoch = training.run(nothing)
    found = training.scores(nothing)
    confusion = torch.tensor(found.confusion)
    assert int(confusion.sum()) == 360
    assert 100 * float(confusion.diag().sum()) / 360 == pytest.approx(epoch.test_accuracy)
    assert confusion.sum(1).tolist() == torch.bincount(load_digits().test.labels).tolist()


def test_a_balanced_loss_weighs_images_by_their_class() -> None:
    digits = load_digits()
    rows = torch.cat(
        [(digits.train.labels == label).nonzero().flatten()[:n] for label, n in ((0, 40), (1, 5))]
    )
    unequal = replace(digits, train=digits.train.subset(rows))
    recipe = replace(TINY, class_weights="balanced", train_images=None, validation_share=0.0)
    training = Training(published(0, recipe), unequal, recipe, 0, CPU)
    logits, labels = torch.randn(6, 10), torch.tensor([0, 0, 0, 1, 1, 0])
    each = torch.nn.functional.cross_entropy(logits, labels, reduction="none")
    weights = torch.tensor([45 / (2 * 40), 45 / (2 * 5)])[labels]
    torch.testing.assert_close(training._loss(logits, labels), (weights * each).mean())
    equal = Training(published(0, TINY), digits, TINY, 0, CPU)
    torch.testing.assert_close(equal._loss(logits, labels), each.mean())


@pytest.mark.parametrize("name", REFERENCES)
def test_a_reference_network_trains_at_the_size_of_the_data_set(name: str) -> None:
    recipe = replace(TINY, epochs=1, train_images=64, batch_size=32)
    data = load_digits()
    training = Training(
        of_reference(name), replace(data, test=data.test.subset(torch.arange(32))), recipe, 0, CPU
    )
    epoch = training.run(nothing)
    assert epoch.loss < 10
    assert training.parameters() > 100_000
    assert training.macs() > 100_000


@pytest.mark.parametrize(("name", "channels"), [*((name, 3) for name in REFERENCES), (REFERENCES[0], 1)])
def test_a_pretrained_reference_gives_what_its_weights_give(name: str, channels: int) -> None:
    torch.manual_seed(0)
    grown = torchvision.models.get_model(name, weights=None).eval()
    size = 128  # large, so that no stride changes
    ours = Reference(name, channels, size, 5, grown.state_dict()).eval()
    last = [path for path, module in grown.named_modules() if isinstance(module, torch.nn.Linear)][-1]
    for net in (grown, ours.net):
        net.set_submodule(last, torch.nn.Identity())
    images = torch.rand(2, channels, size, size)
    with torch.no_grad():
        torch.testing.assert_close(ours(images)[0], grown(images.expand(-1, 3, -1, -1)), rtol=1e-3, atol=1e-4)


def test_weights_are_loaded_from_safetensors_too(tmp_path: Path) -> None:
    state = torchvision.models.get_model("mobilenet_v3_small", weights=None).state_dict()
    safetensors.torch.save_file(state, tmp_path / "weights.safetensors")
    loaded = load_weights(tmp_path / "weights.safetensors")
    assert all(torch.equal(loaded[name], value) for name, value in state.items())


def test_a_compiled_training_is_the_same_training(monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = replace(TINY, cells=1, epochs=1, train_images=140)
    eager = Training(published(0, recipe), load_digits(), recipe, 0, CPU)
    monkeypatch.setitem(Training.COMPILE_FROM, "cpu", 0.0)
    compiled = Training(published(0, recipe), load_digits(), recipe, 0, CPU)
    expected, found = eager.run(nothing), compiled.run(nothing)
    assert compiled._compiled is not None
    assert found.loss == pytest.approx(expected.loss, rel=1e-3)


def test_a_compiler_that_fails_slows_a_training_and_changes_nothing(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    recipe = replace(TINY, cells=1, epochs=1, train_images=140)
    eager = Training(published(0, recipe), load_digits(), recipe, 0, CPU)
    monkeypatch.setitem(Training.COMPILE_FROM, "cpu", 0.0)
    monkeypatch.setenv("CXX", "/bin/false")
    monkeypatch.setattr("torch._inductor.config.cpp.cxx", ("/bin/false",))
    monkeypatch.setattr("torch._inductor.config.force_disable_caches", True)
    failing = Training(published(0, recipe), load_digits(), recipe, 0, CPU)
    torch.compiler.reset()
    assert failing.run(nothing).loss == eager.run(nothing).loss
    assert failing._compiled is None
    assert "not compiled, so slower" in caplog.text
