"""Where images come from: built in, torchvision, folders and archives."""

import hashlib
import io
import os
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor

from models.datasets import arrays, layout
from models.datasets.account import Account, Item, count, digest_of, doubts, tensor_items
from models.datasets.archives import Zip, is_zip, unpack_tar
from models.datasets.data import DataError, ImageData, Resident, Streamed
from models.datasets.images import Looked, Reader, look, value_range
from models.datasets.layout import SPLIT_SEED, TEST_SHARE

S = TypeVar("S")
T = TypeVar("T")

RESIDENT_BYTES = 4 << 30
"""Bytes of images in memory; what takes more is streamed."""

MAX_DECODED_BYTES = 1 << 40
"""Bytes that all images of a data set may take as they are in their files, at 8 bits a channel."""

READERS, LARGE = 4, 64 * 64
"""Threads that read images, and pixels of an image from which on they are faster than a single one, as Pillow
leaves Python's lock only to decode."""


def load_digits() -> ImageData:
    """scikit-learn's 1,797 grey digits of 8 x 8 pixels, a fifth of each class for testing."""
    from sklearn.datasets import load_digits as bundled
    from sklearn.model_selection import train_test_split

    digits = bundled()
    images = np.round(digits.images * (255 / 16)).astype(np.uint8)[:, None]
    train_x, test_x, train_y, test_y = train_test_split(
        images, digits.target, test_size=0.2, random_state=SPLIT_SEED, stratify=digits.target
    )
    return resident(
        torch.from_numpy(train_x),
        _labels(train_y),
        torch.from_numpy(test_x),
        _labels(test_y),
        tuple(str(name) for name in digits.target_names),
    )


def resident(
    train_images: Tensor,
    train_labels: Tensor,
    test_images: Tensor,
    test_labels: Tensor,
    classes: tuple[str, ...],
) -> ImageData:
    """A data set in memory from its tensors, uint8 `[images, channels, size, size]` and int64."""
    items = [
        *tensor_items("train", train_images, train_labels),
        *tensor_items("test", test_images, test_labels),
    ]
    counts = count(items, classes)
    account = Account(digest_of(items, classes), counts, warnings=doubts(items, counts))
    return _resident(train_images, train_labels, test_images, test_labels, classes, account)


def stored(account: Mapping[str, Any], classes: tuple[str, ...], **tensors: Tensor) -> ImageData:
    """A data set in memory from tensors whose account was kept with them."""
    known = Account(account["digest"], account["counts"], warnings=account["warnings"])
    return _resident(**tensors, classes=classes, account=known)


def _resident(
    train_images: Tensor,
    train_labels: Tensor,
    test_images: Tensor,
    test_labels: Tensor,
    classes: tuple[str, ...],
    account: Account,
) -> ImageData:
    _, channels, size, _ = train_images.shape
    train, test = Resident(train_images, train_labels), Resident(test_images, test_labels)
    return ImageData(train, test, classes, channels, size, account)


@dataclass(frozen=True)
class KnownDataset:
    """Facts about a named data set that are known before its images are at hand."""

    channels: int
    image_size: int
    classes: int
    train_count: int
    test_count: int
    loader: str | None
    """The torchvision class; `None` for the bundled digits and for sets of metadata only."""
    folder: str = ""
    """The folder below the data root in which torchvision looks for it."""


KNOWN_DATASETS: dict[str, KnownDataset] = {
    "digits": KnownDataset(1, 8, 10, 1_437, 360, None),
    "mnist": KnownDataset(1, 28, 10, 60_000, 10_000, "MNIST"),
    "fashion-mnist": KnownDataset(1, 28, 10, 60_000, 10_000, "FashionMNIST"),
    "usps": KnownDataset(1, 16, 10, 7_291, 2_007, "USPS", "USPS"),
    "cifar10": KnownDataset(3, 32, 10, 50_000, 10_000, "CIFAR10"),
    "cifar100": KnownDataset(3, 32, 100, 50_000, 10_000, "CIFAR100"),
    "imagenet": KnownDataset(3, 224, 1_000, 1_281_167, 50_000, None),
    "imagenet16-120": KnownDataset(3, 16, 120, 151_700, 3_000, None),  # of NAS-Bench-201
}


def load_named(name: str, root: Path, download: bool = False) -> ImageData:
    """A data set of `KNOWN_DATASETS` by name.

    Args:
        name: `digits`, or one that torchvision reads below the data root.
        root: the data root.
        download: lets torchvision fetch what is missing.

    Raises:
        DataError: the images are not there, or not readable.
    """
    if name == "digits":
        return load_digits()
    facts = KNOWN_DATASETS[name]
    if facts.loader is None:
        raise DataError(f"{name!r} has no loader; upload its images, or register a folder of them")
    import torchvision.datasets

    dataset = getattr(torchvision.datasets, facts.loader)
    try:
        train, test = (
            dataset(root / facts.folder, train=train, download=download) for train in (True, False)
        )
        images = [_planes(part.data) for part in (train, test)]
        labels = [_labels(part.targets) for part in (train, test)]
    except Exception as error:  # files of another kind can raise anything
        reason = _blame(root / (facts.folder or facts.loader)) or f"{type(error).__name__}: {error}"
        raise DataError(
            f"the images of {name!r} are not in the data root; put torchvision's {facts.loader} files there, "
            f"or ask for a download ({reason.splitlines()[0]})"
        ) from error
    for part, pictures, answers in zip(("train", "test"), images, labels, strict=True):
        _require_consistent(name, part, pictures, answers, facts.classes)
    classes = getattr(train, "classes", None) or [str(i) for i in range(facts.classes)]
    return resident(images[0], labels[0], images[1], labels[1], tuple(classes))


def _require_consistent(name: str, split: str, images: Tensor, labels: Tensor, classes: int) -> None:
    if len(images) != len(labels):
        raise DataError(
            f"the {split} files of {name!r} hold {len(images)} images and {len(labels)} labels; "
            "they are not of one set"
        )
    if len(labels) == 0:
        raise DataError(f"the {split} files of {name!r} hold no images")
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= classes:
        raise DataError(
            f"the labels of the {split} files of {name!r} go from {low} to {high}; "
            f"they must lie within 0 and {classes - 1}"
        )


def _blame(folder: Path) -> str | None:
    """The first file of a folder that is plainly not what its name says, with what it is instead."""
    for path in sorted(folder.rglob("*")) if folder.is_dir() else []:
        if not path.is_file():
            continue
        with path.open("rb") as file:
            start = file.read(512).lstrip()
        if start.startswith(b"\x1f\x8b") and path.suffix == ".gz" and not path.with_suffix("").exists():
            return f"{path.name} is still compressed; unpack it"
        if start.startswith(b"\x1f\x8b") and path.suffix not in (".gz", ".tgz"):
            return f"{path.name} is compressed by gzip; unpack it"
        if start.startswith(b"PK\x03\x04"):
            return f"{path.name} is a zip archive; unpack it"
        if start[:1] == b"<":
            return f"{path.name} is a web page, not data"
    return None


def load_folder(
    root: Path,
    image_size: int | None = None,
    resident_bytes: int = RESIDENT_BYTES,
    test_share: float = TEST_SHARE,
) -> ImageData:
    """A folder of images, in any layout that `layout.find` knows.

    Args:
        root: the folder.
        image_size: side in pixels to which images are scaled and cropped at the centre; by default
            they must all be square and of one size.
        resident_bytes: images that take more are streamed.
        test_share: of each class, where there is no test split.

    Raises:
        DataError: naming the file or folder at fault.
    """
    if not root.is_dir():
        raise DataError(f"there is no folder {root.name!r}")
    return _load(Folder(root), image_size, resident_bytes, test_share)


def load_archive(
    file: Any,
    image_size: int | None = None,
    max_bytes: int = RESIDENT_BYTES,
    test_share: float = TEST_SHARE,
) -> ImageData:
    """An archive of images, zip or tar, in any layout that `layout.find` knows, or an npz of arrays.

    Args:
        file: an open binary file.
        image_size: as for `load_folder`.
        max_bytes: how large the archive may be unpacked, and its images in memory.
        test_share: as for `load_folder`.

    Raises:
        DataError: no archive, one that takes too much, or what `load_folder` raises.
    """
    if is_zip(file):
        archive = Zip(file, max_bytes)
        if arrays.is_npz(archive):
            return _of_arrays(archive, image_size, test_share)
        return _in_memory(_load(archive, image_size, max_bytes, test_share), max_bytes)
    file.seek(0)
    with TemporaryDirectory() as name:
        unpack_tar(file, Path(name), max_bytes)
        return _in_memory(_load(Folder(Path(name)), image_size, max_bytes, test_share), max_bytes)


def _of_arrays(archive: Zip, image_size: int | None, test_share: float) -> ImageData:
    tensors, classes, warnings = arrays.read(archive, test_share)
    data = resident(**tensors, classes=classes)
    if image_size not in (None, data.image_size):
        raise DataError(f"its images are of {data.image_size} pixels; arrays are not scaled to {image_size}")
    return replace(data, account=replace(data.account, warnings=[*warnings, *data.account.warnings]))


class Files(Protocol):
    """A place that files are read from: a folder or an archive."""

    @property
    def names(self) -> list[str]:
        """The names of all files, parted by slashes."""
        ...

    def read(self, name: str) -> bytes:
        """The content of a file."""
        ...


class Folder:
    """The files below a folder.

    Args:
        root: the folder.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    @property
    def names(self) -> list[str]:
        """The names of all files, parted by slashes."""
        found = []
        for folder, _, files in os.walk(self.root):
            inner = Path(folder).relative_to(self.root).as_posix()
            found += files if inner == "." else [f"{inner}/{name}" for name in files]
        return found

    def read(self, name: str) -> bytes:
        """The content of a file."""
        return (self.root / name).read_bytes()


def _load(files: Files, image_size: int | None, resident_bytes: int, test_share: float) -> ImageData:
    laid = layout.find(files.names, test_share)
    labelled = [*laid.train, *laid.test]
    names = [name for name, _ in labelled]
    seen = _each(lambda name: _look_and_digest(files, name), names)
    looked = [one for one, _ in seen]
    decoded = sum(one.width * one.height * (3 if one.colour else 1) for one in looked)
    if decoded > MAX_DECODED_BYTES:
        raise DataError(f"its images take {decoded} bytes when decoded; at most {MAX_DECODED_BYTES} are read")
    splits = ["train"] * len(laid.train) + ["test"] * len(laid.test)
    items = [
        (split, label, digest) for split, (_, label), (_, digest) in zip(splits, labelled, seen, strict=True)
    ]
    account = _account(laid, names, looked, items)
    channels = 3 if any(one.colour for one in looked) else 1
    size = image_size or _side(names, looked)
    reader = Reader(channels, size, image_size is not None, *value_range(looked))
    labels = torch.tensor([label for _, label in labelled])
    sizes = [len(laid.train), len(laid.test)]
    if len(names) * channels * size**2 > resident_bytes:
        if not isinstance(files, Folder):
            raise DataError(_too_large(size, resident_bytes))
        paths = tuple(str(files.root / name) for name in names)
        rows = torch.arange(len(names)).split(sizes)
        train, test = (Streamed(paths, labels, part, reader) for part in rows)
        return ImageData(train, test, laid.classes, channels, size, account)
    pixels = torch.empty(len(names), channels, size, size, dtype=torch.uint8)

    def keep(position: int) -> None:
        name = names[position]
        pixels[position] = reader.read(io.BytesIO(files.read(name)), name)

    _each(keep, range(len(names)), large=size * size > LARGE)
    (train_pixels, test_pixels), (train_labels, test_labels) = pixels.split(sizes), labels.split(sizes)
    return _resident(train_pixels, train_labels, test_pixels, test_labels, laid.classes, account)


def _in_memory(images: ImageData, max_bytes: int) -> ImageData:
    if not isinstance(images.train, Resident):
        raise DataError(_too_large(images.image_size, max_bytes))
    return images


def _too_large(size: int, max_bytes: int) -> str:
    return (
        f"its images take more than {max_bytes} bytes at {size} x {size} pixels; give a smaller image_size, "
        "or put its folders below the data root"
    )


def _account(laid: layout.Layout, names: list[str], looked: list[Looked], items: list[Item]) -> Account:
    converted: dict[str, list[str]] = {}
    for name, one in zip(names, looked, strict=True):
        for conversion in one.conversions:
            converted.setdefault(conversion, []).append(name)
    counts = count(items, laid.classes)
    colours = [one.colour for one in looked]
    warnings = [*laid.warnings, *doubts(items, counts)]
    if any(colours) and not all(colours):
        warnings.append(f"{colours.count(False)} of {len(colours)} images are grey; all are read as colour")
    deep = None
    if "more than 8 bits" in converted:
        deep = low, high = value_range(looked)
        warnings.append(
            f"{len(converted['more than 8 bits'])} images of more than 8 bits were scaled "
            f"from {low:g}…{high:g} to 0…255"
        )
    return Account(digest_of(items, laid.classes), counts, laid.skipped, converted, warnings, deep)


def _look_and_digest(files: Files, name: str) -> tuple[Looked, str]:
    content = files.read(name)
    return look(io.BytesIO(content), name), hashlib.sha256(content).hexdigest()


def _side(names: list[str], looked: list[Looked]) -> int:
    """The side that all images have.

    Raises:
        DataError: an image is not square, or of another size than the first; the message names it.
    """
    side = looked[0].width
    for name, one in zip(names, looked, strict=True):
        if one.width != one.height:
            raise DataError(
                f"{name} is {one.width} x {one.height} pixels; give image_size to crop to squares"
            )
        if one.width != side:
            raise DataError(
                f"{name} is {one.width} x {one.height} pixels and the first image {side} x {side}; "
                "give image_size to bring them to one size"
            )
    return side


def _each(function: Callable[[S], T], values: Iterable[S], large: bool = False) -> list[T]:
    """The results of a function for every value, in threads where that is faster."""
    if not large:
        return [function(value) for value in values]
    with ThreadPoolExecutor(READERS) as threads:
        return list(threads.map(function, values))


def _planes(images: Any) -> Tensor:
    """torchvision's `data` (`[n, h, w]` or `[n, h, w, c]`) as `[n, c, h, w]`."""
    tensor = torch.as_tensor(images, dtype=torch.uint8)
    return tensor[:, None].contiguous() if tensor.ndim == 3 else tensor.permute(0, 3, 1, 2).contiguous()


def _labels(targets: Any) -> Tensor:
    return torch.as_tensor(targets, dtype=torch.int64)
