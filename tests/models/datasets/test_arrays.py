"""Images as arrays in an npz file."""

import io
from typing import Any

import numpy as np
import pytest
import torch

from models.datasets.data import DataError, ImageData
from models.datasets.sources import load_archive

PIXELS = np.random.default_rng(0).integers(0, 256, (20, 6, 6, 3), dtype=np.uint8)
LABELS = np.arange(20) % 2


def load(image_size: int | None = None, **arrays: Any) -> ImageData:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    buffer.seek(0)
    return load_archive(buffer, image_size)


def test_one_pair_is_split_by_seed() -> None:
    data = load(images=PIXELS, labels=LABELS)
    assert (len(data.train), len(data.test), data.classes) == (16, 4, ("0", "1"))
    assert torch.equal(load(images=PIXELS, labels=LABELS).test.images, data.test.images)
    assert "no test split" in data.account.warnings[0]


@pytest.mark.parametrize(
    "names",
    [
        ("train_images", "train_labels", "test_images", "test_labels"),
        ("x_train", "y_train", "x_test", "y_test"),
        ("train_x", "train_y", "val_x", "val_y"),
    ],
)
def test_splits_keep_their_order(names: tuple[str, ...]) -> None:
    data = load(**dict(zip(names, (PIXELS[:12], LABELS[:12], PIXELS[12:], LABELS[12:]), strict=True)))
    assert torch.equal(data.train.images, torch.from_numpy(PIXELS[:12]).permute(0, 3, 1, 2))
    assert data.test.labels.tolist() == LABELS[12:].tolist()


@pytest.mark.parametrize(
    ("images", "channels"),
    [(PIXELS, 3), (PIXELS.transpose(0, 3, 1, 2), 3), (PIXELS[..., 0], 1), (PIXELS[..., :1], 1)],
)
def test_every_order_of_axes_is_read(images: Any, channels: int) -> None:
    data = load(images=images, labels=LABELS)
    assert (data.channels, data.image_size) == (channels, 6)
    rows = [i for i in range(20) if torch.equal(data.test.images[0, 0], torch.from_numpy(PIXELS[i, ..., 0]))]
    assert len(rows) == 1


def test_labels_can_be_names_or_start_anywhere() -> None:
    assert load(images=PIXELS, labels=np.array(["cat", "dog"])[LABELS]).classes == ("cat", "dog")
    assert load(images=PIXELS, labels=LABELS * 5 + 1).classes == ("1", "6")
    assert load(images=PIXELS, labels=LABELS[:, None]).classes == ("0", "1")


def test_fractions_are_scaled_and_told() -> None:
    data = load(images=PIXELS / 255.0, labels=LABELS)
    assert torch.equal(data.train.images, load(images=PIXELS, labels=LABELS).train.images)
    assert any("scaled from 0…1" in warning for warning in data.account.warnings)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"labels": LABELS[:10]}, "one label for each of the 20 images"),
        ({"labels": LABELS / 2}, "must be whole numbers or names"),
        ({"labels": np.array([{"a": 1}] * 20, dtype=object)}, "not an array of plain values"),
        ({"labels": np.zeros(20, dtype=int)}, "has 1 class"),
        ({"labels": np.arange(20)}, "one image a class"),
        ({"images": PIXELS.astype(np.int32)}, "uint8, or fractions"),
        ({"images": PIXELS.astype(np.float32)}, "do not all lie within 0 and 1"),
        ({"images": PIXELS[:, :4]}, "square grey or RGB images are needed"),
        ({"images": PIXELS[..., 0, 0]}, "square grey or RGB images are needed"),
        ({"image_size": 12}, "not scaled to 12"),
    ],
)
def test_what_is_no_data_set_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        load(**{"images": PIXELS, "labels": LABELS, **change})


def test_missing_arrays_are_named() -> None:
    with pytest.raises(DataError, match="holds pictures; images and labels"):
        load(pictures=PIXELS)
