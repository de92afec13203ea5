"""What directions mean, by cases that can be worked by hand."""

import pytest
import torch

from models.errors import LatentError
from models.genotypes.genotype import from_dict, to_tensor
from models.genotypes.search_space import DARTS
from models.latent_spaces.meaning import directions, project, properties, silhouette

SKIP, SEP = "skip_connect", "sep_conv_3x3"


def test_properties_are_counted_over_both_cells() -> None:
    flat = [(SKIP, n) for _ in range(4) for n in (0, 1)]
    chain = [(SEP, 0), (SEP, 1), (SEP, 0), (SEP, 2), (SEP, 0), (SEP, 3), (SEP, 0), (SEP, 4)]
    both = [from_dict({"normal": a, "reduce": b}, DARTS) for a, b in ((flat, flat), (flat, chain))]
    found = properties(to_tensor(both, DARTS), DARTS)
    assert found["depth"].tolist() == [1, 4]
    assert found[SKIP].tolist() == [16, 8]
    assert found[SEP].tolist() == [0, 8]
    assert found["parameters"][0] < found["parameters"][1]


def test_a_direction_correlates_with_what_moves_along_it() -> None:
    along = torch.linspace(-1, 1, 20)
    z = torch.zeros(20, 14, 4)
    z[:, 0, 0], z[:, 5, 1] = 10 * along, torch.randn(20, generator=torch.Generator().manual_seed(0))
    unknown = torch.full((20,), float("nan"))
    unknown[:2] = 1.0
    values = {"along": along.double(), "constant": torch.ones(20).double(), "unknown": unknown.double()}
    first = directions(z, values)[0]
    assert abs(first.correlations["along"] or 0) == pytest.approx(1, abs=1e-2)
    assert first.correlations["constant"] is None
    assert first.correlations["unknown"] is None
    assert first.explained_variance > 0.9


def test_the_silhouette_tells_separate_groups_from_mixed_ones() -> None:
    z = torch.randn(8, 14, 4, generator=torch.Generator().manual_seed(0))
    apart = z.clone()
    apart[4:] += 20
    labels = ["a"] * 4 + ["b"] * 4
    assert (silhouette(apart, labels) or 0) > 0.8
    assert abs(silhouette(z, labels) or 0) < 0.3
    assert silhouette(z, ["a"] * 7 + ["b"]) is None


def test_pca_explains_variance_and_tsne_needs_points() -> None:
    z = torch.randn(12, 14, 4, generator=torch.Generator().manual_seed(0))
    pca = project(z, "pca")
    assert len(pca.points) == 12
    assert pca.explained_variance is not None
    assert 0 < pca.explained_variance[1] <= pca.explained_variance[0] < 1
    with pytest.raises(LatentError, match="needs at least 30"):
        project(z, "tsne")
    many = torch.randn(30, 14, 4, generator=torch.Generator().manual_seed(1))
    assert project(many, "tsne").points == project(many, "tsne").points


def test_the_axes_are_those_of_the_points_that_they_are_fitted_on() -> None:
    z = torch.randn(20, 14, 4, generator=torch.Generator().manual_seed(0))
    alone, with_others = project(z[:12], "pca"), project(z, "pca", fitted=12)
    torch.testing.assert_close(torch.tensor(with_others.points[:12]), torch.tensor(alone.points))
    assert with_others.explained_variance == pytest.approx(alone.explained_variance)
