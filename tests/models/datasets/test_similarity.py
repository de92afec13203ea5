"""OTDD: the transport distance of data sets."""

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm

from app import apart
from models.datasets import ready_profiles
from models.datasets.similarity import Profile, _label_costs, distance, profile, without_structure
from models.datasets.sources import load_digits, load_named


def cloud(seed: int, classes: int = 3, shift: float = 0.0) -> Profile:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(60) % classes
    centres = torch.rand(classes, 8, generator=generator, dtype=torch.float64)
    noise = 0.1 * torch.randn(60, 8, generator=generator, dtype=torch.float64)
    return Profile(centres[labels] + noise + shift, labels)


def test_label_distances_are_those_of_normal_distributions() -> None:
    first, second = cloud(0), cloud(1, classes=4)
    costs, _, _ = _label_costs(first, second)
    for a in range(3):
        for b in range(4):
            x, y = (p.features[p.labels == c].numpy() for p, c in ((first, a), (second, b)))
            s, t = np.cov(x.T), np.cov(y.T)
            root = sqrtm(s)
            expected = ((x.mean(0) - y.mean(0)) ** 2).sum() + np.trace(
                s + t - 2 * sqrtm(root @ t @ root).real
            )
            assert costs[a, b].item() == pytest.approx(expected, abs=1e-5)


def test_the_distance_is_symmetric_zero_to_itself_and_grows() -> None:
    first = cloud(0)
    assert distance(first, first) == pytest.approx(0, abs=1e-5)
    assert distance(first, cloud(1)) == pytest.approx(distance(cloud(1), first), rel=1e-9)
    # the same cloud moved by a vector of length s: images and labels both cost s² a pair
    for shift in (0.5, 2.0):
        expected = (2 * 8 * shift**2) ** 0.5
        assert distance(first, Profile(first.features + shift, first.labels)) == pytest.approx(expected)


def test_the_names_of_labels_do_not_matter() -> None:
    first, second = cloud(0), cloud(1)
    renamed = Profile(second.features, 5 + (second.labels + 1) % 3)
    assert distance(first, renamed) == pytest.approx(distance(first, second))


def test_memory_is_bounded_however_unequal_the_classes_are() -> None:
    generator = torch.Generator().manual_seed(0)
    profiles = [
        Profile(
            torch.rand(1_000, 768, generator=generator, dtype=torch.float64),
            (180 * torch.rand(1_000, generator=generator) ** 6).long(),
        )
        for _ in range(2)
    ]
    assert int(profiles[0].labels.bincount().max()) > 300
    # padded to the largest class, all pairs of classes would take 60 GB
    assert apart.call(distance, *profiles, seconds=3_600, memory_bytes=2 << 30) == pytest.approx(
        distance(*profiles)
    )


def test_noise_of_the_same_brightness_is_nearer_than_another_data_set() -> None:
    digits = profile(load_digits())
    noise = without_structure(digits)
    torch.testing.assert_close(noise.features.mean(0), digits.features.mean(0))
    assert 0 < distance(digits, noise) < distance(digits, Profile(1 - digits.features, digits.labels))


@pytest.mark.parametrize("name", ready_profiles.NAMES)
def test_a_profile_that_ships_is_that_of_the_real_images(name: str, data_root: Path) -> None:
    shipped = ready_profiles.load(name)
    assert shipped is not None
    assert (ready_profiles.FOLDER / f"{name}.npz").stat().st_size <= 200_000
    assert shipped.features.shape == (1_000, 3 * 16 * 16)
    if name == "cifar10" or not (data_root / "MNIST").exists():
        return
    real, other = profile(load_named(name, data_root)), profile(load_digits())
    assert distance(shipped, other) == pytest.approx(distance(real, other), abs=0.01)
    assert distance(shipped, real) < 0.1


def test_a_profile_is_seeded_and_of_one_size() -> None:
    digits = load_digits()
    made = profile(digits)
    assert made.features.shape == (1_000, 3 * 16 * 16)
    assert 0 <= made.features.min() <= made.features.max() <= 1
    assert torch.equal(made.features, profile(digits).features)
    assert not torch.equal(made.features, profile(digits, seed=1).features)


def test_mnist_is_nearer_to_usps_than_cifar10_is() -> None:
    usps, mnist, cifar10 = (ready_profiles.load(name) for name in ("usps", "mnist", "cifar10"))
    assert usps is not None
    assert mnist is not None
    assert cifar10 is not None
    assert distance(mnist, usps) < distance(cifar10, usps)
