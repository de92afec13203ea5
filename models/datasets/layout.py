"""How people lay images out: which file belongs to which split and class, and what is left out."""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath

import torch

from models.datasets.data import DataError

Parts = tuple[str, ...]
"""The name of a file, parted at its folders."""

SPLIT_SEED = 2024
"""Seed of every split that a data set does not bring itself."""

TEST_SHARE = 0.2
"""Share of each class that is held out where there is no test split."""

MAX_CLASSES = 10_000
"""Classes of the largest data set that is read."""

TRAIN = ("train", "training")
TEST = ("test", "testing", "val", "valid", "validation")
"""Names of the folders of both splits, the first that is there before the others, in upper or lower case."""

DEPTH = 4
"""Folders around the splits or classes that are looked through."""

SUFFIXES = frozenset(
    [
        ".jpg",
        ".jpeg",
        ".jpe",
        ".jfif",
        ".png",
        ".apng",
        ".bmp",
        ".dib",
        ".gif",
        ".tif",
        ".tiff",
        ".webp",
        ".pgm",
        ".ppm",
        ".pbm",
        ".pnm",
        ".tga",
        ".ico",
        ".jp2",
        ".avif",
    ]
)
"""Files that are read as images, by the end of their name."""

JUNK = frozenset({"__macosx", "thumbs.db", "desktop.ini", "@eadir", "$recycle.bin"})
"""Names that systems leave in folders; all whose names start with a dot are such too."""

HIDDEN, NO_IMAGE, NO_CLASS, OTHER_SPLIT = (
    "hidden or of the system",
    "no image by its name",
    "in no class folder",
    "of a split that is not used",
)


@dataclass(frozen=True)
class Layout:
    """The files of a data set.

    Args:
        classes: their names, sorted as people count.
        train, test: (name of a file, label) pairs.
        skipped: names of what was left out, by reason.
        warnings: sentences on what was chosen or doubted.
    """

    classes: tuple[str, ...]
    train: list[tuple[str, int]]
    test: list[tuple[str, int]]
    skipped: dict[str, list[str]] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)


def find(names: Iterable[str], test_share: float = TEST_SHARE) -> Layout:
    """The layout of files: `train/` beside `test/` or a validation folder, or class folders alone.

    Folders around it are looked through. Where there is no test split, a share of each class is one, drawn by
    `SPLIT_SEED`.

    Args:
        names: of all files, as `pets/train/cat/1.jpg`.
        test_share: of each class, where there is no test split.

    Raises:
        DataError: no layout, or more than one; the message says what would be right.
    """
    sorted_out = _Sorted()
    parted = [tuple(name.split("/")) for name in in_counting_order(list(names))]
    pictures = [parts for parts in parted if sorted_out.is_picture(parts)]
    home = _home(pictures)
    below = [parts for parts in pictures if parts[: len(home)] == home]
    sorted_out.leave_out(NO_CLASS, (parts for parts in pictures if parts[: len(home)] != home))
    folders = {parts[len(home)].lower(): parts[len(home)] for parts in below if len(parts) > len(home) + 1}
    train_name = next((folders[name] for name in TRAIN if name in folders), None)
    if train_name is None:
        return _checked(sorted_out.by_class(below, len(home)), {}, sorted_out, test_share)
    tests = [folders[name] for name in TEST if name in folders]
    used, unused = [train_name, *tests[:1]], tests[1:]
    by_split = {
        name: [parts for parts in below if len(parts) > len(home) + 1 and parts[len(home)] == name]
        for name in (*used, *unused)
    }
    sorted_out.leave_out(NO_CLASS, (parts for parts in below if parts[len(home)] not in by_split))
    if tests and tests[0].lower() not in ("test", "testing"):
        sorted_out.warnings.append(f"the folder {tests[0]!r} is taken for the test split")
    for name in unused:
        sorted_out.leave_out(OTHER_SPLIT, by_split[name])
        sorted_out.warnings.append(f"the folder {name!r} is left out: there is a test split already")
    train, *test = (sorted_out.by_class(by_split[name], len(home) + 1) for name in used)
    return _checked(train, test[0] if test else {}, sorted_out, test_share)


def in_counting_order(names: list[str]) -> list[str]:
    """Names sorted as people count: `2` before `10`, `img2` before `img10`."""

    def key(name: str) -> list[tuple[int, int, str]]:
        parts = re.split(r"(\d+)", name)
        return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts if part]

    return sorted(names, key=lambda name: (key(name), name))


def split_by_seed(labels: list[int], test_share: float = TEST_SHARE) -> tuple[list[int], list[int]]:
    """Numbers of the images to train on and of those to test on.

    Args:
        labels: of all images; a class of one image has none to test on.
        test_share: of each class.

    Raises:
        DataError: no class has two images.
    """
    generator = torch.Generator().manual_seed(SPLIT_SEED)
    by_class: dict[int, list[int]] = {}
    for position, label in enumerate(labels):
        by_class.setdefault(label, []).append(position)
    held_out: set[int] = set()
    for label in sorted(by_class):
        positions = by_class[label]
        count = min(max(1, round(test_share * len(positions))), len(positions) - 1)
        order = torch.randperm(len(positions), generator=generator)[:count].tolist()
        held_out.update(positions[i] for i in order)
    if not held_out:
        raise DataError("has one image a class; at least two are needed, one of them to test on")
    everyone = range(len(labels))
    return [i for i in everyone if i not in held_out], sorted(held_out)


def told_of_split(test_share: float) -> str:
    """The sentence that says that the test split was drawn."""
    return f"there is no test split: {test_share:.0%} of each class is one, drawn by a fixed seed"


def require_classes(names: Sequence[str]) -> None:
    """Refuses less than two classes, or more than are read.

    Raises:
        DataError: naming the number.
    """
    if len(names) < 2:
        shown = f", {names[0]!r}" if names else ""
        raise DataError(f"has {len(names)} class{shown}; at least 2 are needed")
    if len(names) > MAX_CLASSES:
        raise DataError(f"has {len(names)} classes; at most {MAX_CLASSES} are read")


class _Sorted:
    """The files that are left out while a layout is found, and sentences on it."""

    def __init__(self) -> None:
        self.skipped: dict[str, list[str]] = {}
        self.warnings: list[str] = []

    def leave_out(self, reason: str, files: Iterable[Parts]) -> None:
        names = ["/".join(parts) for parts in files]
        if names:
            self.skipped.setdefault(reason, []).extend(names)

    def is_picture(self, parts: Parts) -> bool:
        """Whether a file is an image by its name; others are noted with the reason."""
        if any(part.startswith(".") or part.lower() in JUNK for part in parts):
            self.leave_out(HIDDEN, [parts])
            return False
        if PurePosixPath(parts[-1]).suffix.lower() not in SUFFIXES:
            self.leave_out(NO_IMAGE, [parts])
            return False
        return True

    def by_class(self, files: Iterable[Parts], depth: int) -> dict[str, list[str]]:
        """Names of the images of every class, whose folder stands at this depth."""
        images: dict[str, list[str]] = {}
        for parts in files:
            if len(parts) < depth + 2:
                self.leave_out(NO_CLASS, [parts])
            else:
                # composed accents, so that systems that part them give the same class
                images.setdefault(unicodedata.normalize("NFC", parts[depth]), []).append("/".join(parts))
        return images


def _home(pictures: Sequence[Parts]) -> Parts:
    """The folder that holds the splits, or where there are none the class folders."""
    holding = {
        parts[:depth]
        for parts in pictures
        for depth in range(min(DEPTH, len(parts) - 1))
        if parts[depth].lower() in TRAIN
    }
    if holding:
        shallowest = min(map(len, holding))
        homes = sorted(home for home in holding if len(home) == shallowest)
        if len(homes) > 1:
            names = ", ".join(repr("/".join(home)) for home in homes[:3])
            raise DataError(f"has several folders with a training split: {names}; send one at a time")
        return homes[0]
    home: Parts = ()
    while len(home) < DEPTH:
        inside = {parts[len(home)] for parts in pictures if len(parts) > len(home) + 1}
        deeper = any(len(parts) > len(home) + 2 for parts in pictures)
        if len(inside) != 1 or not deeper:
            return home
        home = (*home, *inside)
    return home


def _checked(
    train: dict[str, list[str]], test: dict[str, list[str]], sorted_out: _Sorted, test_share: float
) -> Layout:
    warnings = sorted_out.warnings
    if not train:
        raise DataError(
            "has no images in class folders; train/<class>/… and test/<class>/…, or <class>/…, are needed"
        )
    require_classes(list(train))
    strange = [name for name in in_counting_order(list(test)) if name not in train]
    if strange:
        names = ", ".join(strange[:5])
        raise DataError(f"train and test must have the same classes; {names} is in test alone")
    classes = tuple(in_counting_order(list(train)))
    labelled = [(name, label) for label, class_ in enumerate(classes) for name in train[class_]]
    if test:
        missing = [name for name in classes if name not in test]
        if missing:
            warnings.append(f"no test image is of the classes {', '.join(missing[:5])}; they are not scored")
        tested = [(name, label) for label, class_ in enumerate(classes) for name in test.get(class_, [])]
        return Layout(classes, labelled, tested, sorted_out.skipped, warnings)
    rows, held_out = split_by_seed([label for _, label in labelled], test_share)
    warnings.append(told_of_split(test_share))
    return Layout(
        classes,
        [labelled[i] for i in rows],
        [labelled[i] for i in held_out],
        sorted_out.skipped,
        warnings,
    )
