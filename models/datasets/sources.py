"""Where images come from: built in, torchvision, folders and archives."""

import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch import Tensor

from models.datasets.data import DataError, ImageData, Resident, Streamed

SPLIT_SEED = 2024
"""Seed of every split that a data set does not bring itself."""

RESIDENT_BYTES = 4 << 30
"""Images that take more are streamed."""

IMAGE_SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".pgm", ".ppm"}


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
    _, channels, size, _ = train_images.shape
    train, test = Resident(train_images, train_labels), Resident(test_images, test_labels)
    return ImageData(train, test, classes, channels, size)


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
    except (RuntimeError, OSError, ValueError, EOFError) as error:
        raise DataError(
            f"the images of {name!r} are not in the data root; put torchvision's {facts.loader} files there, "
            f"or ask for a download ({type(error).__name__}: {str(error).splitlines()[0]})"
        ) from error
    classes = getattr(train, "classes", None) or [str(i) for i in range(facts.classes)]
    return resident(
        _planes(train.data), _labels(train.targets), _planes(test.data), _labels(test.targets), tuple(classes)
    )


def load_folder(root: Path, image_size: int | None = None, resident_bytes: int = RESIDENT_BYTES) -> ImageData:
    """A folder of `train/<class>/*` and `test/<class>/*` images (torchvision's `ImageFolder` form).

    Args:
        root: the folder.
        image_size: side in pixels to which images are scaled and cropped at the centre; by default
            they must all be square and of one size.
        resident_bytes: images that take more are streamed.

    Raises:
        DataError: naming the file or folder at fault.
    """
    train, test = (_image_folder(root, split) for split in ("train", "test"))
    if train.classes != test.classes:
        differing = sorted(set(train.classes) ^ set(test.classes))
        raise DataError(f"train and test must have the same classes; {', '.join(differing[:5])} differ")
    if len(train.classes) < 2:
        raise DataError(f"has {len(train.classes)} class; at least 2 are needed")
    grey = all(_open(path).mode in ("1", "L") for path, _ in train.samples[:100])
    mode, channels = ("L", 1) if grey else ("RGB", 3)
    size = image_size or _side(train.samples[0][0])
    classes = tuple(train.classes)
    if (len(train.samples) + len(test.samples)) * channels * size**2 > resident_bytes:
        splits = [Streamed(files, torch.arange(len(files.samples)), size, mode) for files in (train, test)]
        return ImageData(splits[0], splits[1], classes, channels, size)
    read = _reader(mode, size, image_size is not None)
    pixels = [np.stack([read(path) for path, _ in files.samples]) for files in (train, test)]
    images = [torch.from_numpy(x[:, None] if grey else x.transpose(0, 3, 1, 2).copy()) for x in pixels]
    return resident(images[0], _labels(train.targets), images[1], _labels(test.targets), classes)


def load_archive(file: Any, image_size: int | None = None, max_bytes: int = RESIDENT_BYTES) -> ImageData:
    """A zip archive of the form that `load_folder` reads, perhaps below one outer folder.

    Args:
        file: an open binary file.
        image_size: as for `load_folder`.
        max_bytes: how large the unpacked images may be.

    Raises:
        DataError: not a zip archive, or one that unpacks to more, or what `load_folder` raises.
    """
    try:
        archive = zipfile.ZipFile(file)
    except zipfile.BadZipFile:
        raise DataError("is not a zip archive") from None
    with archive, TemporaryDirectory() as folder:
        images = [m for m in archive.infolist() if Path(m.filename).suffix.lower() in IMAGE_SUFFIXES]
        if sum(member.file_size for member in images) > max_bytes:
            raise DataError(
                f"unpacks to more than {max_bytes} bytes; put its folders below the data root instead, "
                "and name them as folder"
            )
        try:
            for member in images:
                archive.extract(member, folder)  # refuses paths that lead out of the folder
        except (zipfile.BadZipFile, RuntimeError, NotImplementedError, OSError) as error:
            raise DataError(f"cannot be unpacked: {error}") from None
        root = Path(folder)
        inner = [path for path in root.iterdir() if path.is_dir() and path.name != "__MACOSX"]
        if len(inner) == 1 and inner[0].name not in ("train", "test"):
            root = inner[0]
        return load_folder(root, image_size)


def _image_folder(root: Path, split: str) -> Any:
    from torchvision.datasets import ImageFolder

    if not (root / split).is_dir():
        raise DataError(f"has no folder {split!r}; train/<class>/… and test/<class>/… are needed")
    try:
        return ImageFolder(str(root / split), loader=_open)
    except FileNotFoundError as error:
        raise DataError(str(error).splitlines()[0]) from None


def _planes(images: Any) -> Tensor:
    """torchvision's `data` (`[n, h, w]` or `[n, h, w, c]`) as `[n, c, h, w]`."""
    tensor = torch.as_tensor(images, dtype=torch.uint8)
    return tensor[:, None].contiguous() if tensor.ndim == 3 else tensor.permute(0, 3, 1, 2).contiguous()


def _labels(targets: Any) -> Tensor:
    return torch.as_tensor(targets, dtype=torch.int64)


def _open(path: str) -> Any:
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as image:
            image.load()
            return image
    except (UnidentifiedImageError, OSError, Image.DecompressionBombError) as error:
        raise DataError(f"{_short(path)} is not a readable image: {type(error).__name__}") from None


def _side(path: str) -> int:
    width, height = _open(path).size
    if width != height:
        raise DataError(f"{_short(path)} is {width} x {height} pixels; give image_size to crop to squares")
    return int(width)


def _reader(mode: str, side: int, resize: bool) -> Callable[[str], Any]:
    from PIL import ImageOps

    def read(path: str) -> Any:
        image = _open(path).convert(mode)
        if resize:
            image = ImageOps.fit(image, (side, side))
        elif image.size != (side, side):
            raise DataError(
                f"{_short(path)} is {image.size[0]} x {image.size[1]} pixels and the first image "
                f"{side} x {side}; give image_size to bring them to one size"
            )
        return np.asarray(image, dtype=np.uint8)

    return read


def _short(path: str) -> str:
    return "/".join(Path(path).parts[-3:])
