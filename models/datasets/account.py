"""What reading a data set came to: its counts, what was left out, converted or doubted, and a digest."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

SHOWN = 5
"""Names that stand for all that were left out or converted for one reason."""

IMBALANCE = 10
"""The largest class may be so many times as large as the smallest before a warning."""

FEW = 10
"""Training images of a class below which a warning says so."""


@dataclass(frozen=True)
class Account:
    """The account of reading a data set: its counts, and what was left out, converted or doubted.

    Args:
        digest: of all images with their splits and classes; equal for equal data sets.
        counts: images by split and class, as `{"train": {"cat": 10}, "test": {…}}`.
        skipped: names of files that were left out, by reason.
        converted: names of files that were changed in reading, by what was done.
        warnings: sentences on what was chosen or doubted.
        value_range: of images of more than 8 bits the values that became black and white, if there are any.
    """

    digest: str
    counts: dict[str, dict[str, int]]
    skipped: dict[str, list[str]] = field(default_factory=dict)
    converted: dict[str, list[str]] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    value_range: tuple[float, float] | None = None

    def as_dict(self) -> dict[str, Any]:
        """The account for JSON, with the first names of each reason in place of all."""
        return {
            "digest": self.digest,
            "counts": self.counts,
            "skipped": _shortened(self.skipped),
            "converted": _shortened(self.converted),
            "warnings": self.warnings,
            "value_range": self.value_range,
        }


Item = tuple[str, int, str]
"""The split of an image, its label, and the digest of its content."""


def count(items: Iterable[Item], classes: Sequence[str]) -> dict[str, dict[str, int]]:
    """Images by split and class; a class without any counts 0."""
    counts = Counter((split, label) for split, label, _ in items)
    return {
        split: {name: counts[split, label] for label, name in enumerate(classes)}
        for split in ("train", "test")
    }


def digest_of(items: Iterable[Item], classes: Sequence[str]) -> str:
    """32 hex digits that are the same for the same images in the same splits and classes, in any order."""
    lines = sorted(f"{split} {classes[label]!r} {content}" for split, label, content in items)
    return hashlib.blake2b("\n".join(lines).encode(), digest_size=16).hexdigest()


def tensor_items(split: str, images: Tensor, labels: Tensor) -> list[Item]:
    """The items of a split in memory, uint8 `[images, …]` and int64 `[images]`."""
    rows = images.flatten(1).contiguous().numpy()
    digests = [hashlib.blake2b(row.tobytes(), digest_size=16).hexdigest() for row in rows]
    return [(split, label, digest) for label, digest in zip(labels.tolist(), digests, strict=True)]


def doubts(items: Sequence[Item], counts: dict[str, dict[str, int]]) -> list[str]:
    """Sentences on what may be wrong with a data set: unequal or small classes, and images in both splits."""
    sentences = []
    train = {name: number for name, number in counts["train"].items() if number}
    largest, smallest = max(train, key=train.__getitem__), min(train, key=train.__getitem__)
    if train[largest] > IMBALANCE * train[smallest]:
        sentences.append(
            f"the classes are unequal: {train[largest]} training images of {largest!r} and "
            f"{train[smallest]} of {smallest!r}"
        )
    small = [name for name, number in train.items() if number < FEW]
    if small:
        shown = ", ".join(repr(name) for name in small[:SHOWN])
        sentences.append(f"{len(small)} classes have fewer than {FEW} training images: {shown}")
    trained = {content for split, _, content in items if split == "train"}
    repeated = sum(split == "test" and content in trained for split, _, content in items)
    if repeated:
        sentences.append(f"{repeated} test images are also training images, so accuracies flatter")
    return sentences


def constant_channels(deviation: Tensor) -> list[str]:
    """A sentence if some channel has the same value in all training images.

    Args:
        deviation: of each channel, `[channels, 1, 1]`.
    """
    constant = (deviation.flatten() < 1e-3).nonzero().flatten().tolist()
    if not constant:
        return []
    return [f"channel {', '.join(map(str, constant))} has the same value in all training images"]


def differences(before: dict[str, Any], after: dict[str, Any]) -> str:
    """A sentence on what changed between the counts of two accounts."""
    for split in ("train", "test"):
        old, new = before[split], after[split]
        gone, come = [n for n in old if n not in new], [n for n in new if n not in old]
        if gone or come:
            return f"classes were {list(old)[:SHOWN]} and are {list(new)[:SHOWN]}"
        for name in old:
            if old[name] != new[name]:
                return f"class {name!r} had {old[name]} images in {split} and has {new[name]}"
    return "the numbers of images are the same, their content is not"


def _shortened(names: dict[str, list[str]]) -> dict[str, Any]:
    return {reason: {"count": len(all_), "names": all_[:SHOWN]} for reason, all_ in names.items() if all_}


def mean_and_deviation(statistics: tuple[Tensor, Tensor]) -> tuple[list[float], list[float]]:
    """Mean and deviation of each channel of the training images, 0 to 1, as plain values."""
    mean, deviation = (torch.round(value.flatten(), decimals=6).tolist() for value in statistics)
    return mean, deviation
