"""What the directions of a latent space mean: their correlation with properties of the genotypes."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from models.search_space import SearchSpace
from models.size import count_parameters

DIRECTIONS = 5
"""Principal directions that are looked at, if there are so many."""


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


def depth(genotypes: Tensor, space: SearchSpace) -> Tensor:
    """Operations on the longest path from an input to the output, the larger of both cells.

    Args:
        genotypes: in the form of `genotype.to_tensor`.
        space: their search space.

    Returns:
        int64 `[batch]`.
    """
    predecessors = genotypes[..., 1]  # [batch, cell, node, slot]
    reached = torch.zeros(*predecessors.shape[:2], space.inputs + space.intermediates, dtype=torch.int64)
    for node in range(space.intermediates):
        before = reached.gather(2, predecessors[:, :, node])
        reached[:, :, space.inputs + node] = before.amax(2) + 1
    return reached.amax((1, 2))


def properties(genotypes: Tensor, space: SearchSpace) -> dict[str, Tensor]:
    """Parameters, depth and the count of every operation of many genotypes, each `[batch]`."""
    found = {
        "parameters": count_parameters(genotypes, space),
        "depth": depth(genotypes, space),
    }
    for index in space.choices:
        found[space.operations[index]] = (genotypes[..., 0] == index).sum((1, 2, 3))
    return {name: values.double() for name, values in found.items()}


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
    known = np.isfinite(values)  # type: ignore[call-overload]
    x, y = scores[known], np.asarray(values)[known]
    if len(x) < 3 or x.std() == 0 or y.std() == 0:
        return None
    return float(np.corrcoef(x, y)[0, 1])
