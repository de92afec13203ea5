"""Splits, batches and augmentation."""

from pathlib import Path

import pytest
import torch

from models.datasets.data import DataError, Resident, augment, cut_out, jitter, normalise, require_size
from models.datasets.sources import load_digits, load_folder
from tests.models.datasets.test_sources import small


def test_normalised_images_have_mean_0_and_deviation_1() -> None:
    digits = load_digits()
    images = normalise(digits.train.images, digits.statistics(torch.device("cpu")))
    assert abs(float(images.mean())) < 1e-4
    assert abs(float(images.std()) - 1) < 1e-3


def test_crops_are_shifts_of_the_image_padded_with_zeros() -> None:
    image = torch.arange(1, 17, dtype=torch.uint8).reshape(1, 1, 4, 4)
    padded = torch.nn.functional.pad(image[0, 0], (1, 1, 1, 1))
    shifts = {padded[i : i + 4, j : j + 4].numpy().tobytes() for i in range(3) for j in range(3)}
    crops = augment(image.expand(300, 1, 4, 4), 1, False, torch.Generator().manual_seed(0))
    assert {crop.numpy().tobytes() for crop in crops} == shifts


def test_flips_mirror_about_half_of_the_images() -> None:
    image = torch.arange(16, dtype=torch.uint8).reshape(1, 1, 4, 4)
    out = augment(image.expand(1_000, 1, 4, 4), 0, True, torch.Generator().manual_seed(0))
    mirrored = (out == image.flip(3)).flatten(1).all(1)
    assert ((out == image).flatten(1).all(1) | mirrored).all()
    assert 0.45 < mirrored.float().mean() < 0.55


def test_shuffled_batches_cover_all_but_a_last_one_of_one() -> None:
    split = Resident(torch.zeros(9, 1, 2, 2, dtype=torch.uint8), torch.arange(9))
    labels = [labels for _, labels in split.batches(4, torch.Generator().manual_seed(0))]
    assert [len(batch) for batch in labels] == [4, 4]
    assert len(torch.cat(labels).unique()) == 8
    assert torch.cat([labels for _, labels in split.batches(4, None)]).tolist() == list(range(9))


def test_a_streamed_split_shuffles_crops_and_repeats_by_its_seed(tmp_path: Path) -> None:
    for name, content in small().items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    split = load_folder(tmp_path, resident_bytes=1).train.subset(torch.arange(5))

    def draw(seed: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
        return list(split.batches(2, torch.Generator().manual_seed(seed), crop_padding=1, flip=True))

    first, again, other = draw(1), draw(1), draw(2)
    assert [len(labels) for _, labels in first] == [2, 2]  # a fifth alone is left out
    assert all(torch.equal(a[0], b[0]) for a, b in zip(first, again, strict=True))
    assert not all(torch.equal(a[0], b[0]) for a, b in zip(first, other, strict=True))


def test_too_small_images_name_the_size_that_would_do() -> None:
    with pytest.raises(DataError, match="at least 4 x 4"):
        require_size(3, cells=8)


def test_cut_out_blanks_one_square_of_every_image() -> None:
    images = torch.ones(200, 3, 12, 12)
    cut = cut_out(images, 4, torch.Generator().manual_seed(0))
    blank = (cut == 0).all(1)
    assert torch.equal(blank, (cut == 0).any(1))
    sides = blank.any(1).sum(1), blank.any(2).sum(1)
    assert all(2 <= side <= 4 for axis in sides for side in axis.tolist())
    assert torch.equal(blank.sum((1, 2)), sides[0] * sides[1])
    assert len({tuple(rows) for rows in blank.flatten(1).tolist()}) > 50
    assert cut_out(images, 0, torch.Generator()) is images


def test_jitter_changes_each_image_by_factors_of_its_own() -> None:
    images = torch.randint(256, (1, 3, 8, 8), dtype=torch.uint8).expand(5, -1, -1, -1)
    changed = jitter(images, 0.4, torch.Generator().manual_seed(0))
    assert changed.shape == images.shape
    assert 0 <= changed.min() <= changed.max() <= 255
    assert len({round(float(image.mean()), 3) for image in changed}) == 5
    assert jitter(images, 0.0, torch.Generator()) is images
