"""Data sets from every source, and what is refused."""

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from models.data import (
    DataError,
    augment,
    load_archive,
    load_digits,
    load_folder,
    load_named,
    normalise,
    require_size,
    shuffled,
)


def picture(size: tuple[int, int] = (6, 6), mode: str = "RGB", seed: int = 0) -> bytes:
    shape = (*size[::-1], 3) if mode == "RGB" else size[::-1]
    pixels = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels, mode=mode).save(buffer, format="PNG")
    return buffer.getvalue()


def archive(files: dict[str, bytes]) -> io.BytesIO:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as opened:
        for name, content in files.items():
            opened.writestr(name, content)
    buffer.seek(0)
    return buffer


def small(mode: str = "RGB", root: str = "") -> dict[str, bytes]:
    names = [f"{split}/{label}/{i}.png" for split in ("train", "test") for label in "ab" for i in range(3)]
    return {root + name: picture(mode=mode, seed=i) for i, name in enumerate(names)}


def test_digits_have_a_fixed_stratified_split() -> None:
    digits = load_digits()
    assert digits.train_images.shape == (1_437, 1, 8, 8)
    assert digits.test_images.shape == (360, 1, 8, 8)
    assert int(digits.train_images.max()) == 255
    shares = torch.bincount(digits.test_labels) / len(digits.test_labels)
    assert (shares - 0.1).abs().max() < 0.01
    assert torch.equal(load_digits().train_images, digits.train_images)


@pytest.mark.parametrize(
    ("name", "size", "train", "test"), [("mnist", 28, 60_000, 10_000), ("usps", 16, 7_291, 2_007)]
)
def test_real_sets_are_read_in_place(data_root: Path, name: str, size: int, train: int, test: int) -> None:
    if not data_root.is_dir():
        pytest.skip("no data root")
    images = load_named(name, data_root)
    assert images.train_images.shape == (train, 1, size, size)
    assert images.test_images.shape == (test, 1, size, size)
    assert images.train_labels.unique().tolist() == list(range(10))


def test_missing_files_say_where_they_belong(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="data root"):
        load_named("cifar10", tmp_path)
    with pytest.raises(DataError, match="no loader"):
        load_named("imagenet", tmp_path)


@pytest.mark.parametrize(("mode", "channels"), [("RGB", 3), ("L", 1)])
@pytest.mark.parametrize("root", ["", "outer/"])
def test_an_archive_of_class_folders_is_read(mode: str, channels: int, root: str) -> None:
    images = load_archive(archive(small(mode, root)))
    assert images.train_images.shape == (6, channels, 6, 6)
    assert images.classes == ("a", "b")
    assert images.train_labels.tolist() == [0, 0, 0, 1, 1, 1]


def test_images_of_different_sizes_need_a_size() -> None:
    files = {**small(), "train/a/9.png": picture((9, 7))}
    with pytest.raises(DataError, match="image_size"):
        load_archive(archive(files))
    assert load_archive(archive(files), image_size=5).train_images.shape == (7, 3, 5, 5)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"train/a/0.png": picture()}, "no folder 'test'"),
        ({"a.txt": b"x"}, "no folder 'train'"),
        ({**small(), "train/a/bad.png": b"not an image"}, "bad.png is not a readable image"),
        ({**small(), "test/c/0.png": picture()}, "same classes; c"),
        ({f"{s}/a/0.png": picture() for s in ("train", "test")}, "at least 2"),
    ],
)
def test_a_bad_archive_says_what_is_wrong(files: dict[str, bytes], message: str) -> None:
    with pytest.raises(DataError, match=message):
        load_archive(archive(files))


def test_what_is_no_archive_or_too_large_is_refused() -> None:
    with pytest.raises(DataError, match="not a zip"):
        load_archive(io.BytesIO(b"no"))
    with pytest.raises(DataError, match="more than 10 bytes"):
        load_archive(archive(small()), max_bytes=10)


def test_an_archive_writes_nothing_outside_its_folder(tmp_path: Path) -> None:
    load_archive(archive({**small(), "../../escaped.png": picture()}))
    assert not list(tmp_path.parent.rglob("escaped.png"))


def test_a_folder_is_read_as_an_archive_is(tmp_path: Path) -> None:
    for name, content in small().items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    assert torch.equal(load_folder(tmp_path).test_images, load_archive(archive(small())).test_images)


def test_normalised_images_have_mean_0_and_deviation_1() -> None:
    digits = load_digits()
    images = normalise(digits.train_images, digits.statistics(torch.device("cpu")))
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


def test_batches_cover_all_but_a_last_one_of_one() -> None:
    batches = list(shuffled(9, 4, torch.Generator().manual_seed(0)))
    assert [len(batch) for batch in batches] == [4, 4]


def test_too_small_images_name_the_size_that_would_do() -> None:
    with pytest.raises(DataError, match="at least 4 x 4"):
        require_size(3, cells=8)
