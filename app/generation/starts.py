"""Where generation starts: at a best point, at a genotype, between points, or at random."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import torch
from sqlalchemy.orm import Session
from torch import Tensor

from app.datasets import service as datasets
from app.datasets.neighbors import Neighbors
from app.datasets.tables import Dataset
from app.evaluations.tables import EvaluationKind
from app.generation.schemas import (
    AgreementOut,
    BetweenIn,
    GenerateIn,
    NearestOut,
    NearIn,
    PointOut,
    StartOut,
)
from app.genotypes import ranking
from app.genotypes import service as genotypes
from app.latent_spaces.opened import OpenSpace
from app.problems import InvalidRequest
from models.generation import generate as generation
from models.genotypes.agreement import agreement
from models.genotypes.genotype import to_tensor
from models.latent_spaces.vgae import decode

AGREEING = 0.5
"""The rank correlation above which a best point carries over: on public tables, from there on to the upper
quarter."""

NEAR_CHANCE = 0.1
"""Share of the way from chance to 100 % below which an accuracy is near chance."""


@dataclass(frozen=True)
class Start:
    """A place in a latent space from which new latents are drawn.

    Args:
        shown: as the client sees it.
        points: `[points, nodes, latent dimension]`; `None` for a random start.
        genotypes: those of the points, in the form of `genotype.to_tensor`; `None` for a random start.
        warnings: sentences on what was chosen or doubted.
    """

    shown: StartOut
    points: Tensor | None = None
    genotypes: Tensor | None = None
    warnings: Sequence[str] = ()


@dataclass(frozen=True)
class Around:
    """The data sets with a best point around one that has none.

    Args:
        dataset_id: the one.
        neighbors: the others by distance.
        trusted: by id whether a data set has a trained or reported accuracy.
        noise: the distance of the one to noise of its own brightness, if it is known.
    """

    dataset_id: str
    neighbors: Neighbors
    trusted: Mapping[str, bool]
    noise: float | None


def find(session: Session, space: OpenSpace, request: GenerateIn, around: Around | None) -> Start:
    """The start that a request asks for.

    Args:
        session: reads genotypes and evaluations.
        space: in which to start.
        request: has exactly one kind of start.
        around: the data sets by distance from `for_dataset`, if that is the start.

    Raises:
        InvalidRequest: the start is not there; the message names the field.
    """
    if request.random is not None:
        return Start(StartOut(kind=request.random))
    if request.between is not None:
        return _between(session, space, request.between)
    if around is not None:
        nearest, dataset = _nearest(around)
        nearest = _trusted(session, space, around, nearest)
        point = _best(session, space, dataset.id, "for_dataset")
        doubts = _doubts(around, nearest, dataset, point.shown)
        shown = StartOut(kind="near", points=[point.shown], nearest=nearest)
        return Start(shown, point.latent[None], point.genotype, doubts)
    assert request.near is not None
    point = _near(session, space, request.near)
    return Start(StartOut(kind="near", points=[point.shown]), point.latent[None], point.genotype)


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
    points = generation.between(torch.stack([end.latent for end in ends]), weights)
    shown = StartOut(
        kind="between",
        points=[end.shown for end in ends],
        weights=[[round(weight, 6) for weight in row] for row in weights.tolist()],
    )
    # no genotype lies between two others; what is decoded there is the start
    return Start(shown, points, decode(space.net, points))


@dataclass(frozen=True)
class _Point:
    """A genotype as a start.

    Args:
        shown: as the client sees it.
        latent: `[nodes, latent dimension]`.
        genotype: `[1, …]` in the form of `genotype.to_tensor`.
    """

    shown: PointOut
    latent: Tensor
    genotype: Tensor


def _near(session: Session, space: OpenSpace, near: NearIn) -> _Point:
    if near.dataset_id is not None:
        return _best(session, space, near.dataset_id, "near.dataset_id")
    assert near.genotype_id is not None
    place = space.place_of(near.genotype_id) if space.row.shipped else None
    if place is not None:
        # its members are the genotypes that the caller sees, and so there is nothing left to read of one
        shown = PointOut(genotype_id=near.genotype_id, member=True)
        return _Point(shown, space.latents[place], space.members[place : place + 1])
    row = genotypes.get(session, near.genotype_id, "near.genotype_id")
    latent, member = space.latent_of(row, "near.genotype_id")
    shown = PointOut(genotype_id=row.id, member=member)
    return _Point(shown, latent, to_tensor([genotypes.discrete(row)], space.space))


def _best(session: Session, space: OpenSpace, dataset_id: str, field: str) -> _Point:
    dataset = datasets.get(session, dataset_id, field)
    best = ranking.best_point(session, space.space.name, dataset.id)
    if best is None:
        raise InvalidRequest.of(
            field,
            f"{dataset.name!r} has no evaluation of a genotype of the search space {space.space.name!r}, "
            "and so no best point; search on it, train on it, or register a genotype with an evaluation",
        )
    row, evaluation = best
    latent, member = space.latent_of(row, field)
    shown = PointOut(
        dataset_id=dataset_id,
        genotype_id=row.id,
        test_accuracy=evaluation.test_accuracy,
        evaluation_kind=evaluation.kind,
        member=member,
    )
    return _Point(shown, latent, to_tensor([genotypes.discrete(row)], space.space))


def _nearest(around: Around) -> tuple[NearestOut, Dataset]:
    """The nearest data set with a trained or reported point; only where there is none, one with another."""
    measured = [other for other in around.neighbors.items if other.distance is not None]
    trusted = [other for other in measured if around.trusted[other.dataset.id]]
    chosen = next(iter(trusted or measured), None)
    if chosen is None or chosen.distance is None:
        raise InvalidRequest.of("for_dataset", _nothing(around))
    passed = [other for other in measured if trusted and other.distance < chosen.distance]  # type: ignore[operator]
    reason = f"{chosen.dataset.name!r} is the nearest of {len(trusted or measured)} data sets with a "
    reason += "trained or reported point" if trusted else "supernet's or brief accuracy"
    if passed:
        names = ", ".join(repr(other.dataset.name) for other in passed)
        reason += f"; nearer, but with a supernet's or brief accuracy alone: {names}"
    shown = NearestOut(
        for_dataset=around.dataset_id,
        dataset_id=chosen.dataset.id,
        name=chosen.dataset.name,
        distance=chosen.distance,
        confidence="unknown",
        reason=reason,
    )
    return shown, chosen.dataset


def _trusted(session: Session, space: OpenSpace, around: Around, nearest: NearestOut) -> NearestOut:
    """The nearest data set with what is known of how far its ranks hold for the other."""
    shared = ranking.shared_accuracies(session, space.space.name, around.dataset_id, nearest.dataset_id)
    found = agreement(*zip(*shared, strict=True)) if shared else None
    shown = AgreementOut(**asdict(found)) if found is not None else None
    if found is not None and found.low > AGREEING:
        confidence = "high"
    elif (found is not None and found.high < AGREEING) or (
        found is None and around.noise is not None and nearest.distance > around.noise
    ):
        confidence = "low"
    else:
        confidence = "unknown"
    return nearest.model_copy(update={"agreement": shown, "confidence": confidence})


def _nothing(around: Around) -> str:
    if around.neighbors.pending:
        return (
            f"its distances are not measured yet; GET /v1/datasets/{around.dataset_id}/neighbors starts the "
            "job that measures them"
        )
    unread = [other for other in around.neighbors.items if other.distance is None]
    if unread:
        return f"the images of {unread[0].dataset.name!r} cannot be read: {unread[0].reason}"
    return (
        "no other data set with images has a best point; search or train on one, register a genotype with an "
        "evaluation on it, or register the published genotypes"
    )


def _doubts(around: Around, nearest: NearestOut, dataset: Dataset, point: PointOut) -> list[str]:
    """Sentences on why the point may be a bad start."""
    doubts = []
    known = nearest.agreement
    if known is not None and nearest.confidence == "low":
        doubts.append(
            f"{known.genotypes} architectures known on both rank otherwise on {nearest.name!r} (Spearman "
            f"{known.spearman:.2f}, {known.low:.2f} to {known.high:.2f}); its best point may be "
            "no better a start than a random one, or worse"
        )
    noise, chance = around.noise, 100 / dataset.classes
    if noise is not None and nearest.distance > noise:
        doubts.append(
            f"the nearest data set, {nearest.name!r}, is far: its distance is {nearest.distance:.1f}, and "
            f"that of noise with the brightness of these images {noise:.1f}"
        )
    if point.test_accuracy is not None and point.test_accuracy < chance + NEAR_CHANCE * (100 - chance):
        doubts.append(
            f"the best point of {nearest.name!r} has {point.test_accuracy:.2f} %, near the {chance:.2f} % of "
            "chance"
        )
    if point.evaluation_kind is EvaluationKind.SEARCH:
        doubts.append(f"the best point of {nearest.name!r} has a supernet's accuracy, not that of a training")
    if point.evaluation_kind is EvaluationKind.BRIEF:
        doubts.append(f"the best point of {nearest.name!r} has the accuracy of a brief training alone")
    for other in around.neighbors.items:
        if other.distance is None:
            doubts.append(f"the distance to {other.dataset.name!r} is not known: {other.reason}")
    if around.neighbors.pending:
        names = ", ".join(repr(other.name) for other in around.neighbors.pending[:5])
        doubts.append(
            f"{len(around.neighbors.pending)} distances are not measured yet ({names}); GET "
            f"/v1/datasets/{around.dataset_id}/neighbors starts the job that measures them"
        )
    return doubts
