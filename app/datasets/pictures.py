"""What a data set looks like: single images, and a sheet of some of every class."""

import base64
import io
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from app.artifacts import Artifacts
from app.datasets import reading, service
from app.datasets.schemas import ImageOut
from app.datasets.tables import Dataset
from app.problems import InvalidRequest, Unavailable
from app.settings import Settings
from models.datasets.data import DataError, ImageData

T = TypeVar("T")

CLASSES, COLUMNS = 50, 10
"""Rows of a sheet at most, and images of each class."""

SIDE, GAP, LABEL = 64, 4, 160
"""Pixels of an image on a sheet, between two, and for the name of a class."""


def sheet(dataset: Dataset, settings: Settings, artifacts: Artifacts) -> bytes:
    """The first training images of every class as one PNG, a row for each class.

    Raises:
        InvalidRequest: only facts are known of the data set.
        Unavailable: its images cannot be read, with the reason.
    """
    return _drawn(_sheet, dataset, settings, artifacts)


def images(
    dataset: Dataset, settings: Settings, artifacts: Artifacts, split: str, class_name: str | None, limit: int
) -> list[ImageOut]:
    """Some images of a split as the network sees them, of one class or of each in turn.

    Raises:
        InvalidRequest: only facts are known of the data set, or it has no such class.
        Unavailable: its images cannot be read, with the reason.
    """
    if class_name is not None and class_name not in dataset.class_names:
        names = ", ".join(dataset.class_names[:20])
        raise InvalidRequest.of("class", f"there is no class {class_name!r}; must be one of {names}")
    wanted = dataset.class_names if class_name is None else [class_name]
    return _drawn(_images, dataset, settings, artifacts, split, wanted, limit)


def batch(dataset: Dataset, settings: Settings, artifacts: Artifacts, count: int) -> Tensor:
    """Some training images as the network sees them, always the same, uint8 `[count, channels, size, size]`.

    Raises:
        InvalidRequest: only facts are known of the data set.
        Unavailable: its images cannot be read, with the reason.
    """
    return torch.from_numpy(_drawn(_batch, dataset, settings, artifacts, count))


def _batch(dataset: Dataset, settings: Settings, artifacts: Artifacts, count: int) -> NDArray[np.uint8]:
    train = service.load(dataset, settings, artifacts).train
    drawn = torch.randperm(len(train), generator=torch.Generator().manual_seed(0))
    # as an array: a tensor would be handed over in memory that the process takes with it
    return np.asarray(train.pixels(drawn[:count]).numpy(), dtype=np.uint8)


def _drawn(function: Callable[..., T], dataset: Dataset, settings: Settings, *arguments: Any) -> T:
    """The result of a function that reads images of a data set, in a process of its own."""
    service.require_images(dataset, "dataset_id")
    try:
        return reading.in_child(function, settings, dataset, settings, *arguments)
    except DataError as error:
        raise Unavailable(str(error)) from None


def _sheet(dataset: Dataset, settings: Settings, artifacts: Artifacts) -> bytes:
    data = service.load(dataset, settings, artifacts)
    shown = data.classes[:CLASSES]
    size = (LABEL + COLUMNS * (SIDE + GAP), len(shown) * (SIDE + GAP) + GAP)
    canvas = Image.new("RGB", size, "white")
    draw, font = ImageDraw.Draw(canvas), ImageFont.load_default(size=14)
    for row, name in enumerate(shown):
        top = GAP + row * (SIDE + GAP)
        draw.text((GAP, top + SIDE // 2 - 8), name[:20], fill="black", font=font)
        for column, pixels in enumerate(_of_class(data, "train", row, COLUMNS)):
            picture = _picture(pixels).convert("RGB").resize((SIDE, SIDE), Image.Resampling.NEAREST)
            canvas.paste(picture, (LABEL + column * (SIDE + GAP), top))
    return _png(canvas)


def _images(
    dataset: Dataset, settings: Settings, artifacts: Artifacts, split: str, wanted: list[str], limit: int
) -> list[ImageOut]:
    data = service.load(dataset, settings, artifacts)
    each = -(-limit // len(wanted))
    return [
        ImageOut(split=split, class_name=name, png=base64.b64encode(_png(_picture(pixels))).decode())
        for name in wanted
        for pixels in _of_class(data, split, data.classes.index(name), each)
    ][:limit]


def _of_class(data: ImageData, split: str, label: int, limit: int) -> Tensor:
    """uint8 `[images, channels, size, size]`, the first images of a class."""
    part = data.train if split == "train" else data.test
    return part.pixels((part.targets == label).nonzero().flatten()[:limit])


def _picture(pixels: Tensor) -> Image.Image:
    """A Pillow image of uint8 `[channels, size, size]`."""
    values = pixels.permute(1, 2, 0).numpy()
    return Image.fromarray(values[..., 0] if values.shape[-1] == 1 else values)


def _png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()
