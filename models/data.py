"""Labelled images: built in, from torchvision, from folders and archives; and batches of them.

A data set that fits in memory is one uint8 tensor a split, moved to the training device once and
augmented there in batches.
"""

import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from models.network import smallest_image

SPLIT_SEED = 2024
"""Of every split that a data set does not bring itself."""

IMAGE_SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".pgm", ".ppm"}


class DataError(ValueError):
    """Images that cannot be used, with what would be right."""


@dataclass(frozen=True)
class ImageData:
    """A data set with a fixed train/test split.

    Args:
        train_images: uint8 `[images, channels, size, size]`.
        train_labels: int64 `[images]`.
        test_images, test_labels: likewise.
        classes: the name of each label.
    """

    train_images: Tensor
    train_labels: Tensor
    test_images: Tensor
    test_labels: Tensor
    classes: tuple[str, ...]

    @property
    def channels(self) -> int:
        """1 for grey, 3 for colour images."""
        return self.train_images.shape[1]

    @property
    def image_size(self) -> int:
        """Height and width in pixels."""
        return self.train_images.shape[2]

    def to(self, device: torch.device | str) -> "ImageData":
        """The same data on another device."""
        names = ("train_images", "train_labels", "test_images", "test_labels")
        return replace(self, **{name: getattr(self, name).to(device) for name in names})

    def limited(self, train: int | None, seed: int) -> "ImageData":
        """At most `train` training images, drawn with a seed; the test split stays whole."""
        if train is None or train >= len(self.train_images):
            return self
        kept = torch.randperm(len(self.train_images), generator=torch.Generator().manual_seed(seed))[:train]
        return replace(self, train_images=self.train_images[kept], train_labels=self.train_labels[kept])

    def statistics(self, device: torch.device) -> tuple[Tensor, Tensor]:
        """Mean and deviation of each channel of the training split, `[channels, 1, 1]` on a device."""
        # in double and by histogram: one pass over the bytes, whatever their number
        counts = torch.stack(
            [torch.bincount(plane.flatten().long(), minlength=256) for plane in self.train_images.unbind(1)]
        ).double()
        values = torch.arange(256, dtype=torch.float64, device=counts.device) / 255
        share = counts / counts.sum(dim=1, keepdim=True)
        mean = share @ values
        deviation = (share @ values**2 - mean**2).clamp(min=1e-8).sqrt()
        shape = (-1, 1, 1)
        return mean.float().reshape(shape).to(device), deviation.float().reshape(shape).to(device)


def require_size(image_size: int, cells: int) -> None:
    """Refuses images that a network of so many cells would reduce below 2 x 2 pixels.

    Raises:
        DataError: naming the smallest size that would do.
    """
    if image_size < smallest_image(cells):
        raise DataError(
            f"images of {image_size} x {image_size} pixels are too small for {cells} cells; "
            f"at least {smallest_image(cells)} x {smallest_image(cells)} are needed"
        )


def normalise(images: Tensor, statistics: tuple[Tensor, Tensor]) -> Tensor:
    """uint8 images as float32 of mean 0 and deviation 1 per channel."""
    mean, deviation = statistics
    return (images.float() / 255 - mean) / deviation


def augment(images: Tensor, padding: int, flip: bool, generator: torch.Generator) -> Tensor:
    """Random crops of the images padded by so many pixels of zeros, and random horizontal flips.

    Args:
        images: `[batch, channels, size, size]` of any type.
        padding: in pixels; 0 for none.
        flip: whether half of the images are mirrored.
        generator: on the CPU, so that a seed gives the same batches on every device.
    """
    batch, channels, size, _ = images.shape
    if padding:
        shift = torch.randint(2 * padding + 1, (2, batch, 1), generator=generator).to(images.device)
        rows, columns = shift + torch.arange(size, device=images.device)  # each [batch, size]
        image = torch.arange(batch, device=images.device)[:, None, None, None]
        channel = torch.arange(channels, device=images.device)[:, None, None]
        padded = F.pad(images, (padding,) * 4)
        images = padded[image, channel, rows[:, None, :, None], columns[:, None, None, :]]
    if flip:
        mirrored = (torch.rand(batch, generator=generator) < 0.5).to(images.device)
        images = torch.where(mirrored[:, None, None, None], images.flip(3), images)
    return images


def shuffled(count: int, batch_size: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Index batches over a random order; a last batch of one is left out, as it has no variance."""
    for batch in torch.randperm(count, generator=generator).split(batch_size):
        if len(batch) > 1:
            yield batch


def load_digits() -> ImageData:
    """scikit-learn's 1,797 grey digits of 8 x 8 pixels, a fifth of each class for testing."""
    from sklearn.datasets import load_digits as bundled
    from sklearn.model_selection import train_test_split

    digits = bundled()
    images = np.round(digits.images * (255 / 16)).astype(np.uint8)[:, None]
    train_x, test_x, train_y, test_y = train_test_split(
        images, digits.target, test_size=0.2, random_state=SPLIT_SEED, stratify=digits.target
    )
    return ImageData(
        train_images=torch.from_numpy(train_x),
        train_labels=torch.from_numpy(train_y).long(),
        test_images=torch.from_numpy(test_x),
        test_labels=torch.from_numpy(test_y).long(),
        classes=tuple(str(name) for name in digits.target_names),
    )


@dataclass(frozen=True)
class KnownDataset:
    """What is known of a named data set before its images are at hand."""

    channels: int
    image_size: int
    classes: int
    train_count: int
    test_count: int
    loader: str | None
    """The torchvision class; `None` for the bundled digits and for sets of metadata only."""
    folder: str = ""
    """Where torchvision looks for it below the data root."""


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
    known = KNOWN_DATASETS[name]
    if known.loader is None:
        raise DataError(f"{name!r} has no loader; upload its images, or register a folder of them")
    import torchvision.datasets

    dataset = getattr(torchvision.datasets, known.loader)
    try:
        train, test = (
            dataset(root / known.folder, train=train, download=download) for train in (True, False)
        )
    except (RuntimeError, OSError, ValueError, EOFError) as error:
        raise DataError(
            f"the images of {name!r} are not in the data root; put torchvision's {known.loader} files there, "
            f"or ask for a download ({type(error).__name__}: {str(error).splitlines()[0]})"
        ) from error
    classes = getattr(train, "classes", None) or [str(i) for i in range(known.classes)]
    return ImageData(
        _planes(train.data), _labels(train.targets), _planes(test.data), _labels(test.targets), tuple(classes)
    )


def load_folder(root: Path, image_size: int | None = None) -> ImageData:
    """A folder of `train/<class>/*` and `test/<class>/*` images (torchvision's `ImageFolder` form).

    Args:
        root: the folder.
        image_size: side in pixels to which images are scaled and cropped at the centre; by default
            they must all be square and of one size.

    Raises:
        DataError: naming the file or folder at fault.
    """
    from torchvision.datasets import ImageFolder

    for split in ("train", "test"):
        if not (root / split).is_dir():
            raise DataError(f"has no folder {split!r}; train/<class>/… and test/<class>/… are needed")
    try:
        train, test = (ImageFolder(str(root / split), loader=_open) for split in ("train", "test"))
    except (FileNotFoundError, ValueError) as error:
        raise DataError(str(error).splitlines()[0]) from None
    if train.classes != test.classes:
        differing = sorted(set(train.classes) ^ set(test.classes))
        raise DataError(f"train and test must have the same classes; {', '.join(differing[:5])} differ")
    if len(train.classes) < 2:
        raise DataError(f"has {len(train.classes)} class; at least 2 are needed")
    grey = all(_open(path).mode in ("1", "L") for path, _ in train.samples[:100])
    read = _reader("L" if grey else "RGB", image_size or _side(train.samples[0][0]), image_size is not None)
    splits = [np.stack([read(path) for path, _ in split.samples]) for split in (train, test)]
    images = [torch.from_numpy(x[:, None] if grey else x.transpose(0, 3, 1, 2).copy()) for x in splits]
    return ImageData(
        images[0], _labels(train.targets), images[1], _labels(test.targets), tuple(train.classes)
    )


def load_archive(file: Any, image_size: int | None = None, max_bytes: int = 8 << 30) -> ImageData:
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
            raise DataError(f"unpacks to more than {max_bytes} bytes")
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
