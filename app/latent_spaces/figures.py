"""Figures of a latent space: its map, and what its principal directions mean."""

from collections import Counter

import torch
from sqlalchemy import func, select
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
"""Points on one map."""


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
    places, drawn, warnings = _chosen(session, space, generated, seed)
    rows = genotypes.get_many(session, [space.genotype_ids[place] for place in places], "genotype_ids")
    z = space.latents[places]
    if drawn:
        z = torch.cat([z, from_bytes([row.latent for row in drawn], space.space.nodes)])
    rows += drawn
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
        warnings=warnings,
        items=points,
    )


def _chosen(
    session: Session, space: OpenSpace, generated: bool, seed: int
) -> tuple[list[int], list[Genotype], list[str]]:
    """The places of the members and the generated genotypes that a map shows, and how they were chosen."""
    warnings = []
    count, shown = len(space.genotype_ids), min(len(space.genotype_ids), MAP_LIMIT)
    own = Genotype.latent_space_id == space.row.id
    made = session.scalar(select(func.count()).where(own)) or 0 if generated else 0
    if made:  # at least half of the places are the members'
        shown = min(shown, max(MAP_LIMIT // 2, MAP_LIMIT - made))
    places = sorted(torch.randperm(count, generator=torch.Generator().manual_seed(seed))[:shown].tolist())
    if shown < count:
        warnings.append(f"{shown} of the {count} members are shown, drawn with the seed {seed}")
    newest = select(Genotype).where(own).order_by(Genotype.id.desc()).limit(MAP_LIMIT - shown)
    drawn = list(session.scalars(newest))[::-1] if made else []
    if len(drawn) < made:
        warnings.append(f"{len(drawn)} of the {made} generated genotypes are shown, the newest")
    return places, drawn, warnings


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
