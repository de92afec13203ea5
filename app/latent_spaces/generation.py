"""Generating architectures from a latent space: at once, and stored with where they came from."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from sqlalchemy import case, insert, select
from sqlalchemy.orm import Session
from torch import Tensor

from app.artifacts import Artifacts
from app.database import Database, new_ids, now
from app.datasets import service as datasets
from app.datasets.neighbors import Neighbor, neighbors
from app.genotypes import service as genotypes
from app.genotypes.schemas import GenotypeOut
from app.genotypes.tables import Genotype
from app.latent_spaces import service
from app.latent_spaces.schemas import (
    BetweenIn,
    ConstraintsIn,
    GenerateIn,
    GenerateOut,
    NearestOut,
    NearIn,
    PointOut,
    RangeIn,
    StartOut,
)
from app.latent_spaces.tables import LatentMember, LatentSpace
from app.problems import InvalidRequest
from app.settings import Settings
from app.trainings.tables import Evaluation
from models import generate as generation
from models import genotype as forms
from models.constraints import ConstraintError, Constraints, Range
from models.data import DataError, require_size
from models.latent import encode
from models.search_space import SEARCH_SPACES, SearchSpace
from models.size import NetworkShape, count_macs, count_parameters
from models.vgae import VGAE

DEFAULT_GAMMA = 0.1


@dataclass(frozen=True)
class Start:
    """Where to draw from.

    Args:
        shown: as the client sees it.
        points: `[points, nodes, latent dimension]`; `None` for a random start.
    """

    shown: StartOut
    points: Tensor | None = None


@dataclass(frozen=True)
class Draft:
    """What was generated, not yet stored.

    Args:
        answer: all of the answer but its items.
        rows: of the table of genotypes.
    """

    answer: GenerateOut
    rows: list[dict[str, Any]]


def generate(
    database: Database, space_id: str, request: GenerateIn, settings: Settings, artifacts: Artifacts
) -> dict[str, Any]:
    """New genotypes from a latent space, stored with where they came from.

    Returns:
        the fields of `GenerateOut`; plain values, as there can be thousands of items.

    Raises:
        NotFound, Conflict: no such space, or one that is still training.
        InvalidRequest: a count over the limit, a start that is not there, or limits that cannot be met.
    """
    began = time.perf_counter()
    made = draft(database, space_id, request, settings, artifacts)
    with database.session() as session:
        store(session, made)
        session.commit()
    made.answer.seconds = time.perf_counter() - began
    items = [{name: row[name] for name in GenotypeOut.model_fields} for row in made.rows]
    return {**made.answer.model_dump(), "items": items}


def store(session: Session, made: Draft) -> None:
    """Adds the genotypes of a draft, not yet committed."""
    if made.rows:
        session.execute(insert(Genotype.__table__), made.rows)  # type: ignore[arg-type]


def draft(
    database: Database, space_id: str, request: GenerateIn, settings: Settings, artifacts: Artifacts
) -> Draft:
    """New genotypes from a latent space, not yet stored.

    Raises:
        NotFound, Conflict, InvalidRequest: as `generate`.
    """
    if request.count > settings.max_generate:
        raise InvalidRequest.of("count", f"must be at most {settings.max_generate} (got {request.count})")
    with database.session(reads_only=True) as session:
        space = service.get(session, space_id)
        net = service.network(space, artifacts)
    constraints = _constraints(request.constraints, net.space)
    members, known = _members(database, space_id)
    nearest = None
    if request.for_dataset is not None:
        nearest = _nearest(database, space, request.for_dataset, settings, artifacts)
    with database.session(reads_only=True) as session:
        start = _start(session, space, request, nearest, net)
    gamma = None
    generator = torch.Generator().manual_seed(request.seed)
    if start.points is not None:
        gamma = DEFAULT_GAMMA if request.gamma is None else request.gamma
        draw = generation.near(start.points, members, gamma, generator)
    else:
        draws = {"uniform": generation.uniform, "prior": generation.prior}
        draw = draws[start.shown.kind](members, generator)
    found = generation.generate(net, draw, request.count, known, constraints, request.unique)
    rows = _rows(space, net.space, found, start.shown, gamma, request)
    answer = GenerateOut(
        latent_space_id=space_id,
        start=start.shown,
        gamma=gamma,
        seed=request.seed,
        sampled=found.sampled,
        duplicates=found.duplicates,
        rejected_by_constraints=found.rejected,
        repaired=found.repaired,
        seconds=0.0,
        note=_note(len(rows), found, request),
        items=[],
    )
    return Draft(answer, rows)


def best_point(session: Session, search_space: str, dataset_id: str) -> tuple[Genotype, Evaluation] | None:
    """The genotype with the highest evaluation on a data set, if it has any.

    A retrained or reported accuracy comes before a supernet's, which counts only while there is no other.
    """
    order = case((Evaluation.kind == "search", 1), else_=0)
    query = (
        select(Genotype, Evaluation)
        .join(Evaluation, Evaluation.genotype_id == Genotype.id)
        .where(Evaluation.dataset_id == dataset_id, Genotype.search_space == search_space)
        .order_by(order, Evaluation.test_accuracy.desc(), Evaluation.id)
        .limit(1)
    )
    row = session.execute(query).first()
    return (row[0], row[1]) if row is not None else None


def _start(
    session: Session, space: LatentSpace, request: GenerateIn, nearest: NearestOut | None, net: VGAE
) -> Start:
    if request.random is not None:
        return Start(StartOut(kind=request.random))
    if request.between is not None:
        return _between(session, space, request.between, net)
    if nearest is not None:
        shown, point = _best(session, space, nearest.dataset_id, "for_dataset", net)
    else:
        assert request.near is not None
        shown, point = _near(session, space, request.near, net)
    return Start(StartOut(kind="near", points=[shown], nearest=nearest), point[None])


def _between(session: Session, space: LatentSpace, between: BetweenIn, net: VGAE) -> Start:
    found = [
        _best(session, space, dataset_id, f"between.dataset_ids[{position}]", net)
        for position, dataset_id in enumerate(between.dataset_ids)
    ]
    if between.steps is not None:
        second = torch.linspace(0, 1, between.steps)
        weights = torch.stack([1 - second, second], dim=1)
    else:
        weights = torch.tensor([between.weights or [1.0] * len(found)])
    weights = weights / weights.sum(1, keepdim=True)
    points = generation.between(torch.stack([point for _, point in found]), weights)
    shown = StartOut(
        kind="between",
        points=[shown for shown, _ in found],
        weights=[[round(weight, 6) for weight in row] for row in weights.tolist()],
    )
    return Start(shown, points)


def _near(session: Session, space: LatentSpace, near: NearIn, net: VGAE) -> tuple[PointOut, Tensor]:
    if near.dataset_id is not None:
        return _best(session, space, near.dataset_id, "near.dataset_id", net)
    assert near.genotype_id is not None
    row = genotypes.get(session, near.genotype_id, "near.genotype_id")
    service.require_same_space(row, space, "near.genotype_id")
    point, member = _latent(session, space, row, net)
    return PointOut(genotype_id=row.id, member=member), point


def _best(
    session: Session, space: LatentSpace, dataset_id: str, field: str, net: VGAE
) -> tuple[PointOut, Tensor]:
    dataset = datasets.get(session, dataset_id, field)
    best = best_point(session, space.search_space, dataset.id)
    if best is None:
        raise InvalidRequest.of(
            field,
            f"{dataset.name!r} has no evaluation of a genotype of the search space {space.search_space!r}, "
            "and so no best point; search on it, train on it, or register a genotype with an evaluation",
        )
    row, evaluation = best
    point, member = _latent(session, space, row, net)
    shown = PointOut(
        dataset_id=dataset_id,
        genotype_id=row.id,
        test_accuracy=evaluation.test_accuracy,
        evaluation_kind=evaluation.kind,
        member=member,
    )
    return shown, point


def _nearest(
    database: Database, space: LatentSpace, dataset_id: str, settings: Settings, artifacts: Artifacts
) -> NearestOut:
    known = neighbors(database, dataset_id, settings, artifacts, "for_dataset")
    passed: list[Neighbor] = []
    with database.session(reads_only=True) as session:
        for other in known:
            if other.distance is None:
                break
            if best_point(session, space.search_space, other.dataset.id) is not None:
                return NearestOut(
                    for_dataset=dataset_id,
                    dataset_id=other.dataset.id,
                    name=other.dataset.name,
                    distance=other.distance,
                    reason=_reason(other, passed, len(known)),
                )
            passed.append(other)
    raise InvalidRequest.of(
        "for_dataset",
        f"none of the {len(known)} other data sets with images has a best point; search or train on one, "
        "or register a genotype with an evaluation on it",
    )


def _reason(chosen: Neighbor, passed: Sequence[Neighbor], known: int) -> str:
    text = f"{chosen.dataset.name!r} is the nearest of {known} data sets"
    if passed:
        names = ", ".join(repr(other.dataset.name) for other in passed)
        text += f" that has a best point; nearer without one: {names}"
    return text


def _latent(session: Session, space: LatentSpace, row: Genotype, net: VGAE) -> tuple[Tensor, bool]:
    """A genotype's latent, and whether it is a member of the space."""
    query = select(LatentMember.mu).where(
        LatentMember.latent_space_id == space.id, LatentMember.genotype_id == row.id
    )
    stored = session.scalars(query).one_or_none()
    if stored is not None:
        return service.from_bytes([stored], space)[0], True
    return encode(net, service.graph_of([row], space))[0], False


@lru_cache(maxsize=16)
def _members(database: Database, space_id: str) -> tuple[Tensor, Tensor]:
    """The latents and the genotypes of a trained space's members, which never change."""
    with database.session(reads_only=True) as session:
        space = service.get(session, space_id)
        members, _ = service.members_of(session, space)
        rows = genotypes.get_many(session, service.member_ids(session, space_id), "genotype_ids")
        search_space = SEARCH_SPACES[space.search_space]
        return members, forms.to_tensor([genotypes.discrete(row) for row in rows], search_space)


def _constraints(asked: ConstraintsIn | None, space: SearchSpace) -> Constraints | None:
    """The limits in the form of `models`.

    Raises:
        InvalidRequest: naming a limit that nothing can meet.
    """
    if asked is None:
        return None
    constraints = Constraints(
        _range(asked.parameters),
        _range(asked.macs),
        _range(asked.depth),
        {name: _range(allowed) for name, allowed in asked.operations.items()},
        NetworkShape(**asked.network.model_dump()),
    )
    try:
        require_size(asked.network.image_size, asked.network.cells)
        constraints.require_possible(space)
    except DataError as error:
        raise InvalidRequest.of("constraints.network.image_size", str(error)) from None
    except ConstraintError as error:
        raise InvalidRequest.of(f"constraints.{error.field}", error.detail) from None
    return constraints


def _range(asked: RangeIn) -> Range:
    return Range(asked.min, asked.max)


def _rows(
    space: LatentSpace,
    search_space: SearchSpace,
    found: generation.Generated,
    start: StartOut,
    gamma: float | None,
    request: GenerateIn,
) -> list[dict[str, Any]]:
    parameters = count_parameters(found.genotypes, search_space).tolist()
    macs = count_macs(found.genotypes, search_space).tolist()
    sources = _sources(found, search_space, start, gamma, request)
    latents = found.sample.latents.float().contiguous().numpy()
    made, origin = now(), "random" if start.kind in ("uniform", "prior") else "generated"
    ids = new_ids(genotypes.PREFIX, len(found.genotypes))
    return [
        {
            "id": ids[i],
            "search_space": search_space.name,
            "origin": origin,
            "name": None,
            "dataset_id": None,
            "genotype": form,
            "continuous": None,
            "digest": digest,
            "parameters": parameters[i],
            "macs": macs[i],
            "source": sources[i],
            "latent_space_id": space.id,
            "latent": latents[i].tobytes(),
            "created_at": made,
        }
        for i, (form, digest) in enumerate(forms.described(found.genotypes, search_space))
    ]


def _sources(
    found: generation.Generated,
    search_space: SearchSpace,
    start: StartOut,
    gamma: float | None,
    request: GenerateIn,
) -> list[dict[str, Any]]:
    """Of each genotype, all that made it."""
    shared: dict[str, Any] = {"kind": start.kind, "gamma": gamma, "seed": request.seed}
    if start.points:
        shared["points"] = [point.model_dump(exclude_none=True) for point in start.points]
    if start.nearest is not None:
        shared["nearest"] = start.nearest.model_dump()
    sources: list[dict[str, Any]] = [dict(shared) for _ in range(len(found.genotypes))]
    if found.sample.directions is not None:
        for source, up in zip(sources, (found.sample.directions > 0).flatten(1).tolist(), strict=True):
            source["direction"] = "".join("+" if sign else "-" for sign in up)
    if start.weights is not None and found.sample.points is not None:
        for source, place in zip(sources, found.sample.points.tolist(), strict=True):
            source["weights"] = start.weights[place]
    if request.constraints is not None:
        network = request.constraints.network.model_dump()
        shape = NetworkShape(**network)
        sizes = (count(found.genotypes, search_space, shape) for count in (count_parameters, count_macs))
        for source, parameters, macs in zip(sources, *(size.tolist() for size in sizes), strict=True):
            source["network"] = {**network, "parameters": parameters, "macs": macs}
    return sources


def _note(items: int, found: generation.Generated, request: GenerateIn) -> str | None:
    if items == request.count:
        return None
    wanted = " and ".join(
        (["within the limits"] if request.constraints is not None else [])
        + (["new"] if request.unique else [])
    )
    return f"only {items} of {request.count} found: of {found.sampled} drawn no more were {wanted}"
