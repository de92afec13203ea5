"""Proposals: from a data set to architectures for it, with every default chosen and named."""

from dataclasses import asdict
from typing import Any
from urllib.parse import urlencode

from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from app import database as databases
from app import naming
from app.artifacts import Artifacts
from app.database import Database, new_id, now
from app.datasets import service as datasets
from app.datasets.tables import Dataset
from app.generation import service as generation
from app.generation.schemas import BudgetedNetworkIn, ConstraintsIn, GenerateIn, NearIn, RangeIn, StartOut
from app.genotypes import ranking
from app.genotypes import service as genotypes
from app.genotypes.tables import Genotype
from app.jobs import lengths, workers
from app.latent_spaces import service as latent_spaces
from app.latent_spaces.tables import LatentSpace
from app.overrides import choose
from app.problems import InvalidRequest, NotFound
from app.proposals.schemas import ChosenStartOut, ProposalIn, ProposalOut, ProposedOut
from app.proposals.tables import Proposal, ProposalItem
from app.settings import Settings
from models.datasets.data import DataError, require_size
from models.genotypes.published import PUBLISHED
from models.trainings.retrain import RECIPES, TrainRecipe

PREFIX = "prop"

_FIELDS = {"constraints": "limits", "for_dataset": "dataset_id", "near.dataset_id": "dataset_id"}
"""The fields of a request to a latent space, and what a proposal calls them."""


def propose(database: Database, request: ProposalIn, settings: Settings, artifacts: Artifacts) -> ProposalOut:
    """Architectures for a data set, stored with their proposal.

    Raises:
        InvalidRequest: a field of the request is at fault, nothing keeps to its limits, or nothing is known
            to start from.
    """
    with database.session(reads_only=True) as session:
        dataset = datasets.get(session, request.dataset_id, "dataset_id")
        chosen = choose(RECIPES, request, workers.has_gpu(session, settings))
        space, choice = _space(session, request)
    recipe = chosen.recipe
    limits = _limits(request.limits, dataset, recipe)
    own, seeded = _points(database, dataset, space.search_space)
    warnings = [*chosen.warnings, *choice, *seeded]

    def drafted(within: ConstraintsIn) -> generation.Draft:
        asked = GenerateIn(
            near=NearIn(dataset_id=dataset.id) if own else None,
            for_dataset=None if own else dataset.id,
            count=request.count,
            seed=request.seed,
            gamma=request.gamma,
            deviations=request.deviations,
            unique=True,
            constraints=within,
            rank=request.rank,
        )
        try:
            return generation.draft(database, space, asked, settings, artifacts)
        except InvalidRequest as error:
            raise _renamed(error) from None

    fitting = _fitting(limits)
    try:
        made = drafted(limits)
        found = len(made.rows)
    except InvalidRequest:
        if fitting is None:
            raise
        found = 0
    if fitting is not None and found < request.count:
        made = drafted(fitting)
        warnings.append(
            f"only {found} of {request.count} keep to the limits with {limits.network.channels} channels; "
            "channels are chosen for each, the most that fit"
        )
        limits = fitting
    if not made.rows:
        raise InvalidRequest.of("limits", made.answer.note or "leave nothing")
    warnings += made.answer.warnings + ([] if made.answer.note is None else [made.answer.note])
    row = Proposal(
        id=new_id(PREFIX),
        dataset_id=dataset.id,
        latent_space_id=space.id,
        recipe=chosen.name,
        settings=asdict(recipe),
        limits=None if request.limits is None else request.limits.model_dump(exclude_unset=True),
        answer={
            **made.answer.model_dump(mode="json", exclude={"items", "warnings"}),
            "constraints": limits.model_dump(mode="json", exclude_unset=True),
        },
        warnings=warnings,
        created_at=now(),
    )
    with database.session() as session:
        for column, value in naming.labelled(session, Proposal, request).items():
            setattr(row, column, value)
        generation.store(session, made)
        session.add(row)
        session.flush()
        session.add_all(
            ProposalItem(proposal_id=row.id, position=position, genotype_id=item["id"])
            for position, item in enumerate(made.rows)
        )
        session.commit()
        return shown(session, row)


def get(session: Session, proposal_id: str, field: str | None = None) -> Proposal:
    """A proposal by id.

    Raises:
        NotFound: there is none, and the id stands in the path (`field` is `None`).
        InvalidRequest: there is none, and the id stands in that field of the body.
    """
    row = session.get(Proposal, proposal_id)
    if row is None:
        text = f"there is no proposal {proposal_id!r}"
        raise NotFound(text) if field is None else InvalidRequest.of(field, text)
    return row


def architectures(session: Session, proposal_id: str) -> list[Genotype]:
    """The genotypes of a proposal, in its order."""
    query = (
        select(Genotype)
        .join(ProposalItem, ProposalItem.genotype_id == Genotype.id)
        .where(ProposalItem.proposal_id == proposal_id)
    )
    return list(session.scalars(query.order_by(ProposalItem.position)))


def constraints(row: Proposal) -> ConstraintsIn:
    """The limits of a proposal with the network that they are of."""
    return ConstraintsIn.model_validate(row.answer["constraints"])


def overrides(row: Proposal) -> dict[str, Any]:
    """The fields in which a proposal's recipe differs from the one of its name."""
    named = asdict(RECIPES[row.recipe])
    return {name: value for name, value in row.settings.items() if value != named[name]}


def listing(dataset_id: str | None, tag: str | None) -> Select[*tuple[Any, ...]]:
    """The query for proposals, of one data set or all."""
    query = naming.tagged(select(Proposal), Proposal.labels, tag)
    return query if dataset_id is None else query.where(Proposal.dataset_id == dataset_id)


def share(session: Session, row: Proposal) -> None:
    """Lets every key see what a proposal consists of, not yet committed.

    Raises:
        Conflict: its latent space is somebody's own.
    """
    naming.require_shared(session, row)
    datasets.get(session, row.dataset_id).owner = None
    genotypes.share(session, [genotype.id for genotype in architectures(session, row.id)])


def delete(session: Session, proposal_id: str) -> None:
    """Removes a proposal; its architectures stay.

    Raises:
        NotFound: there is none.
        Conflict: something needs it; the message says what.
    """
    databases.delete(session, get(session, proposal_id))
    session.commit()


def shown(session: Session, row: Proposal) -> ProposalOut:
    """A proposal as clients see it."""
    dataset, space = datasets.get(session, row.dataset_id), session.get_one(LatentSpace, row.latent_space_id)
    recipe = TrainRecipe(**row.settings)
    return ProposalOut(
        **{
            name: getattr(row, name)
            for name in ("id", "name", "note", "tags", "shared", "warnings", "created_at")
        },
        **{name: getattr(row, name) for name in ("recipe", "settings", "limits", "latent_space_id")},
        **{name: row.answer.get(name) for name in ("gamma", "deviations", "seed", "ranked")},
        dataset_id=dataset.id,
        dataset=dataset.name,
        search_space=space.search_space,
        start=_start(session, StartOut.model_validate(row.answer["start"]), dataset),
        items=[_item(genotype, recipe, dataset) for genotype in architectures(session, row.id)],
        links={"proposal": f"/v1/proposals/{row.id}", "dataset": f"/v1/datasets/{dataset.id}"},
    )


def _space(session: Session, request: ProposalIn) -> tuple[LatentSpace, list[str]]:
    if request.latent_space_id is None:
        space, choice = latent_spaces.newest(session, request.search_space)
        return space, [choice]
    try:
        return latent_spaces.get(session, request.latent_space_id), []
    except NotFound as error:
        raise InvalidRequest.of("latent_space_id", error.detail) from None


def _limits(asked: ConstraintsIn | None, dataset: Dataset, recipe: TrainRecipe) -> ConstraintsIn:
    """The limits with the network that sizes are of: of this data set's images, with the recipe's cells.

    Raises:
        InvalidRequest: limits of a network for other images, or images that are too small for the recipe.
    """
    limits = asked or ConstraintsIn()
    network = limits.network
    for field in sorted(network.images | ({"dataset_id"} & network.model_fields_set)):
        raise InvalidRequest.of(f"limits.network.{field}", "is told by the data set; leave it out")
    given: dict[str, Any] = {"dataset_id": dataset.id}
    if not network.budgeted:
        given |= {"channels": network.channels or recipe.channels, "cells": network.cells or recipe.cells}
        try:
            require_size(dataset.image_size, given["cells"], recipe.stem)
        except DataError as error:
            raise InvalidRequest.of("dataset_id", f"{dataset.name!r}: {error}") from None
    if "stem" not in network.model_fields_set:
        given["stem"] = recipe.stem
    network = BudgetedNetworkIn.model_validate(network.model_dump(exclude_unset=True) | given)
    return limits.model_copy(update={"network": network})


def _fitting(limits: ConstraintsIn) -> ConstraintsIn | None:
    """The same limits on sizes by fewer channels; `None` where they are no such limits."""
    most = {name: getattr(limits, name) for name in ("parameters", "macs")}
    if (
        limits.network.budgeted
        or limits.latency_ms is not None
        or any(m.min is not None for m in most.values())
    ):
        return None
    budget = {name: {"max": limit.max} for name, limit in most.items() if limit.max}
    if not budget:
        return None
    given = limits.network.model_dump(exclude_unset=True, exclude={"channels"})
    network = BudgetedNetworkIn.model_validate(given | budget)
    free: dict[str, Any] = {name: RangeIn() for name in most}
    return limits.model_copy(update={"network": network, **free})


def _points(database: Database, dataset: Dataset, search_space: str) -> tuple[bool, list[str]]:
    """Whether a data set has a trusted best point of its own, once some data set has one."""
    with database.session(reads_only=True) as session:
        points = ranking.datasets_with_points(session, search_space)
    seeds = [published for published in PUBLISHED if published.genotype.space.name == search_space]
    if any(points.values()) or not seeds:
        return points.get(dataset.id, False), []
    with database.session() as session:
        rows = genotypes.register_published(session)
        points = ranking.datasets_with_points(session, search_space)
    return points.get(dataset.id, False), [
        f"{len(rows)} published genotypes were registered with their reported results, as no data set had a "
        "trained or reported accuracy"
    ]


def _renamed(error: InvalidRequest) -> InvalidRequest:
    """A problem of a request to a latent space in the words of a proposal."""
    fields = []
    for each in error.errors:
        field = each.field
        for name, ours in _FIELDS.items():
            if field == name or field.startswith(f"{name}."):
                field = ours + field.removeprefix(name)
                break
        fields.append((field, each.detail))
    return InvalidRequest("; ".join(f"{field}: {detail}" for field, detail in fields) or error.detail, fields)


def _start(session: Session, start: StartOut, dataset: Dataset) -> ChosenStartOut:
    point = start.points[0]
    genotype = session.get(Genotype, point.genotype_id)
    known = {"point": point, "genotype_name": None if genotype is None else genotype.name}
    if start.nearest is not None:
        shared = {"reason": start.nearest.reason, "dataset": start.nearest.name}
        return ChosenStartOut(kind="nearest", nearest=start.nearest, **shared, **known)
    reason = f"{dataset.name!r} has trained or reported accuracies of its own, and this is the best"
    return ChosenStartOut(kind="own", reason=reason, dataset=dataset.name, **known)


def _item(row: Genotype, recipe: TrainRecipe, dataset: Dataset) -> ProposedOut:
    network, path = row.source["network"], f"/v1/genotypes/{row.id}"
    of_source = urlencode({"of_source": "true"})
    images = min(dataset.train_count, recipe.train_images or dataset.train_count)
    return ProposedOut(
        genotype_id=row.id,
        genotype=row.genotype,
        digest=row.digest,
        network=network,
        standard={"parameters": row.parameters, "macs": row.macs},
        edits=row.source.get("edits"),
        predicted_accuracy=row.source.get("predicted_accuracy"),
        predicted_deviation=row.source.get("predicted_deviation"),
        estimated_seconds=lengths.of_network(
            recipe.epochs, images, dataset.image_size, network["channels"], network["cells"]
        ),
        links={
            "genotype": path,
            "picture": f"{path}/cells.svg",
            "module": f"{path}/module.py?{of_source}",
            "onnx": f"{path}/model.onnx?{of_source}",
        },
    )
