"""Data sets from every source, and what is refused."""

import gzip
import io
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from models.datasets import layout, sources
from models.datasets.data import DataError, Streamed
from models.datasets.sources import load_archive, load_digits, load_folder, load_named

if sys.version_info >= (3, 14):
    import tarfile
else:
    from backports.zstd import tarfile


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
        ({"train/a/0.png": picture()}, "at least 2"),
        ({"a.txt": b"x"}, "no images in class folders"),
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


@pytest.mark.parametrize("name", ["../../escaped.png", "/escaped.png", "..\\escaped.png", "C:/escaped.png"])
def test_an_archive_writes_nothing_outside_its_folder(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match="leads out of the archive"):
        load_archive(archive({**small(), name: picture()}))
    assert not list(tmp_path.parent.rglob("escaped.png"))


def tarred(files: dict[str, bytes], compression: str) -> io.BytesIO:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=f"w:{compression}") as opened:  # type: ignore[call-overload]
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            opened.addfile(entry, io.BytesIO(content))
    buffer.seek(0)
    return buffer


@pytest.mark.parametrize("compression", ["", "gz", "bz2", "xz", "zst"])
def test_tars_are_read_as_zips_are(compression: str) -> None:
    whole, zipped = load_archive(tarred(small(), compression)), load_archive(archive(small()))
    assert torch.equal(whole.train.images, zipped.train.images)
    assert whole.account == zipped.account


def test_the_share_of_the_test_split_may_be_given() -> None:
    flat = {f"{label}/{i}.png": picture(seed=i) for label in "ab" for i in range(10)}
    for share, tested in ((0.2, 4), (0.5, 10), (0.01, 2), (0.9, 18)):
        data = load_archive(archive(flat), test_share=share)
        assert (len(data.train), len(data.test)) == (20 - tested, tested)
        assert f"{share:.0%} of each class" in data.account.warnings[0]


def test_what_takes_too_much_is_refused_before_it_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "MAX_DECODED_BYTES", 12 * 6 * 6 * 3 - 1)
    with pytest.raises(DataError, match="take 1296 bytes when decoded; at most 1295 are read"):
        load_archive(archive(small()))
    monkeypatch.undo()
    monkeypatch.setattr(layout, "MAX_CLASSES", 1)
    with pytest.raises(DataError, match="has 2 classes; at most 1 are read"):
        load_archive(archive(small()))


def test_a_link_in_a_tar_is_left_out() -> None:
    buffer = tarred(small(), "")
    with tarfile.open(fileobj=buffer, mode="a") as opened:
        link = tarfile.TarInfo("train/a/link.png")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        opened.addfile(link)
    buffer.seek(0)
    assert len(load_archive(buffer).train) == 6


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_damaged_stream_is_refused_by_its_member(method: int) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as opened:
        for name, content in small().items():
            opened.writestr(name, content + bytes(500))
    with zipfile.ZipFile(buffer) as opened:
        member = opened.infolist()[1]
    content = bytearray(buffer.getvalue())
    start = member.header_offset + 30 + len(member.filename)
    content[start + 8 : start + 40] = b"\xff" * 32
    with pytest.raises(DataError, match=rf"cannot be unpacked: {member.filename}"):
        load_archive(io.BytesIO(bytes(content)))


@pytest.mark.parametrize("compression", ["gz", "xz", "zst"])
def test_a_tar_that_ends_too_soon_is_refused(compression: str) -> None:
    content = tarred({**small(), "train/a/large.png": picture((200, 200))}, compression).getvalue()
    with pytest.raises(DataError):
        load_archive(io.BytesIO(content[: len(content) // 2]))


@pytest.mark.parametrize("name", ["caf\u00e9", "\u72ac", "\u043a\u043e\u0442"])
def test_names_in_utf8_are_kept_with_and_without_the_flag(name: str) -> None:
    files = {key.replace("/a/", f"/{name}/"): content for key, content in small().items()}
    assert name in load_archive(archive(files)).classes
    unflagged = bytearray(archive(files).getvalue())
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        place = -1
        while (place := unflagged.find(signature, place + 1)) >= 0:
            flags = int.from_bytes(unflagged[place + offset : place + offset + 2], "little") & ~0x800
            unflagged[place + offset : place + offset + 2] = flags.to_bytes(2, "little")
    assert name in load_archive(io.BytesIO(bytes(unflagged))).classes


@pytest.mark.parametrize(
    ("label", "encoding"),
    [
        ("\u732b", "cp932"),
        ("\u732b", "gbk"),
        ("\u00e9t\u00e9s", "cp1252"),
        ("\u043a\u043e\u0442\u044b", "koi8-r"),
    ],
)
def test_names_in_an_encoding_that_is_not_told_are_refused(label: str, encoding: str) -> None:
    coded = label.encode(encoding)
    plain = "X" * len(coded)
    files = {name.replace("/a/", f"/{plain}/"): content for name, content in small().items()}
    content = archive(files).getvalue().replace(plain.encode(), coded)
    content = content.replace(b"PK\x01\x02\x14\x03", b"PK\x01\x02\x14\x00")  # written by Windows
    with pytest.raises(DataError, match="in an encoding that the archive does not tell"):
        load_archive(io.BytesIO(content))


def test_backslashes_part_folders() -> None:
    files = {name.replace("/", "\\"): content for name, content in small().items()}
    assert load_archive(archive(files)).classes == ("a", "b")


def test_colour_is_found_wherever_it_stands(tmp_path: Path) -> None:
    grey = {f"train/a/{i:03}.png": picture(mode="L", seed=i) for i in range(120)}
    rest = {"train/z/0.png": picture(), "test/a/0.png": picture(mode="L"), "test/z/0.png": picture(seed=1)}
    images = load_archive(archive({**grey, **rest}))
    assert images.channels == 3
    assert any("121 of 123 images are grey" in warning for warning in images.account.warnings)


def test_the_account_tells_what_was_left_out_converted_and_doubted(tmp_path: Path) -> None:
    turned = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (6, 6), "red").save(turned, "JPEG", exif=exif)
    files = {
        **small(),
        "train/a/t.jpg": turned.getvalue(),
        "train/._x.png": b"",
        "notes.txt": b"",
        "test/a/same.png": small()["train/a/0.png"],
    }
    account = load_archive(archive(files)).account.as_dict()
    assert account["counts"] == {"train": {"a": 4, "b": 3}, "test": {"a": 4, "b": 3}}
    assert account["skipped"] == {
        "hidden or of the system": {"count": 1, "names": ["train/._x.png"]},
        "no image by its name": {"count": 1, "names": ["notes.txt"]},
    }
    assert account["converted"] == {"orientation": {"count": 1, "names": ["train/a/t.jpg"]}}
    assert [w for w in account["warnings"] if "1 test images are also training images" in w]
    assert [w for w in account["warnings"] if "fewer than 10" in w]


def test_unequal_classes_are_told() -> None:
    files = {f"train/a/{i}.png": picture(seed=i) for i in range(40)}
    files |= {
        "train/b/0.png": picture(seed=99),
        "test/a/0.png": picture(seed=50),
        "test/b/0.png": picture(seed=51),
    }
    warnings = load_archive(archive(files)).account.warnings
    assert any("40 training images of 'a' and 1 of 'b'" in warning for warning in warnings)


def test_the_digest_is_that_of_the_content() -> None:
    def digest(files: dict[str, bytes]) -> str:
        return load_archive(archive(files)).account.digest

    files = small()
    renamed = {name.replace("/a/0.png", "/a/zero.png"): content for name, content in files.items()}
    changed = {**files, "train/a/0.png": picture(seed=77)}
    other_class = {name.replace("/a/", "/c/"): content for name, content in files.items()}
    assert (
        digest(files)
        == digest({f"outer/{name}": c for name, c in reversed(files.items())})
        == digest(renamed)
    )
    assert len({digest(files), digest(changed), digest(other_class)}) == 3


def test_images_that_would_fill_the_memory_are_refused_before_they_do() -> None:
    with pytest.raises(DataError, match="take more than 3000000 bytes at 1024 x 1024"):
        load_archive(archive(small()), image_size=1024, max_bytes=3_000_000)


def idx(values: np.ndarray) -> bytes:  # type: ignore[type-arg]
    shape = b"".join(size.to_bytes(4, "big") for size in values.shape)
    return b"\x00\x00\x08" + bytes([values.ndim]) + shape + values.astype(np.uint8).tobytes()


def mnist_files(images: int = 40, labels: int = 40, low: int = 0) -> dict[str, bytes]:
    files = {}
    for split in ("train", "t10k"):
        files[f"{split}-images-idx3-ubyte"] = idx(np.zeros((images, 28, 28)))
        files[f"{split}-labels-idx1-ubyte"] = idx(low + np.arange(labels) % 10)
    return files


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"labels": 30}, "40 images and 30 labels"),
        ({"low": 1}, "labels of the train files of 'mnist' go from 1 to 10; they must lie within 0 and 9"),
    ],
)
def test_files_that_do_not_go_together_are_refused(
    tmp_path: Path, change: dict[str, int], reason: str
) -> None:
    lay(tmp_path, mnist_files(**change))
    with pytest.raises(DataError, match=reason):
        load_named("mnist", tmp_path)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"\x1f\x8b\x08\x00" + bytes(50), "train-images-idx3-ubyte is compressed by gzip; unpack it"),
        (b"<!DOCTYPE html><html>", "train-images-idx3-ubyte is a web page"),
        (b"PK\x03\x04" + bytes(50), "train-images-idx3-ubyte is a zip archive"),
        (b"", "mnist"),
        (b"\x00\x00\x08\x03\xff", "mnist"),
    ],
)
def test_files_of_another_kind_are_refused_by_name(tmp_path: Path, content: bytes, reason: str) -> None:
    lay(tmp_path, {**mnist_files(), "train-images-idx3-ubyte": content})
    with pytest.raises(DataError, match=reason):
        load_named("mnist", tmp_path)


def test_files_that_are_still_compressed_are_told(tmp_path: Path) -> None:
    lay(tmp_path, {f"{name}.gz": gzip.compress(content) for name, content in mnist_files().items()})
    with pytest.raises(DataError, match=r"ubyte\.gz is still compressed; unpack it"):
        load_named("mnist", tmp_path)


def lay(root: Path, files: dict[str, bytes]) -> None:
    folder = root / "MNIST" / "raw"
    folder.mkdir(parents=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)


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
