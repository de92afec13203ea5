"""Images as numpy arrays in an npz file: `images` and `labels`, or those of each split."""

import io
from typing import Any

import numpy as np
import torch
from torch import Tensor

from models.datasets.archives import Zip
from models.datasets.data import DataError
from models.datasets.layout import in_counting_order, require_classes, split_by_seed, told_of_split

PAIRS = (("images", "labels"), ("x", "y"))
"""Names of arrays without a split; with one they are `train_images`, `train_x` or `x_train`."""


def is_npz(archive: Zip) -> bool:
    """Whether a zip archive holds numpy arrays and nothing else."""
    return bool(archive.names) and all(name.endswith(".npy") for name in archive.names)


def read(archive: Zip, test_share: float) -> tuple[dict[str, Tensor], tuple[str, ...], list[str]]:
    """The tensors of `sources.resident`, the names of the classes, and sentences on what was chosen.

    Args:
        archive: of arrays.
        test_share: of each class, where there is no test split.

    Raises:
        DataError: arrays are missing, do not go together, or are no images; the message names the array.
    """
    arrays = {name.removesuffix(".npy"): _array(archive, name) for name in archive.names}
    warnings: list[str] = []
    if (whole := _pair(arrays, "")) is not None:
        images, labels = whole
        train_rows, test_rows = split_by_seed(labels.tolist(), test_share)
        warnings.append(told_of_split(test_share))
        splits = [(images[rows], labels[rows]) for rows in (train_rows, test_rows)]
    else:
        found = [_pair(arrays, split) for split in ("train", "test", "val")]
        if found[0] is None or (found[1] or found[2]) is None:
            raise DataError(
                f"holds {', '.join(sorted(arrays))}; images and labels, or train_images, train_labels, "
                "test_images and test_labels, are needed"
            )
        if found[1] is None:
            warnings.append("the validation arrays are taken for the test split")
        splits = [found[0], found[1] or found[2]]  # type: ignore[list-item]
    names = in_counting_order(sorted({str(label) for _, labels in splits for label in labels.tolist()}))
    number = {name: label for label, name in enumerate(names)}
    require_classes(names)
    tensors = {}
    for split, (images, labels) in zip(("train", "test"), splits, strict=True):
        tensors[f"{split}_images"] = _planes(images, f"{split} images", warnings)
        tensors[f"{split}_labels"] = torch.tensor([number[str(label)] for label in labels.tolist()])
    if tensors["train_images"].shape[1:] != tensors["test_images"].shape[1:]:
        raise DataError("the images of both splits must have one size and the same channels")
    return tensors, tuple(names), warnings


def _array(archive: Zip, name: str) -> Any:
    try:
        return np.load(io.BytesIO(archive.read(name)), allow_pickle=False)
    except (ValueError, EOFError, OSError, MemoryError, OverflowError, SyntaxError) as error:
        raise DataError(f"{name} is not an array of plain values: {error}") from None


def _pair(arrays: dict[str, Any], split: str) -> tuple[Any, Any] | None:
    """The images and labels of a split, if they are there."""
    for images, labels in PAIRS:
        for names in ((f"{split}_{images}", f"{split}_{labels}"), (f"{images}_{split}", f"{labels}_{split}")):
            image_name, label_name = (name.strip("_") for name in names)
            if image_name in arrays and label_name in arrays:
                pictures, answers = arrays[image_name], np.squeeze(arrays[label_name])
                if answers.ndim != 1 or len(answers) != len(pictures):
                    raise DataError(
                        f"{label_name} must be one label for each of the {len(pictures)} {image_name}; "
                        f"it has the shape {arrays[label_name].shape}"
                    )
                if answers.dtype.kind not in "iuUSb":
                    raise DataError(f"{label_name} must be whole numbers or names, not {answers.dtype}")
                return pictures, answers
    return None


def _planes(images: Any, name: str, warnings: list[str]) -> Tensor:
    """uint8 `[images, channels, size, size]` of `[n, h, w]`, `[n, h, w, c]` or `[n, c, h, w]`."""
    if images.ndim == 3:
        images = images[..., None]
    elif images.ndim == 4 and images.shape[1] in (1, 3) and images.shape[-1] not in (1, 3):
        images = images.transpose(0, 2, 3, 1)
    if images.ndim != 4 or images.shape[-1] not in (1, 3) or images.shape[1] != images.shape[2]:
        raise DataError(f"the {name} have the shape {images.shape}; square grey or RGB images are needed")
    if images.dtype.kind == "f":
        if not np.isfinite(images).all() or images.min() < 0 or images.max() > 1:
            raise DataError(f"the {name} are fractions that do not all lie within 0 and 1")
        images = np.rint(255 * images).astype(np.uint8)
        warnings.append(f"the {name} were scaled from 0…1 to 0…255")
    if images.dtype != np.uint8:
        raise DataError(f"the {name} are {images.dtype}; uint8, or fractions from 0 to 1, are needed")
    return torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2)))
