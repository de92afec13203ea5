"""OTDD: the transport distance of data sets."""

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm

from models.datasets.similarity import Profile, _label_costs, distance, profile
from models.datasets.sources import load_archive, load_digits, load_named


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


def test_a_profile_is_seeded_and_of_one_size() -> None:
    digits = load_digits()
    made = profile(digits)
    assert made.features.shape == (1_000, 3 * 16 * 16)
    assert 0 <= made.features.min() <= made.features.max() <= 1
    assert torch.equal(made.features, profile(digits).features)
    assert not torch.equal(made.features, profile(digits, seed=1).features)


def test_mnist_is_nearer_to_usps_than_cifar10_is(data_root: Path) -> None:
    if not (data_root / "MNIST").exists() or not (data_root / "cifar10.zip").exists():
        pytest.skip(f"no MNIST and CIFAR-10 in {data_root}")
    usps = profile(load_named("usps", data_root))
    mnist = profile(load_named("mnist", data_root))
    with (data_root / "cifar10.zip").open("rb") as archive:
        cifar10 = profile(load_archive(archive, None, 1 << 32))
    assert distance(mnist, usps) < distance(cifar10, usps)
