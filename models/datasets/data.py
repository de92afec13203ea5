"""Labelled images in splits, and augmented batches of them.

A split that fits in memory is `Resident`: one uint8 tensor, moved to the training device once and
augmented there in batches. A larger one is `Streamed` from its files by worker processes.
"""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from models.datasets.account import Account
from models.genotypes.network import StemChoice, has_large_stem, smallest_image

STREAM_WORKERS = min(8, os.cpu_count() or 1)
"""Processes that read the files of a streamed split."""

STATISTICS_IMAGES = 2_000
"""Images of a streamed split that stand for all in its mean and deviation."""

Batch = tuple[Tensor, Tensor]
"""uint8 images `[batch, channels, size, size]` and int64 labels `[batch]`."""


class DataError(ValueError):
    """Images that cannot be used, with what would be right."""


class Split(Protocol):
    """Labelled images, in memory or not."""

    def __len__(self) -> int: ...

    @property
    def targets(self) -> Tensor:
        """The label of every image, int64."""
        ...

    def pixels(self, rows: Tensor) -> Tensor:
        """Some images as they are, uint8 `[images, channels, size, size]`, on the CPU.

        Args:
            rows: the numbers of the images, few.
        """
        ...

    def subset(self, rows: Tensor) -> "Split":
        """The images of these numbers, in this order."""
        ...

    def to(self, device: torch.device) -> "Split":
        """Makes the same split with its batches on another device."""
        ...

    def batches(
        self, batch_size: int, generator: torch.Generator | None, crop_padding: int = 0, flip: bool = False
    ) -> Iterator[Batch]:
        """Batches of all images.

        Args:
            batch_size: of all but the last.
            generator: of the order, crops and flips, on the CPU, so that a seed gives the same batches
                on every device. With it a last batch of one image is left out, as it has no variance;
                without it, all images come in their own order.
            crop_padding: of random crops, in pixels; 0 for none.
            flip: whether half of the images are mirrored.
        """
        ...


@dataclass(frozen=True)
class Resident:
    """A split in memory.

    Args:
        images: uint8 `[images, channels, size, size]`.
        labels: int64 `[images]`.
    """

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def targets(self) -> Tensor:
        """The label of every image, int64."""
        return self.labels

    def pixels(self, rows: Tensor) -> Tensor:
        """Some images as they are, as `Split` describes them."""
        return self.images[rows].cpu()

    def subset(self, rows: Tensor) -> "Resident":
        """The images of these numbers, in this order."""
        return Resident(self.images[rows], self.labels[rows])

    def to(self, device: torch.device) -> "Resident":
        """Copies the split to another device."""
        return Resident(self.images.to(device), self.labels.to(device))

    def batches(
        self, batch_size: int, generator: torch.Generator | None, crop_padding: int = 0, flip: bool = False
    ) -> Iterator[Batch]:
        """Batches of all images, as `Split` describes them."""
        if generator is None:
            yield from zip(self.images.split(batch_size), self.labels.split(batch_size), strict=True)
            return
        for rows in torch.randperm(len(self), generator=generator).split(batch_size):
            if len(rows) > 1:
                rows = rows.to(self.labels.device)
                yield augment(self.images[rows], crop_padding, flip, generator), self.labels[rows]


@dataclass(frozen=True)
class Streamed:
    """A split read from files, batch by batch.

    Args:
        files: paths of all its images.
        labels: int64, of each file.
        rows: int64, which of the files are in the split, in order.
        read: the pixels of a file, uint8 `[channels, size, size]`; sent to worker processes.
        device: where batches go.
    """

    files: tuple[str, ...]
    labels: Tensor
    rows: Tensor
    read: Callable[[str], Tensor]
    device: torch.device | str = "cpu"

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def targets(self) -> Tensor:
        """The label of every image, int64."""
        return self.labels[self.rows]

    def pixels(self, rows: Tensor) -> Tensor:
        """Some images as they are, as `Split` describes them, read in this process."""
        read = [self.read(self.files[row]) for row in self.rows[rows].tolist()]
        return torch.stack(read) if read else torch.empty(0, 1, 1, 1, dtype=torch.uint8)

    def subset(self, rows: Tensor) -> "Streamed":
        """The images of these numbers, in this order."""
        return replace(self, rows=self.rows[rows])

    def to(self, device: torch.device) -> "Streamed":
        """Makes the same split with its batches on another device."""
        return replace(self, device=device)

    def batches(
        self, batch_size: int, generator: torch.Generator | None, crop_padding: int = 0, flip: bool = False
    ) -> Iterator[Batch]:
        """Batches of all images, as `Split` describes them, read ahead by worker processes."""
        from torch.utils.data import DataLoader

        rows = self.rows if generator is None else self.rows[torch.randperm(len(self), generator=generator)]
        if generator is not None and len(rows) % batch_size == 1:
            rows = rows[:-1]
        files = _Files([self.files[row] for row in rows.tolist()], self.labels[rows].tolist(), self.read)
        for images, labels in DataLoader(files, batch_size, num_workers=STREAM_WORKERS, generator=generator):
            images, labels = (part.to(self.device, non_blocking=True) for part in (images, labels))
            yield (images if generator is None else augment(images, crop_padding, flip, generator)), labels


class _Files(torch.utils.data.Dataset[Batch]):
    """Some files with their labels."""

    def __init__(self, files: list[str], labels: list[int], read: Callable[[str], Tensor]) -> None:
        self.files, self.labels, self.read = files, labels, read

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, position: int) -> tuple[Tensor, int]:  # type: ignore[override]
        return self.read(self.files[position]), self.labels[position]


@dataclass(frozen=True)
class ImageData:
    """A data set with a fixed train/test split.

    Args:
        train, test: the splits.
        classes: the name of each label.
        channels: 1 for grey, 3 for colour images.
        image_size: height and width in pixels.
        account: what reading it came to.
    """

    train: Split
    test: Split
    classes: tuple[str, ...]
    channels: int
    image_size: int
    account: Account

    def limited(self, train: int | None, seed: int) -> "ImageData":
        """Draws at most `train` training images with a seed; the test split stays whole."""
        if train is None or train >= len(self.train):
            return self
        order = torch.randperm(len(self.train), generator=torch.Generator().manual_seed(seed))
        return replace(self, train=self.train.subset(order[:train]))

    def statistics(self, device: torch.device) -> tuple[Tensor, Tensor]:
        """Mean and deviation of each channel of the training split, `[channels, 1, 1]` on a device."""
        split = self.train
        if isinstance(split, Streamed) and len(split) > STATISTICS_IMAGES:
            split = split.subset(torch.linspace(0, len(split) - 1, STATISTICS_IMAGES).long())
        # in double and by histogram: one pass over the bytes, whatever their number
        counts = torch.zeros(self.channels, 256, dtype=torch.float64)
        for images, _ in split.batches(1_000, None):
            planes = images.transpose(0, 1).flatten(1).long()
            counts += torch.stack([torch.bincount(plane, minlength=256) for plane in planes]).cpu()
        values = torch.arange(256, dtype=torch.float64) / 255
        share = counts / counts.sum(dim=1, keepdim=True)
        mean = share @ values
        deviation = (share @ values**2 - mean**2).clamp(min=1e-8).sqrt()
        shape = (-1, 1, 1)
        return mean.float().reshape(shape).to(device), deviation.float().reshape(shape).to(device)


def require_size(image_size: int, cells: int, stem: StemChoice = "auto") -> None:
    """Refuses images that a network of so many cells would reduce below 2 x 2 pixels.

    Raises:
        DataError: naming the smallest size that would do.
    """
    smallest = smallest_image(cells, has_large_stem(image_size, stem))
    if image_size < smallest:
        raise DataError(
            f"images of {image_size} x {image_size} pixels are too small for {cells} cells; "
            f"at least {smallest} x {smallest} are needed"
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


def jitter(images: Tensor, strength: float, generator: torch.Generator) -> Tensor:
    """Random brightness, contrast and saturation, each image by factors of its own.

    Args:
        images: uint8 `[batch, channels, size, size]`.
        strength: factors are drawn from 1 - strength to 1 + strength; 0 for none.
        generator: on the CPU.

    Returns:
        float32 of the same shape, 0 to 255.
    """
    if strength == 0:
        return images
    draws = torch.rand(3, len(images), 1, 1, 1, generator=generator).to(images.device)
    brightness, contrast, saturation = 1 + strength * (2 * draws - 1)
    changed = images.float() * brightness
    middle = changed.mean((1, 2, 3), keepdim=True)
    changed = middle + contrast * (changed - middle)
    grey = changed.mean(1, keepdim=True)
    return (grey + saturation * (changed - grey)).clamp(0, 255)


def cut_out(images: Tensor, side: int, generator: torch.Generator) -> Tensor:
    """A square of zeros somewhere in every image (DeVries, Taylor, 2017); it may reach over the border.

    Args:
        images: normalised, `[batch, channels, size, size]`.
        side: of the square in pixels; 0 for none.
        generator: on the CPU.
    """
    if side == 0:
        return images
    size = images.shape[-1]
    centre = torch.randint(size, (2, len(images), 1), generator=generator).to(images.device)
    corner = centre - side // 2
    place = torch.arange(size, device=images.device)
    rows, columns = (place >= corner) & (place < corner + side)  # each [batch, size]
    return images.masked_fill((rows[:, :, None] & columns[:, None])[:, None], 0.0)
