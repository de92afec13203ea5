"""What a latent space looks like in two dimensions, and what its principal directions mean."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from torch import Tensor

from models.errors import LatentError
from models.genotypes.paths import depth
from models.genotypes.search_space import SearchSpace
from models.genotypes.size import count_parameters
from models.latent_spaces.vgae import DEFAULT_SEED

Method = Literal["pca", "tsne"]

TSNE_POINTS = 30
"""Points from which on t-SNE is drawn: it places points by their neighbours, of which fewer have too few."""

DIRECTIONS = 5
"""Principal directions that are looked at, if there are so many."""


@dataclass(frozen=True)
class Projection:
    """A two-dimensional map.

    Args:
        points: `[latents, 2]`.
        explained_variance: the share of each axis, for `pca`.
    """

    points: list[list[float]]
    explained_variance: list[float] | None


def project(z: Tensor, method: Method, seed: int = DEFAULT_SEED, fitted: int | None = None) -> Projection:
    """The flattened latents in two dimensions.

    Args:
        z: `[latents, nodes, latent dimension]`.
        method: `pca` or `tsne` (scikit-learn's).
        seed: of t-SNE.
        fitted: so many of the first latents choose the axes of `pca`, so that a map stays the same map when
            others are added; all by default.

    Raises:
        LatentError: the method needs more points.
    """
    flat = z.flatten(1).double().numpy()
    known = flat if method == "tsne" else flat[:fitted]
    needed = 2 if method == "pca" else TSNE_POINTS
    if len(known) < needed:
        raise LatentError(f"has {len(known)} points; {method} needs at least {needed}")
    if method == "pca":
        from sklearn.decomposition import PCA

        pca = PCA(n_components=2, random_state=seed)
        points = pca.fit(known).transform(flat)
        return Projection(points.tolist(), np.nan_to_num(pca.explained_variance_ratio_).tolist())
    from sklearn.manifold import TSNE

    perplexity = min(30.0, (len(flat) - 1) / 3)
    points = TSNE(n_components=2, perplexity=perplexity, init="pca", random_state=seed).fit_transform(flat)
    return Projection(points.astype(float).tolist(), None)


@dataclass(frozen=True)
class Direction:
    """One principal direction of a space's latents.

    Args:
        explained_variance: its share.
        correlations: Pearson's, by property; `None` where the property does not vary, or is known of
            fewer than three genotypes.
    """

    explained_variance: float
    correlations: dict[str, float | None]


def properties(genotypes: Tensor, space: SearchSpace) -> dict[str, Tensor]:
    """Parameters, depth and the count of every operation of many genotypes, each `[batch]`."""
    values = {
        "parameters": count_parameters(genotypes, space),
        "depth": depth(genotypes, space),
    }
    for index in space.choices:
        values[space.operations[index]] = (genotypes[..., 0] == index).sum((1, 2))
    return {name: counted.double() for name, counted in values.items()}


def directions(z: Tensor, values: dict[str, Tensor]) -> list[Direction]:
    """The principal directions of latents, and how each goes with some properties.

    Args:
        z: `[latents, nodes, latent dimension]`, at least two.
        values: by property, `[latents]`; not a number where it is not known.
    """
    from sklearn.decomposition import PCA

    flat = z.flatten(1).double().numpy()
    pca = PCA(n_components=min(DIRECTIONS, len(flat) - 1, flat.shape[1]))
    scores = pca.fit_transform(flat)
    return [
        Direction(float(share), {name: _correlation(scores[:, k], v.numpy()) for name, v in values.items()})
        for k, share in enumerate(np.nan_to_num(pca.explained_variance_ratio_))
    ]


def silhouette(z: Tensor, labels: list[str]) -> float | None:
    """The silhouette score of latents by label, -1 to 1; `None` unless two labels have two latents each."""
    from sklearn.metrics import silhouette_score

    counts = {label: labels.count(label) for label in labels}
    kept = [i for i, label in enumerate(labels) if counts[label] >= 2]
    if len({labels[i] for i in kept}) < 2:
        return None
    return float(silhouette_score(z.flatten(1)[kept].double().numpy(), [labels[i] for i in kept]))


def _correlation(scores: np.ndarray[tuple[int], np.dtype[np.float64]], values: object) -> float | None:
    finite = np.isfinite(values)  # type: ignore[call-overload]
    x, y = scores[finite], np.asarray(values)[finite]
    if len(x) < 3 or x.std() == 0 or y.std() == 0:
        return None
    return float(np.corrcoef(x, y)[0, 1])
