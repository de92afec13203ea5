"""Generating architectures from a latent space: at once, and stored with where they came from."""

import time
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

import torch
from sqlalchemy import insert
from sqlalchemy.orm import Session
from torch import Tensor

from app.artifacts import Artifacts
from app.database import Database, new_ids, now
from app.datasets import service as datasets
from app.datasets.neighbors import neighbors, noise_distance
from app.devices import service as devices
from app.generation import prediction, starts
from app.generation.schemas import (
    BudgetedNetworkIn,
    ConstraintsIn,
    EditsOut,
    GenerateIn,
    GenerateOut,
    LatencyIn,
    RangeIn,
    RankIn,
    StartOut,
)
from app.genotypes import ranking
from app.genotypes import service as genotypes
from app.genotypes.schemas import GenotypeOut
from app.genotypes.tables import Genotype, Origin
from app.latent_spaces import service as latent_spaces
from app.latent_spaces.opened import OpenSpace, open_space
from app.problems import InvalidRequest
from app.settings import Settings
from models.datasets.data import DataError, require_size
from models.generation import generate as generation
from models.generation.ranked import best
from models.genotypes import genotype as forms
from models.genotypes.budget import Budget
from models.genotypes.constraints import ConstraintError, Constraints, Range
from models.genotypes.latency import NANOSECONDS, DeviceTable, latency
from models.genotypes.search_space import SearchSpace
from models.genotypes.size import NetworkShape, count_macs, count_parameters, standard_network


@dataclass(frozen=True)
class Draft:
    """Generated architectures that are not stored yet.

    Args:
        answer: all of the answer but its items.
        rows: of the table of genotypes.
    """

    answer: GenerateOut
    rows: list[dict[str, Any]]


def generate_from_newest(
    database: Database, search_space: str, request: GenerateIn, settings: Settings, artifacts: Artifacts
) -> dict[str, Any]:
    """New genotypes from the newest trained space of a search space, else from its ready space.

    Returns:
        as `generate`; a warning says which space was taken.

    Raises:
        InvalidRequest: no such search space, or as `generate`.
    """
    with database.session(reads_only=True) as session:
        space, choice = latent_spaces.newest(session, search_space)
    answer = generate(database, space.id, request, settings, artifacts)
    return {**answer, "warnings": [choice, *answer["warnings"]]}


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
    new = draft(database, space_id, request, settings, artifacts)
    with database.session() as session:
        store(session, new)
        session.commit()
    new.answer.seconds = time.perf_counter() - began
    items = [{name: row[name] for name in GenotypeOut.model_fields} for row in new.rows]
    return {**new.answer.model_dump(), "items": items}


def store(session: Session, new: Draft) -> None:
    """Adds the genotypes of a draft, not yet committed."""
    if new.rows:
        session.execute(insert(Genotype.__table__), new.rows)  # type: ignore[arg-type]


def draft(
    database: Database, space_id: str, request: GenerateIn, settings: Settings, artifacts: Artifacts
) -> Draft:
    """New genotypes from a latent space, not yet stored.

    Raises:
        NotFound, Conflict, InvalidRequest: as `generate`.
    """
    _require_few(request, settings)
    with database.session(reads_only=True) as session:
        space = open_space(session, space_id, artifacts)
        shape = network_shape(session, request.constraints, space.space, request.for_dataset, "for_dataset")
        tables = device_tables(session, request.constraints, space.space, shape)
        timed = _timed(session, request.rank, space.space, shape)
    constraints = limits(request.constraints, shape, space.space, tables)
    rough = tables.doubts(request.constraints, space.space)
    start, basis = _start(database, space, request, settings, artifacts)
    order = None
    if request.rank is not None:
        order = prediction.order(space.space, request.rank, shape, basis, settings, artifacts, timed)
    gamma = None
    if start.points is not None:
        gamma = space.space.gamma if request.gamma is None else request.gamma
    generated = _generated(space, request, start, gamma, constraints, order)
    sources = _sources(generated, space.space, start.shown, gamma, request, order, constraints)
    rows = described(generated, space, Origin.GENERATED if start.shown.points else Origin.RANDOM, sources)
    answer = GenerateOut(
        latent_space_id=space_id,
        start=start.shown,
        gamma=gamma,
        seed=request.seed,
        sampled=generated.sampled,
        duplicates=generated.duplicates,
        rejected_by_constraints=generated.rejected,
        repaired=generated.repaired,
        edits=_edits(generated.edits),
        ranked=None if order is None else order.shown,
        seconds=0.0,
        note=_note(len(rows), generated, request, order),
        warnings=list(dict.fromkeys([*start.warnings, *rough, *(() if order is None else order.warnings)])),
        items=[],
    )
    return Draft(answer, rows)


def _require_few(request: GenerateIn, settings: Settings) -> None:
    """Raises `InvalidRequest`, naming the field, for more architectures than a request may have drawn."""
    most = settings.max_generate
    if request.count > most:
        raise InvalidRequest.of("count", f"must be at most {most} (got {request.count})")
    if request.rank is not None and not request.count <= request.rank.draw <= most:
        raise InvalidRequest.of(
            "rank.draw", f"must be from the count, {request.count}, to {most} (got {request.rank.draw})"
        )


def _start(
    database: Database, space: OpenSpace, request: GenerateIn, settings: Settings, artifacts: Artifacts
) -> tuple[starts.Start, prediction.Basis]:
    """Where a request starts, and what it can be ranked by where it ranks."""
    around = None
    if request.for_dataset is not None:  # measures distances, and holds no session while it does
        with database.session(reads_only=True) as session:
            points = ranking.datasets_with_points(session, space.space.name)
        found = neighbors(database, request.for_dataset, settings, artifacts, "for_dataset", points)
    with database.session(reads_only=True) as session:
        if request.for_dataset is not None:
            noise = noise_distance(session, request.for_dataset, artifacts)
            around = starts.Around(request.for_dataset, found, points, noise)
        start = starts.find(session, space, request, around)
        if request.rank is None:
            return start, prediction.Basis()
        return start, prediction.basis(session, space.space, request.rank, start.shown)


def _generated(
    space: OpenSpace,
    request: GenerateIn,
    start: starts.Start,
    gamma: float | None,
    constraints: Constraints | None,
    order: prediction.Order | None,
) -> generation.Generated:
    """The genotypes of a request: the first ones drawn, or with an order the best of many."""
    generator = torch.Generator().manual_seed(request.seed)
    if start.points is not None and gamma is not None:
        draw = generation.near(start.points, space.box, gamma, generator)
    else:
        draws = {"uniform": generation.uniform, "prior": generation.prior}
        draw = draws[start.shown.kind](space.box, generator)
    count = request.count if order is None else order.rank.draw
    unique = request.unique or order is not None
    known = space.members if request.unique or order is None else space.members[:0]
    drawn = generation.generate(space.net, draw, count, known, constraints, unique, start.genotypes)
    if order is None:
        return drawn
    order.shown.drawn = len(drawn.genotypes)
    scores = order.scores(drawn.genotypes)
    return drawn.select(best(drawn.genotypes, scores, request.count, space.space, order.rank.apart))


@dataclass(frozen=True)
class DeviceTables:
    """What is known of the devices that limits name: of the latency itself, and of the network's budget."""

    limit: DeviceTable | None = None
    budget: DeviceTable | None = None

    def doubts(self, asked: ConstraintsIn | None, space: SearchSpace) -> list[str]:
        """Sentences on how rough the latencies are that limits hold, where they are."""
        if asked is None:
            return []
        named = [(asked.latency_ms, self.limit), (asked.network.latency_ms, self.budget)]
        told = [devices.doubt(limit.device, table, space) for limit, table in named if limit and table]
        return [doubt for doubt in told if doubt is not None]


def device_tables(
    session: Session, asked: ConstraintsIn | None, space: SearchSpace, shape: NetworkShape
) -> DeviceTables:
    """The tables of the devices that limits name.

    Raises:
        InvalidRequest: naming the field: a device has no table that tells the network.
    """
    limit = budget = None
    if asked is not None and asked.latency_ms is not None:
        name, field = asked.latency_ms.device, "constraints.latency_ms.device"
        limit = devices.find(session, name, space, shape, field)
    if asked is not None and asked.network.latency_ms is not None:
        name, field = asked.network.latency_ms.device, "constraints.network.latency_ms.device"
        budget = devices.find(session, name, space, shape, field, any_shape=True)
    return DeviceTables(limit, budget)


def _timed(
    session: Session, rank: RankIn | None, space: SearchSpace, shape: NetworkShape
) -> DeviceTable | None:
    """The table of the device on which a request ranks by latency, if it does."""
    if rank is None or rank.device is None:
        return None
    return devices.find(session, rank.device, space, shape, "rank.device")


def limits(
    asked: ConstraintsIn | None, shape: NetworkShape, space: SearchSpace, tables: DeviceTables
) -> Constraints | None:
    """The limits of a request in the form of `models`.

    Args:
        asked: the limits; `None` for none.
        shape: of the network that sizes are of, as `network_shape` gives it.
        space: the search space.
        tables: of the devices that it names.

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
        _range(asked.edits),
        shape,
        _budget(asked.network, shape, tables.budget),
        tables.limit,
        Range() if asked.latency_ms is None else _in_time(asked.latency_ms),
    )
    try:
        if constraints.budget is None:
            require_size(shape.image_size, shape.cells, shape.stem)
        constraints.require_possible(space)
    except DataError as error:
        raise InvalidRequest.of("constraints.network.image_size", str(error)) from None
    except ConstraintError as error:
        raise InvalidRequest.of(f"constraints.{error.field}", error.detail) from None
    return constraints


def network_shape(
    session: Session, asked: ConstraintsIn | None, space: SearchSpace, dataset_id: str | None, field: str
) -> NetworkShape:
    """The network that limits are of; for a data set, of its images and classes.

    Args:
        session: reads the data set.
        asked: the limits.
        space: the search space.
        dataset_id: whose images a budget is for where the limits say nothing of images.
        field: of the request, that names it.

    Raises:
        InvalidRequest: there is no such data set.
    """
    network = (asked or ConstraintsIn()).network
    shape = network.shape(space)
    if network.dataset_id is not None:
        dataset_id, field = network.dataset_id, "constraints.network.dataset_id"
    elif not network.budgeted or network.images:
        dataset_id = None
    if dataset_id is None:
        return shape
    dataset = datasets.get(session, dataset_id, field)
    return replace(
        shape, image_channels=dataset.channels, image_size=dataset.image_size, classes=dataset.classes
    )


def _budget(network: BudgetedNetworkIn, shape: NetworkShape, device: DeviceTable | None) -> Budget | None:
    if not network.budgeted:
        return None
    parameters, macs = (None if most is None else most.max for most in (network.parameters, network.macs))
    time = None if network.latency_ms is None else round(network.latency_ms.max * NANOSECONDS)
    return Budget(shape, parameters, macs, network.channels, network.cells, time, device)


def _in_time(asked: LatencyIn) -> Range:
    """A range of milliseconds in nanoseconds."""
    return Range(*(None if end is None else round(end * NANOSECONDS) for end in (asked.min, asked.max)))


def _edits(numbers: Tensor | None) -> EditsOut | None:
    """The distribution of edits; `None` where nothing was drawn from a start."""
    if numbers is None or len(numbers) == 0:
        return None
    counts = {number: count for number, count in enumerate(numbers.bincount().tolist()) if count}
    mean = round(float(numbers.double().mean()), 4)
    return EditsOut(mean=mean, min=min(counts), max=max(counts), counts=counts)


def _range(asked: RangeIn) -> Range:
    return Range(asked.min, asked.max)


def described(
    generated: generation.Generated, space: OpenSpace, origin: Origin, sources: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    """The rows of generated genotypes, in their order.

    Args:
        generated: the genotypes with their latents.
        space: from which they were drawn.
        origin: of all of them.
        sources: of each, all that is needed to make it again.
    """
    search_space = space.space
    parameters = count_parameters(generated.genotypes, search_space).tolist()
    macs = count_macs(generated.genotypes, search_space).tolist()
    latents = generated.sample.latents.float().contiguous().numpy()
    moment, ids = now(), new_ids(genotypes.PREFIX, len(generated.genotypes))
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
            "latent_space_id": space.row.id,
            "latent": latents[i].tobytes(),
            "created_at": moment,
        }
        for i, (form, digest) in enumerate(forms.described(generated.genotypes, search_space))
    ]


def _sources(
    generated: generation.Generated,
    search_space: SearchSpace,
    start: StartOut,
    gamma: float | None,
    request: GenerateIn,
    order: prediction.Order | None,
    constraints: Constraints | None,
) -> list[dict[str, Any]]:
    """The source of each genotype: all that is needed to make it again."""
    shared: dict[str, Any] = {"kind": start.kind, "gamma": gamma, "seed": request.seed}
    if start.points:
        shared["points"] = [point.model_dump(exclude_none=True) for point in start.points]
    if start.nearest is not None:
        shared["nearest"] = start.nearest.model_dump()
    if order is not None:
        shared["ranked"] = {
            **order.shown.model_dump(exclude_none=True),
            **order.rank.model_dump(include={"draw", "apart"}),
        }
    sources: list[dict[str, Any]] = [dict(shared) for _ in range(len(generated.genotypes))]
    if generated.sample.directions is not None:
        for source, up in zip(sources, (generated.sample.directions > 0).flatten(1).tolist(), strict=True):
            source["direction"] = "".join("+" if sign else "-" for sign in up)
    if generated.edits is not None:
        for source, number in zip(sources, generated.edits.tolist(), strict=True):
            source["edits"] = number
    if order is not None and order.device is not None:
        taken = latency(generated.genotypes, search_space, order.shape, order.device)
        for source, nanoseconds in zip(sources, taken.tolist(), strict=True):
            source["latency_ms"] = round(nanoseconds / NANOSECONDS, 6)
    if order is not None and order.predictor is None and order.judge is not None:
        told = order.judge.scores(generated.genotypes)[order.rank.by]
        for source, score in zip(sources, told.tolist(), strict=True):
            source[order.rank.by] = round(score, 4)
    if order is not None and order.predictor is not None:
        predicted = order.predict(generated.genotypes)
        for source, mean, deviation in zip(sources, predicted.mean, predicted.deviation, strict=True):
            source["predicted_accuracy"] = round(float(mean), 4)
            source["predicted_deviation"] = round(float(deviation), 4)
    if start.weights is not None and generated.sample.points is not None:
        for source, place in zip(sources, generated.sample.points.tolist(), strict=True):
            source["weights"] = start.weights[place]
    if constraints is not None:
        shapes = networks(generated.genotypes, search_space, constraints)
        for source, network in zip(sources, shapes, strict=True):
            source["network"] = network
    return sources


def networks(genotypes: Tensor, space: SearchSpace, constraints: Constraints) -> list[dict[str, Any]]:
    """The network of each genotype that its limits are of, with its exact counts."""
    shape, budget = constraints.shape or standard_network(space), constraints.budget
    if budget is None:
        counts = (count(genotypes, space, shape).tolist() for count in (count_parameters, count_macs))
        shapes = [{**asdict(shape), "parameters": p, "macs": m} for p, m in zip(*counts, strict=True)]
        return _with_times(shapes, genotypes, space, constraints.device)
    limits = {name: limit for name in ("parameters", "macs") if (limit := getattr(budget, name)) is not None}
    if budget.latency is not None:
        limits["latency_ms"] = budget.latency / NANOSECONDS
    fitted = {name: part.tolist() for name, part in vars(budget.fit(genotypes, space)).items()}
    shapes = [
        {**asdict(shape), **dict(zip(fitted, row, strict=True)), "budget": limits}
        for row in zip(*fitted.values(), strict=True)
    ]
    return _with_times(shapes, genotypes, space, budget.device)


def _with_times(
    shapes: list[dict[str, Any]], genotypes: Tensor, space: SearchSpace, device: DeviceTable | None
) -> list[dict[str, Any]]:
    """Networks with their milliseconds on a device, where there is one."""
    if device is None:
        return shapes
    names = [field.name for field in fields(NetworkShape)]
    by_shape: dict[NetworkShape, list[int]] = {}
    for row, network in enumerate(shapes):
        by_shape.setdefault(NetworkShape(**{name: network[name] for name in names}), []).append(row)
    for shape, rows in by_shape.items():
        taken = latency(genotypes[rows], space, shape, device).tolist()
        for row, nanoseconds in zip(rows, taken, strict=True):
            shapes[row]["latency_ms"] = round(nanoseconds / NANOSECONDS, 6)
    return shapes


def _note(
    items: int, generated: generation.Generated, request: GenerateIn, order: prediction.Order | None
) -> str | None:
    if items == request.count:
        return None
    wanted = " and ".join(
        (["within the limits"] if request.constraints is not None else [])
        + (["new"] if request.unique or order is not None else [])
    )
    found = f"only {items} of {request.count} found: of {generated.sampled} drawn "
    if order is not None and order.shown.drawn >= request.count:
        apart = f"no more of them differ in {order.rank.apart} edits from each other"
        return f"{found}{order.shown.drawn} were {wanted}, and {apart}"
    return f"{found}no more were {wanted}"
