"""Small archives like those that users of image tools had faults with, each with its right value.

They are read in place from `VGAE_NAS_CASES_ROOT`, or a folder beside the repository.
"""

import os
from pathlib import Path

import pytest
import torch

from models.datasets.data import DataError, ImageData
from models.datasets.sources import load_archive

CASES = Path(os.environ.get("VGAE_NAS_CASES_ROOT", Path(__file__).parents[4] / "shared" / "cases")) / "images"


def load(name: str, image_size: int | None = None, max_bytes: int = 4 << 30) -> ImageData:
    path = CASES / f"{name}.zip"
    if not path.is_file():
        pytest.skip("no cases here")
    with path.open("rb") as file:
        return load_archive(file, image_size, max_bytes)


def test_a_picture_is_turned_as_a_viewer_shows_it() -> None:
    # both files hold dark below light; the orientation of the second turns that into dark beside light
    as_stored, turned = load("exif").train.images.float().mean(1)
    assert as_stored[:7].min() > 200 > 50 > as_stored[9:].max()
    assert turned[:, :7].min() > 200 > 50 > turned[:, 9:].max()
    assert load("exif").account.as_dict()["converted"]["orientation"]["count"] == 2


def test_deep_grey_has_its_values() -> None:
    images = load("grey16")
    assert [int(image.max()) for image in images.train.images] == [23, 175]


def test_ink_lies_on_white() -> None:
    images = load("ink-RGBA").train.images
    assert int(images.max()) == 255
    assert int(images.min()) == 0


def test_colour_is_found_first_or_last() -> None:
    first, last = load("grey-first"), load("control-grey-last")
    assert first.channels == last.channels == 3
    assert sorted(first.train.images.flatten(1).tolist()) == sorted(last.train.images.flatten(1).tolist())


@pytest.mark.parametrize(("name", "train"), [("gif", 4), ("jfif", 4)])
def test_all_suffixes_are_read(name: str, train: int) -> None:
    assert len(load(name).train) == train


@pytest.mark.parametrize(("name", "count"), [("checkpoints-as-class", 2), ("dot-underscore", 1)])
def test_what_systems_leave_is_counted(name: str, count: int) -> None:
    images = load(name)
    assert images.classes == ("a", "b")
    assert images.account.as_dict()["skipped"]["hidden or of the system"]["count"] == count


@pytest.mark.parametrize(
    ("name", "member"), [("deflate", "train/a/0.png"), ("ppm-header", r"train/a/x\.ppm")]
)
def test_damage_is_refused_by_the_member(name: str, member: str) -> None:
    with pytest.raises(DataError, match=member):
        load(name)


def test_a_picture_with_a_large_text_is_read() -> None:
    assert len(load("png-ztxt").train) == 2


@pytest.mark.parametrize("name", ["backslash", "caps", "extra-folder", "two-levels"])
def test_every_layout_has_the_same_images(name: str) -> None:
    images = load(name)
    assert images.classes == ("a", "b")
    assert torch.equal(images.train.images, load("caps").train.images)


def test_names_in_shift_jis_are_never_mojibake() -> None:
    with pytest.raises(DataError, match="encoding"):
        load("cp932")


def test_images_that_become_gigabytes_are_refused() -> None:
    with pytest.raises(DataError, match="take more than"):
        load("image-size-1024", image_size=1024)
