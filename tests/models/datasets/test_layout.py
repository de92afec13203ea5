"""Any honest layout is read, what is left out is counted, and two that could be meant are refused."""

import pytest

from models.datasets.data import DataError
from models.datasets.layout import (
    HIDDEN,
    NO_CLASS,
    NO_IMAGE,
    OTHER_SPLIT,
    find,
    in_counting_order,
    split_by_seed,
)


def split(name: str, *classes: str, images: int = 2) -> list[str]:
    return [f"{name}/{label}/{i}.png" for label in classes or ("a", "b") for i in range(images)]


@pytest.mark.parametrize("outer", ["", "pets/", "kaggle/input/", "a/b/c/"])
@pytest.mark.parametrize(
    ("train", "test"),
    [("train", "test"), ("Train", "Test"), ("training", "testing"), ("train", "val"), ("train", "valid")],
)
def test_splits_are_found_by_name_below_outer_folders(outer: str, train: str, test: str) -> None:
    layout = find([*split(outer + train), *split(outer + test, images=1)])
    assert layout.classes == ("a", "b")
    assert [label for _, label in layout.train] == [0, 0, 1, 1]
    assert [label for _, label in layout.test] == [0, 1]
    assert layout.skipped == {}
    assert bool(layout.warnings) == (test in ("val", "valid"))


def test_a_test_split_comes_before_a_validation_split() -> None:
    layout = find([*split("train"), *split("test"), *split("val", images=3)])
    assert len(layout.test) == 4
    assert len(layout.skipped[OTHER_SPLIT]) == 6
    assert "'val' is left out" in layout.warnings[0]


@pytest.mark.parametrize("outer", ["", "flowers/", "x/y/"])
def test_class_folders_alone_are_split_by_a_fixed_seed(outer: str) -> None:
    names = [f"{outer}{label}/{i}.png" for label in ("rose", "tulip") for i in range(10)]
    layout = find([*names])
    assert layout.classes == ("rose", "tulip")
    assert [label for _, label in layout.test] == [0, 0, 1, 1]
    assert not {path for path, _ in layout.train} & {path for path, _ in layout.test}
    assert layout.test == find(reversed(names)).test
    assert "no test split" in layout.warnings[0]


def test_a_training_split_alone_is_split_too() -> None:
    layout = find([*split("train", images=5)])
    assert (len(layout.train), len(layout.test)) == (8, 2)


def test_classes_are_sorted_as_people_count() -> None:
    assert in_counting_order(["10", "1", "2"]) == ["1", "2", "10"]
    assert in_counting_order(["img12", "img2", "a"]) == ["a", "img2", "img12"]
    assert in_counting_order(["b1x10", "b1x9", "07", "7"]) == ["07", "7", "b1x9", "b1x10"]


def test_a_split_by_seed_holds_out_a_share_of_every_class() -> None:
    train, test = split_by_seed([0] * 50 + [1] * 5 + [2])
    assert sorted(train + test) == list(range(56))
    assert [sum(low <= i < high for i in test) for low, high in ((0, 50), (50, 55), (55, 56))] == [10, 1, 0]


def test_what_systems_leave_is_left_out_and_counted() -> None:
    junk = [
        "train/.ipynb_checkpoints/0.png",
        "train/a/.ipynb_checkpoints/0.png",
        "train/a/._0.png",
        "train/.DS_Store",
        "train/a/Thumbs.db",
        "test/b/desktop.ini",
        "__MACOSX/train/a/._0.png",
        ".git/config",
    ]
    layout = find([*split("train"), *split("test"), *junk])
    assert layout.classes == ("a", "b")
    assert (len(layout.train), len(layout.test)) == (4, 4)
    assert len(layout.skipped[HIDDEN]) == len(junk)


def test_other_files_are_counted_by_reason() -> None:
    others = ["train/readme.txt", "train/stray.png", "train/a/notes.md", "labels.csv", "docs/logo.png"]
    layout = find([*split("train"), *split("test"), *others])
    assert sorted(layout.skipped[NO_IMAGE]) == ["labels.csv", "train/a/notes.md", "train/readme.txt"]
    assert sorted(layout.skipped[NO_CLASS]) == ["docs/logo.png", "train/stray.png"]


@pytest.mark.parametrize("suffix", ["JPG", "jfif", "gif", "Png", "webp", "PGM", "tif", "bmp"])
def test_images_are_known_by_their_suffix_in_any_case(suffix: str) -> None:
    layout = find([*split("train"), *split("test"), f"train/a/x.{suffix}"])
    assert len(layout.train) == 5


def test_images_in_folders_of_a_class_belong_to_it() -> None:
    layout = find([*split("train"), *split("test"), "train/a/monday/9.png"])
    assert [label for _, label in layout.train] == [0, 0, 0, 1, 1]


def test_a_class_without_test_images_is_told() -> None:
    layout = find([*split("train", "a", "b", "c"), *split("test", "a", "c")])
    assert layout.classes == ("a", "b", "c")
    assert [label for _, label in layout.test] == [0, 0, 2, 2]
    assert "no test image is of the classes b" in layout.warnings[0]


def test_accents_that_systems_part_are_one_class() -> None:
    layout = find(["train/caf\u00e9/0.png", "train/b/0.png", "test/cafe\u0301/0.png", "test/b/0.png"])
    assert layout.classes == ("b", "caf\u00e9")


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ((), "no images in class folders"),
        (("a.txt",), "no images in class folders"),
        (("train/0.png", "test/0.png"), "no images in class folders"),
        (("train/a/0.png", "test/a/0.png"), "has 1 class, 'a'"),
        ((*split("train"), *split("test", "a", "c")), "c is in test alone"),
        ((*split("cats/train"), *split("dogs/train")), "several folders with a training split"),
        (("a/0.png", "b/0.png"), "one image a class"),
    ],
)
def test_what_is_no_data_set_is_refused(names: tuple[str, ...], message: str) -> None:
    with pytest.raises(DataError, match=message):
        find([*names])
