"""Reading the images of a data set into what its row and the file store keep, in a process of its own."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch

from app import apart
from app.artifacts import Artifacts
from app.settings import Settings
from models.datasets.account import constant_channels, mean_and_deviation
from models.datasets.data import DataError, ImageData, Resident
from models.datasets.similarity import SAMPLES, SEED, SIZE, Profile, distance, profile, without_structure
from models.datasets.sources import load_archive, load_folder, load_named

T = TypeVar("T")

apart.preload(__name__, "ot")  # which distances import when they are first measured

MEMORY_FACTOR, MEMORY_SPARE = 4, 2 << 30
"""Memory of the process that reads: so many times that of the images that may be resident, and more."""


@dataclass(frozen=True)
class Read:
    """Facts about images that were read; their pixels are in the file store, or stay where they were.

    Args:
        channels, image_size: of all images.
        classes: their names.
        train_count, test_count: images in each split.
        digest: of all images with their splits and classes.
        account: what reading came to, with statistics.
    """

    channels: int
    image_size: int
    classes: tuple[str, ...]
    train_count: int
    test_count: int
    digest: str
    account: dict[str, Any]


def named(name: str, download: bool, settings: Settings, artifacts: Artifacts) -> Read:
    """Reads a known data set; raises `DataError`."""
    if name == "digits":  # they come with a library, and no file of a user is read
        return _kept(load_named(name, settings.data_root), artifacts)
    return in_child(_read, settings, artifacts, load_named, name, settings.data_root, download)


def folder(
    path: Path, image_size: int | None, test_share: float, settings: Settings, artifacts: Artifacts
) -> Read:
    """Reads a folder of images; raises `DataError`."""
    arguments = (path, image_size, settings.resident_bytes, test_share)
    return in_child(_read, settings, artifacts, load_folder, *arguments)


def archive(
    file: Any,
    image_size: int | None,
    test_share: float,
    images_key: str,
    settings: Settings,
    artifacts: Artifacts,
) -> Read:
    """Reads an archive of images, which are then in the file store under a key; raises `DataError`."""
    if hasattr(file, "rollover"):
        file.rollover()  # small ones are in memory, without a descriptor
    arguments = (apart.Handed(file), image_size, settings.resident_bytes, test_share)
    try:
        return in_child(_read_and_store, settings, artifacts, images_key, load_archive, *arguments)
    except BaseException:
        artifacts.delete(images_key)
        raise


def in_child(function: Callable[..., T], settings: Settings, *arguments: Any) -> T:
    """The result of a function that reads images, in a process of its own.

    Raises:
        DataError: what the function raises of the kind, or the process died, or took too long or too much.
    """
    memory = MEMORY_FACTOR * settings.resident_bytes + MEMORY_SPARE
    try:
        return apart.call(function, *arguments, seconds=settings.read_seconds, memory_bytes=memory)
    except apart.Died as error:
        raise DataError(str(error)) from None


def load_profile(digest: str, artifacts: Artifacts) -> Profile | None:
    """The kept profile of images with a digest, if there is one."""
    stored = _load(digest, artifacts)
    return Profile(stored["features"].double() / 255, stored["labels"]) if stored is not None else None


def load_noise_distance(digest: str, artifacts: Artifacts) -> float | None:
    """The kept distance of images with a digest to noise of their own brightness, if there is one."""
    stored = _load(digest, artifacts)
    return float(stored["noise"]) if stored is not None else None


def keep_profile(images: ImageData, artifacts: Artifacts) -> Profile:
    """Makes the profile of images and keeps it under their digest."""
    made = profile(images)
    kept = {
        "features": (255 * made.features).round().to(torch.uint8),
        "labels": made.labels,
        "noise": distance(made, without_structure(made)),
    }
    artifacts.put_tensors(profile_key(images.account.digest), kept)
    return made


def delete_profile(digest: str, artifacts: Artifacts) -> None:
    """Removes the kept profile of images with a digest."""
    artifacts.delete(profile_key(digest))


def _load(digest: str, artifacts: Artifacts) -> dict[str, Any] | None:
    try:
        stored: dict[str, Any] = artifacts.get_tensors(profile_key(digest))
    except FileNotFoundError:
        return None
    return stored


def profile_key(digest: str) -> str:
    """The key of the kept profile of images with a digest."""
    return f"profiles/{digest}-{SIZE}-{SAMPLES}-{SEED}.pt"


def _read(artifacts: Artifacts, load: Callable[..., ImageData], *arguments: Any) -> Read:
    return _kept(load(*arguments), artifacts)


def _read_and_store(artifacts: Artifacts, key: str, load: Callable[..., ImageData], *arguments: Any) -> Read:
    images = load(*arguments)
    assert isinstance(images.train, Resident)
    assert isinstance(images.test, Resident)
    artifacts.put_tensors(
        key,
        {
            "train_images": images.train.images,
            "train_labels": images.train.labels,
            "test_images": images.test.images,
            "test_labels": images.test.labels,
        },
    )
    return _kept(images, artifacts)


def _kept(images: ImageData, artifacts: Artifacts) -> Read:
    """The facts of images, whose profile is then kept."""
    keep_profile(images, artifacts)
    statistics = images.statistics(torch.device("cpu"))
    mean, deviation = mean_and_deviation(statistics)
    account = images.account.as_dict()
    account["warnings"] = [*account["warnings"], *constant_channels(statistics[1])]
    return Read(
        images.channels,
        images.image_size,
        images.classes,
        len(images.train),
        len(images.test),
        images.account.digest,
        {**account, "mean": mean, "deviation": deviation},
    )
