"""The one reader of images: what a viewer shows, as 8-bit grey or RGB, whatever the file holds.

Folders, archives and streams read through it, so that one file has the same pixels everywhere.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from torch import Tensor

from models.datasets.data import DataError

MAX_PIXELS = 128 * 1024 * 1024
"""Pixels of the largest image that is read, about 11,500 x 11,500."""

MAX_TEXT = 64 << 20
"""Bytes of a PNG's text or colour profile, which Pillow refuses by default from 1 MiB on."""

DEEP = ("I", "F", "I;16", "I;16L", "I;16B", "I;16N")
"""Pillow's modes of more than 8 bits a channel; all are grey."""

BITS = (8, 10, 12, 14, 16, 24, 31)
"""Depths of integers that cameras and scanners deliver."""


@dataclass(frozen=True)
class Looked:
    """Facts about an image file that a look at it tells, before its pixels are needed.

    Args:
        width, height: as it is shown, in pixels.
        colour: whether it has colour channels.
        conversions: what reading it changes, as `orientation` or `alpha on white`.
        low, high: the values that it holds, of an image of more than 8 bits; else `None`.
        whole: whether these values are whole numbers.
    """

    width: int
    height: int
    colour: bool
    conversions: tuple[str, ...]
    low: float | None = None
    high: float | None = None
    whole: bool = True


@dataclass(frozen=True)
class Reader:
    """Reads image files as uint8 `[channels, size, size]`.

    Args:
        channels: 1 for grey, 3 for RGB.
        size: side in pixels.
        fit: whether images are scaled and cropped at the centre; otherwise each must have that size.
        low, high: the values of deep images that become black and white.
    """

    channels: int
    size: int
    fit: bool = False
    low: float = 0.0
    high: float = 65_535.0

    def __call__(self, path: str) -> Tensor:
        """The pixels of the file at a path; raises as `read`."""
        with open(path, "rb") as file:
            return self.read(file, short(path))

    def read(self, file: IO[bytes], name: str) -> Tensor:
        """The pixels of an open file.

        Args:
            file: an image of any kind.
            name: what errors call it.

        Raises:
            DataError: it is not readable, or of another size; the message names the file.
        """
        from PIL import ImageOps

        image = _shown(_open(file, name), self.low, self.high).convert("L" if self.channels == 1 else "RGB")
        if self.fit:
            image = ImageOps.fit(image, (self.size, self.size))
        elif image.size != (self.size, self.size):
            raise DataError(
                f"{name} is {image.size[0]} x {image.size[1]} pixels and the first image "
                f"{self.size} x {self.size}; give image_size to bring them to one size"
            )
        pixels = np.array(image, dtype=np.uint8).reshape(self.size, self.size, self.channels)
        return torch.from_numpy(pixels).permute(2, 0, 1).contiguous()


def look(file: IO[bytes], name: str) -> Looked:
    """Looks at an open image file, at the cost of its header; of deep images and palettes also of its pixels.

    Args:
        file: an image of any kind.
        name: what errors call it.

    Raises:
        DataError: it is not readable; the message names the file.
    """
    from PIL import ImageOps

    try:
        with _header(file) as image:
            conversions, colour = [], _has_colour(image)
            # of a TIFF the size is that of the turned image already (Pillow 13.0.0)
            turned = image.getexif().get(0x0112, 1) in range(5, 9) and image.format != "TIFF"
            if image.getexif().get(0x0112, 1) in range(2, 9):
                conversions.append("orientation")
            if getattr(image, "n_frames", 1) > 1:
                conversions.append("first of several frames")
            if _has_alpha(image):
                conversions.append("alpha on white")
            if image.mode in ("CMYK", "YCbCr", "LAB", "HSV"):
                conversions.append(f"{image.mode} to RGB")
            width, height = reversed(image.size) if turned else image.size
            if image.mode not in DEEP:
                return Looked(width, height, colour, tuple(conversions))
            values = np.asarray(ImageOps.exif_transpose(image))
    except MemoryError:
        raise
    except Exception as error:  # decoders of damaged files raise anything
        raise _unreadable(name, error) from None
    if not np.isfinite(values).all():
        raise DataError(f"{name} holds values that are no numbers")
    conversions.append("more than 8 bits")
    low, high = float(values.min()), float(values.max())
    whole = bool(np.issubdtype(values.dtype, np.integer))
    return Looked(width, height, colour, tuple(conversions), low, high, whole)


def value_range(looked: list[Looked]) -> tuple[float, float]:
    """The values of a data set's deep images that become black and white, the same for all of them.

    Whole numbers go from 0 to the largest of the smallest usual depth that holds all of them; fractions from
    0 to 1 if all lie there, otherwise from the lowest to the highest.
    """
    deep = [one for one in looked if one.low is not None and one.high is not None]
    if not deep:
        return 0.0, 65_535.0
    low, high = min(one.low or 0.0 for one in deep), max(one.high or 0.0 for one in deep)
    if all(one.whole for one in deep) and low >= 0:
        return 0.0, float(next(2**bits - 1 for bits in BITS if high < 2**bits))
    if low >= 0 and high <= 1:
        return 0.0, 1.0
    return low, high


def short(path: str) -> str:
    """The end of a path, as errors show it."""
    return "/".join(Path(path).parts[-3:])


def _header(file: IO[bytes]) -> Any:
    """A Pillow image whose pixels are not read yet, if it is not too large."""
    from PIL import Image, PngImagePlugin

    PngImagePlugin.MAX_TEXT_CHUNK = PngImagePlugin.MAX_TEXT_MEMORY = MAX_TEXT
    image = Image.open(file)
    if image.width * image.height > MAX_PIXELS:
        image.close()
        raise OSError(f"it is {image.width} x {image.height} pixels; at most {MAX_PIXELS} are read")
    return image


def _open(file: IO[bytes], name: str) -> Any:
    """A Pillow image with its pixels, turned as it is shown."""
    from PIL import ImageOps

    try:
        with _header(file) as image:
            image.load()
            return ImageOps.exif_transpose(image)
    except MemoryError:
        raise
    except Exception as error:  # as in `look`
        raise _unreadable(name, error) from None


def _unreadable(name: str, error: Exception) -> DataError:
    from PIL import UnidentifiedImageError

    reason = "no image that is known" if isinstance(error, UnidentifiedImageError) else str(error)
    return DataError(f"{name} is not a readable image: {reason or type(error).__name__}")


def _shown(image: Any, low: float, high: float) -> Any:
    """The image as a viewer shows it, in a mode of 8 bits without alpha."""
    from PIL import Image

    if image.mode in DEEP:
        values = np.asarray(image, dtype=np.float64)
        shares = (values - low) / max(high - low, 1e-12)
        pixels = np.rint(255 * shares.clip(0, 1)).astype(np.uint8)
        clear = image.info.get("transparency")  # of a grey PNG the one value that is transparent
        return Image.fromarray(np.where(values == clear, 255, pixels) if isinstance(clear, int) else pixels)
    if not _has_alpha(image):
        return image
    grey = image.mode in ("LA", "La")
    drawn = image.convert("LA" if grey else "RGBA").convert("RGBA")
    flat = Image.alpha_composite(Image.new("RGBA", drawn.size, "white"), drawn).convert("RGB")
    return flat.convert("L") if grey else flat


def _has_alpha(image: Any) -> bool:
    return image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info


def _has_colour(image: Any) -> bool:
    if image.mode in ("P", "PA"):
        colours = np.asarray(image.convert("RGB")).reshape(-1, 3)
        return bool((colours[:, :1] != colours).any())
    if image.tile and str(image.tile[0].args).startswith("LA"):
        return False  # a PNG of deep grey with alpha, which Pillow reads as RGBA
    return image.mode not in ("1", "L", "LA", "La", *DEEP)
