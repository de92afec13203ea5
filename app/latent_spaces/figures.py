"""Figures of a latent space: its map, and what its principal directions mean."""

from collections import Counter
from dataclasses import dataclass

import torch
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.artifacts import Artifacts
from app.datasets import service as datasets
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


@dataclass(frozen=True)
class View:
    """What a map shows, and how.

    Args:
        method: of the projection.
        generated: whether what was generated from the space is on it too.
        seed: of t-SNE, and of the choice of points.
        dataset_id: on which accuracies are; `None` for the one on which most points have one.
    """

    method: Method
    generated: bool
    seed: int
    dataset_id: str | None


def space_map(session: Session, space_id: str, artifacts: Artifacts, view: View) -> MapOut:
    """The latents of the members, and of what was generated from the space if asked, in two dimensions.

    Raises:
        NotFound, Conflict: no such space or data set, or a space that is still training.
        InvalidRequest: fewer points than the method needs.
    """
    space = open_space(session, space_id, artifacts)
    return remembered(session, space, ("map", view), lambda: _map(session, space, view))


def space_map_json(session: Session, space_id: str, artifacts: Artifacts, view: View) -> bytes:
    """The same as JSON, of which there can be megabytes.

    Raises:
        NotFound, Conflict, InvalidRequest: as `space_map`.
    """
    space = open_space(session, space_id, artifacts)

    def make() -> bytes:
        return _map(session, space, view).model_dump_json().encode()

    return remembered(session, space, ("json", view), make)


def _map(session: Session, space: OpenSpace, view: View) -> MapOut:
    places, drawn, warnings = _chosen(session, space, view.generated, view.seed)
    rows = genotypes.get_many(session, [space.genotype_ids[place] for place in places], "genotype_ids")
    z = space.latents[places]
    if drawn:
        z = torch.cat([z, from_bytes([row.latent for row in drawn], space.space.nodes)])
    rows += drawn
    starts = _missing_starts(session, rows)
    if starts:
        z = torch.cat([z, space.encode(starts, "starts")])
        rows += starts
    names = datasets.names(session)
    try:
        projection = project(z, view.method, view.seed, fitted=len(places))
    except LatentError as error:
        raise InvalidRequest.of("method", str(error)) from None
    dataset, accuracies = _accuracies(session, [row.id for row in rows], view.dataset_id)
    best_on: dict[str, list[str]] = {}
    for dataset_id, (best, _) in ranking.best_points(session, space.space.name).items():
        best_on.setdefault(best.id, []).append(names[dataset_id])
    points = [
        MapPoint(
            genotype_id=row.id,
            name=row.name,
            origin=row.origin,
            dataset=names.get(row.dataset_id or ""),
            x=x,
            y=y,
            parameters=row.parameters,
            accuracy=accuracies.get(row.id),
            best_on=best_on.get(row.id, []),
            start_genotype_id=_start(row),
            operations=_shares(row),
        )
        for row, (x, y) in zip(rows, projection.points, strict=True)
    ]
    labelled = [i for i, point in enumerate(points) if point.dataset is not None]
    return MapOut(
        method=view.method,
        explained_variance=projection.explained_variance,
        silhouette=silhouette(z[labelled], [points[i].dataset or "" for i in labelled]),
        accuracy_dataset=dataset,
        warnings=warnings,
        items=points,
    )


def _accuracies(
    session: Session, ids: list[str], dataset_id: str | None
) -> tuple[str | None, dict[str, float]]:
    """The accuracies of genotypes on one data set, with its name: those on two are no one scale."""
    measured = ranking.accuracies_by_dataset(session, ids)
    if dataset_id is not None:
        name = datasets.get(session, dataset_id).name
        return name, measured.get(name, {})
    if not measured:
        return None, {}
    name = max(measured, key=lambda name: (len(measured[name]), name))
    return name, measured[name]


def _missing_starts(session: Session, rows: list[Genotype]) -> list[Genotype]:
    """The genotypes near which some were generated and that are not among them."""
    missing = {start for row in rows if (start := _start(row)) is not None} - {row.id for row in rows}
    return list(session.scalars(select(Genotype).where(Genotype.id.in_(missing)).order_by(Genotype.id)))


def _start(row: Genotype) -> str | None:
    """The genotype near which a genotype was generated; of several, the first."""
    points = row.source.get("points")
    return points[0].get("genotype_id") if points else None


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
