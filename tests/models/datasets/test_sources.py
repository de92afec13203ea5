"""Data sets from every source, and what is refused."""

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from models.datasets.data import DataError, Streamed
from models.datasets.sources import load_archive, load_digits, load_folder, load_named


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
    assert digits.train.images.shape == (1_437, 1, 8, 8)
    assert digits.test.images.shape == (360, 1, 8, 8)
    assert int(digits.train.images.max()) == 255
    shares = torch.bincount(digits.test.labels) / len(digits.test.labels)
    assert (shares - 0.1).abs().max() < 0.01
    assert torch.equal(load_digits().train.images, digits.train.images)


@pytest.mark.parametrize(
    ("name", "size", "train", "test"), [("mnist", 28, 60_000, 10_000), ("usps", 16, 7_291, 2_007)]
)
def test_real_sets_are_read_in_place(data_root: Path, name: str, size: int, train: int, test: int) -> None:
    if not data_root.is_dir():
        pytest.skip("no data root")
    images = load_named(name, data_root)
    assert images.train.images.shape == (train, 1, size, size)
    assert images.test.images.shape == (test, 1, size, size)
    assert images.train.labels.unique().tolist() == list(range(10))


def test_missing_files_say_where_they_belong(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="data root"):
        load_named("cifar10", tmp_path)
    with pytest.raises(DataError, match="no loader"):
        load_named("imagenet", tmp_path)


@pytest.mark.parametrize(("mode", "channels"), [("RGB", 3), ("L", 1)])
@pytest.mark.parametrize("root", ["", "outer/"])
def test_an_archive_of_class_folders_is_read(mode: str, channels: int, root: str) -> None:
    images = load_archive(archive(small(mode, root)))
    assert images.train.images.shape == (6, channels, 6, 6)
    assert images.classes == ("a", "b")
    assert images.train.labels.tolist() == [0, 0, 0, 1, 1, 1]


def test_images_of_different_sizes_need_a_size() -> None:
    files = {**small(), "train/a/9.png": picture((9, 7))}
    with pytest.raises(DataError, match="image_size"):
        load_archive(archive(files))
    assert load_archive(archive(files), image_size=5).train.images.shape == (7, 3, 5, 5)


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
    assert torch.equal(load_folder(tmp_path).test.images, load_archive(archive(small())).test.images)


def test_a_folder_over_the_limit_is_streamed_with_the_same_images(tmp_path: Path) -> None:
    for name, content in small().items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    whole, streamed = load_folder(tmp_path), load_folder(tmp_path, resident_bytes=100)
    assert isinstance(streamed.train, Streamed)
    assert (streamed.channels, streamed.image_size, streamed.classes) == (3, 6, ("a", "b"))
    for ours, theirs in zip(streamed.test.batches(4, None), whole.test.batches(4, None), strict=True):
        assert torch.equal(ours[0], theirs[0])
        assert torch.equal(ours[1], theirs[1])
    cpu = torch.device("cpu")
    for ours, theirs in zip(streamed.statistics(cpu), whole.statistics(cpu), strict=True):
        torch.testing.assert_close(ours, theirs)
