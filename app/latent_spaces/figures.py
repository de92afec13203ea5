"""Figures of a latent space: its map, and what its principal directions mean."""

from collections import Counter
from collections.abc import Sequence

import torch
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.datasets.tables import Dataset
from app.genotypes import service as genotypes
from app.genotypes.tables import Genotype
from app.latent_spaces.schemas import DirectionOut, MapOut, MapPoint, MeaningOut
from app.latent_spaces.service import from_bytes, get, member_ids, members_of, require_ready
from app.latent_spaces.tables import LatentMember
from app.problems import InvalidRequest
from app.trainings.tables import Evaluation
from models import genotype as forms
from models.latent import LatentError, Method, project
from models.meaning import directions, properties, silhouette
from models.search_space import CELLS, SEARCH_SPACES

MAP_LIMIT = 10_000
"""Generated genotypes on one map."""


def space_map(session: Session, space_id: str, method: Method, generated: bool, seed: int) -> MapOut:
    """The latents of the members, and of what was generated from the space if asked, in two dimensions.

    Raises:
        NotFound, Conflict: no such space, or one that is still training.
        InvalidRequest: fewer points than the method needs.
    """
    space = get(session, space_id)
    require_ready(space)
    of_members = select(Genotype, LatentMember.mu, Dataset.name).join(
        LatentMember, LatentMember.genotype_id == Genotype.id
    )
    queries = [of_members.where(LatentMember.latent_space_id == space_id).order_by(LatentMember.position)]
    if generated:
        of_generated = select(Genotype, Genotype.latent, Dataset.name)
        queries.append(
            of_generated.where(Genotype.latent_space_id == space_id).order_by(Genotype.id).limit(MAP_LIMIT)
        )
    rows = [
        row
        for q in queries
        for row in session.execute(q.outerjoin(Dataset, Dataset.id == Genotype.dataset_id))
    ]
    z = from_bytes([row[1] for row in rows], space)
    try:
        projection = project(z, method, seed)
    except LatentError as error:
        raise InvalidRequest.of("method", str(error)) from None
    best = _best_accuracies(session, [row[0].id for row in rows])
    points = [
        MapPoint(
            genotype_id=row.id,
            name=row.name,
            origin=row.origin,
            dataset=dataset,
            x=x,
            y=y,
            parameters=row.parameters,
            accuracy=best.get(row.id),
            operations=_shares(row),
        )
        for (row, _, dataset), (x, y) in zip(rows, projection.points, strict=True)
    ]
    known = [i for i, point in enumerate(points) if point.dataset is not None]
    return MapOut(
        method=method,
        explained_variance=projection.explained_variance,
        silhouette=silhouette(z[known], [points[i].dataset or "" for i in known]),
        items=points,
    )


def meaning(session: Session, space_id: str) -> MeaningOut:
    """How the principal directions of a space go with properties of its members.

    Raises:
        NotFound, Conflict: no such space, or one that is still training.
    """
    space = get(session, space_id)
    require_ready(space)
    members, _ = members_of(session, space)
    ids = member_ids(session, space_id)
    rows = genotypes.get_many(session, ids, "genotype_ids")
    search_space = SEARCH_SPACES[space.search_space]
    values = properties(
        forms.to_tensor([genotypes.discrete(row) for row in rows], search_space), search_space
    )
    for dataset, found in _accuracies_by_dataset(session, ids).items():
        values[f"accuracy:{dataset}"] = torch.tensor(
            [found.get(i, float("nan")) for i in ids], dtype=torch.float64
        )
    items = [DirectionOut.model_validate(direction) for direction in directions(members, values)]
    return MeaningOut(members=len(ids), items=items)


def _accuracies_by_dataset(session: Session, ids: Sequence[str]) -> dict[str, dict[str, float]]:
    """By data set's name and genotype, the best trained or reported accuracy."""
    query = (
        select(Dataset.name, Evaluation.genotype_id, func.max(Evaluation.test_accuracy))
        .join(Dataset, Dataset.id == Evaluation.dataset_id)
        .where(Evaluation.kind != "search", Evaluation.genotype_id.in_(ids))
        .group_by(Dataset.name, Evaluation.genotype_id)
    )
    found: dict[str, dict[str, float]] = {}
    for dataset, genotype_id, accuracy in session.execute(query):
        found.setdefault(dataset, {})[str(genotype_id)] = accuracy
    return found


def _best_accuracies(session: Session, ids: Sequence[str]) -> dict[str, float]:
    best: dict[str, float] = {}
    for found in _accuracies_by_dataset(session, ids).values():
        for genotype_id, accuracy in found.items():
            best[genotype_id] = max(accuracy, best.get(genotype_id, 0.0))
    return best


def _shares(row: Genotype) -> dict[str, float]:
    counts = Counter(operation for cell in CELLS for operation, _ in row.genotype[cell])
    return {operation: count / counts.total() for operation, count in counts.items()}
