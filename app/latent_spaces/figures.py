"""Figures of a latent space: its map, and what its principal directions mean."""

from collections import Counter

import torch
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.artifacts import Artifacts
from app.datasets.tables import Dataset
from app.genotypes import ranking
from app.genotypes import service as genotypes
from app.genotypes.tables import Genotype
from app.latent_spaces.opened import OpenSpace, from_bytes, open_space
from app.latent_spaces.remembered import remembered
from app.latent_spaces.schemas import DirectionOut, MapOut, MapPoint, MeaningOut
from app.problems import Conflict, InvalidRequest
from models.errors import LatentError
from models.latent_spaces.meaning import Method, directions, project, properties, silhouette

MAP_LIMIT = 10_000
"""Generated genotypes on one map."""


def space_map(
    session: Session, space_id: str, artifacts: Artifacts, method: Method, generated: bool, seed: int
) -> MapOut:
    """The latents of the members, and of what was generated from the space if asked, in two dimensions.

    Raises:
        NotFound, Conflict: no such space, or one that is still training.
        InvalidRequest: fewer points than the method needs.
    """
    space, what = open_space(session, space_id, artifacts), ("map", method, generated, seed)
    return remembered(session, space, what, lambda: _map(session, space, method, generated, seed))


def space_map_json(
    session: Session, space_id: str, artifacts: Artifacts, method: Method, generated: bool, seed: int
) -> bytes:
    """The same as JSON, of which there can be megabytes.

    Raises:
        NotFound, Conflict, InvalidRequest: as `space_map`.
    """
    space, what = open_space(session, space_id, artifacts), ("json", method, generated, seed)

    def make() -> bytes:
        return _map(session, space, method, generated, seed).model_dump_json().encode()

    return remembered(session, space, what, make)


def _map(session: Session, space: OpenSpace, method: Method, generated: bool, seed: int) -> MapOut:
    rows = genotypes.get_many(session, space.genotype_ids, "genotype_ids")
    z = space.latents
    if generated:
        query = select(Genotype).where(Genotype.latent_space_id == space.row.id)
        drawn = list(session.scalars(query.order_by(Genotype.id).limit(MAP_LIMIT)))
        rows += drawn
        z = torch.cat([z, from_bytes([row.latent for row in drawn], space.space.nodes)]) if drawn else z
    names = dict(session.execute(select(Dataset.id, Dataset.name)).all())
    try:
        projection = project(z, method, seed)
    except LatentError as error:
        raise InvalidRequest.of("method", str(error)) from None
    best = ranking.best_accuracies(session, [row.id for row in rows])
    points = [
        MapPoint(
            genotype_id=row.id,
            name=row.name,
            origin=row.origin,
            dataset=names.get(row.dataset_id or ""),
            x=x,
            y=y,
            parameters=row.parameters,
            accuracy=best.get(row.id),
            operations=_shares(row),
        )
        for row, (x, y) in zip(rows, projection.points, strict=True)
    ]
    labelled = [i for i, point in enumerate(points) if point.dataset is not None]
    return MapOut(
        method=method,
        explained_variance=projection.explained_variance,
        silhouette=silhouette(z[labelled], [points[i].dataset or "" for i in labelled]),
        items=points,
    )


def meaning(session: Session, space_id: str, artifacts: Artifacts) -> MeaningOut:
    """Correlations of the principal directions of a space with properties of its members.

    Raises:
        NotFound, Conflict: no such space, or one that is still training.
    """
    space = open_space(session, space_id, artifacts)
    ids = space.genotype_ids
    if len(ids) < 2:
        raise Conflict(f"latent space {space_id} has {len(ids)} members; its directions need two at least")
    return remembered(session, space, ("meaning",), lambda: _meaning(session, space))


def _meaning(session: Session, space: OpenSpace) -> MeaningOut:
    ids = space.genotype_ids
    values = properties(space.members, space.space)
    for dataset, accuracies in ranking.accuracies_by_dataset(session, ids).items():
        values[f"accuracy:{dataset}"] = torch.tensor(
            [accuracies.get(i, float("nan")) for i in ids], dtype=torch.float64
        )
    items = [DirectionOut.model_validate(direction) for direction in directions(space.latents, values)]
    return MeaningOut(members=len(ids), items=items)


def _shares(row: Genotype) -> dict[str, float]:
    cells = genotypes.discrete(row).cells
    counts = Counter(operation for edges in cells for operation, _ in edges)
    return {operation: count / counts.total() for operation, count in counts.items()}
