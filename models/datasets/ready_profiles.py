"""The profiles that ship with the service: known data sets have a distance before their images are here.

`make ready-profiles` makes the files again from the real images in the data root. A profile is a mosaic of
small images in a file of at most 200 kB: PNG, or where that takes more JPEG, which moves distances to other
data sets by less than 0.01.
"""

import io
import json
import os
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from models.datasets.data import ImageData
from models.datasets.similarity import SIZE, Profile, profile
from models.datasets.sources import load_archive, load_named

FOLDER = Path(__file__).parent / "ready_profiles"

NAMES = ("mnist", "usps", "cifar10")
"""The known data sets that have one."""

COLUMNS = 25
"""Images in a row of a mosaic."""

MAX_BYTES = 200_000


@lru_cache
def load(name: str) -> Profile | None:
    """The profile of a known data set; `None` if none ships."""
    path = FOLDER / f"{name}.npz"
    if not path.exists():
        return None
    from PIL import Image

    with np.load(path) as arrays:
        content, labels = arrays["mosaic"].tobytes(), torch.from_numpy(arrays["labels"]).long()
    pixels = torch.from_numpy(np.array(Image.open(io.BytesIO(content)).convert("RGB")))
    tiles = pixels.unflatten(0, (-1, SIZE)).unflatten(2, (-1, SIZE))  # [row, SIZE, column, SIZE, channel]
    images = tiles.permute(0, 2, 4, 1, 3).flatten(0, 1)[: len(labels)]
    return Profile(images.flatten(1).double() / 255, labels)


def save(name: str, made: Profile, grey: bool) -> int:
    """Writes a profile's file, and tells its size in bytes."""
    mosaic = _mosaic(made, grey)
    path = FOLDER / f"{name}.npz"
    FOLDER.mkdir(exist_ok=True)
    np.savez(path, mosaic=np.frombuffer(mosaic, np.uint8), labels=made.labels.numpy().astype(np.uint16))
    return path.stat().st_size


def _mosaic(made: Profile, grey: bool) -> bytes:
    from PIL import Image

    images = (255 * made.features).round().to(torch.uint8).unflatten(1, (3, SIZE, SIZE))
    filled = torch.cat([images, images.new_zeros(-len(images) % COLUMNS, 3, SIZE, SIZE)])
    tiles = filled.unflatten(0, (-1, COLUMNS)).permute(0, 3, 1, 4, 2)
    image = Image.fromarray(_plane(tiles).numpy()).convert("L" if grey else "RGB")
    for form, options in (("PNG", {"optimize": True}), ("JPEG", {"quality": 85, "subsampling": 0})):
        buffer = io.BytesIO()
        image.save(buffer, form, **options)
        if buffer.tell() <= MAX_BYTES:
            return buffer.getvalue()
    raise ValueError(f"a profile takes {buffer.tell()} bytes; at most {MAX_BYTES} may ship")


def _plane(tiles: Tensor) -> Tensor:
    """`[height, width, channel]` of tiles `[row, SIZE, column, SIZE, channel]`."""
    return tiles.flatten(2, 3).flatten(0, 1).contiguous()


def _images(name: str, data_root: Path) -> ImageData:
    archive = data_root / f"{name}.zip"
    if not archive.exists():
        return load_named(name, data_root)
    with archive.open("rb") as file:
        return load_archive(file)


def main() -> None:
    """Makes all files from the images in the data root."""
    data_root = Path(os.environ.get("VGAE_NAS_DATA_ROOT", "data"))
    sizes = {}
    for name in NAMES:
        images = _images(name, data_root)
        sizes[name] = save(name, profile(images), images.channels == 1)
    print(json.dumps(sizes))


if __name__ == "__main__":
    main()
