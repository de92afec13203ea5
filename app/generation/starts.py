"""Where generation starts: at a best point, at a genotype, between points, or at random."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from sqlalchemy.orm import Session
from torch import Tensor

from app.datasets import service as datasets
from app.datasets.neighbors import Neighbor
from app.generation.schemas import BetweenIn, GenerateIn, NearestOut, NearIn, PointOut, StartOut
from app.genotypes import ranking
from app.genotypes import service as genotypes
from app.latent_spaces.opened import OpenSpace
from app.problems import InvalidRequest
from models.generation import generate as generation


@dataclass(frozen=True)
class Start:
    """A place in a latent space from which new latents are drawn.

    Args:
        shown: as the client sees it.
        points: `[points, nodes, latent dimension]`; `None` for a random start.
    """

    shown: StartOut
    points: Tensor | None = None


def find(session: Session, space: OpenSpace, request: GenerateIn, by_distance: Sequence[Neighbor]) -> Start:
    """The start that a request asks for.

    Args:
        session: reads genotypes and evaluations.
        space: in which to start.
        request: has exactly one kind of start.
        known: the data sets by distance from `for_dataset`, nearest first.

    Raises:
        InvalidRequest: the start is not there; the message names the field.
    """
    if request.random is not None:
        return Start(StartOut(kind=request.random))
    if request.between is not None:
        return _between(session, space, request.between)
    nearest = None
    if request.for_dataset is not None:
        nearest = _nearest(session, space, request.for_dataset, by_distance)
        shown, point = _best(session, space, nearest.dataset_id, "for_dataset")
    else:
        assert request.near is not None
        shown, point = _near(session, space, request.near)
    return Start(StartOut(kind="near", points=[shown], nearest=nearest), point[None])


def _between(session: Session, space: OpenSpace, between: BetweenIn) -> Start:
    ends = [
        _best(session, space, dataset_id, f"between.dataset_ids[{position}]")
        for position, dataset_id in enumerate(between.dataset_ids)
    ]
    if between.steps is not None:
        second = torch.linspace(0, 1, between.steps)
        weights = torch.stack([1 - second, second], dim=1)
    else:
        weights = torch.tensor([between.weights or [1.0] * len(ends)])
    weights = weights / weights.sum(1, keepdim=True)
    points = generation.between(torch.stack([point for _, point in ends]), weights)
    shown = StartOut(
        kind="between",
        points=[shown for shown, _ in ends],
        weights=[[round(weight, 6) for weight in row] for row in weights.tolist()],
    )
    return Start(shown, points)


def _near(session: Session, space: OpenSpace, near: NearIn) -> tuple[PointOut, Tensor]:
    if near.dataset_id is not None:
        return _best(session, space, near.dataset_id, "near.dataset_id")
    assert near.genotype_id is not None
    row = genotypes.get(session, near.genotype_id, "near.genotype_id")
    point, member = space.latent_of(row, "near.genotype_id")
    return PointOut(genotype_id=row.id, member=member), point


def _best(session: Session, space: OpenSpace, dataset_id: str, field: str) -> tuple[PointOut, Tensor]:
    dataset = datasets.get(session, dataset_id, field)
    best = ranking.best_point(session, space.space.name, dataset.id)
    if best is None:
        raise InvalidRequest.of(
            field,
            f"{dataset.name!r} has no evaluation of a genotype of the search space {space.space.name!r}, "
            "and so no best point; search on it, train on it, or register a genotype with an evaluation",
        )
    row, evaluation = best
    point, member = space.latent_of(row, field)
    shown = PointOut(
        dataset_id=dataset_id,
        genotype_id=row.id,
        test_accuracy=evaluation.test_accuracy,
        evaluation_kind=evaluation.kind,
        member=member,
    )
    return shown, point


def _nearest(
    session: Session, space: OpenSpace, dataset_id: str, by_distance: Sequence[Neighbor]
) -> NearestOut:
    passed: list[Neighbor] = []
    for other in by_distance:
        if other.distance is None:
            break
        if ranking.best_point(session, space.space.name, other.dataset.id) is not None:
            return NearestOut(
                for_dataset=dataset_id,
                dataset_id=other.dataset.id,
                name=other.dataset.name,
                distance=other.distance,
                reason=_reason(other, passed, len(by_distance)),
            )
        passed.append(other)
    raise InvalidRequest.of(
        "for_dataset",
        f"none of the {len(by_distance)} other data sets with images has a best point; search or train on "
        "one, or register a genotype with an evaluation on it",
    )


def _reason(chosen: Neighbor, passed: Sequence[Neighbor], count: int) -> str:
    text = f"{chosen.dataset.name!r} is the nearest of {count} data sets"
    if passed:
        names = ", ".join(repr(other.dataset.name) for other in passed)
        text += f" that has a best point; nearer without one: {names}"
    return text
