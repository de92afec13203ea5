"""Generating architectures from a latent space: at once, and stored with where they came from."""

import time
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from threading import Lock
from typing import Any

import torch
from sqlalchemy import insert
from sqlalchemy.orm import Session
from torch import Tensor

from app import owners
from app.artifacts import Artifacts
from app.database import Database, new_ids, now
from app.datasets.neighbors import neighbors, noise_distance
from app.devices import service as devices
from app.generation import limits, prediction, starts
from app.generation.schemas import (
    EditsOut,
    GenerateIn,
    GenerateOut,
    RankIn,
    StartOut,
    StepIn,
)
from app.genotypes import ranking
from app.genotypes import service as genotypes
from app.genotypes.schemas import GenotypeOut
from app.genotypes.tables import Genotype, Origin
from app.latent_spaces import service as latent_spaces
from app.latent_spaces.opened import OpenSpace, open_space
from app.latent_spaces.tables import LatentSpace
from app.problems import InvalidRequest
from app.settings import Settings
from models.generation import generate as generation
from models.generation.ranked import best
from models.genotypes import genotype as forms
from models.genotypes.constraints import Constraints
from models.genotypes.latency import NANOSECONDS, DeviceTable, latency
from models.genotypes.search_space import SearchSpace
from models.genotypes.size import NetworkShape, count_macs, count_parameters

EXACT = 0.99
"""The share of members that a space must give back exactly to be used without a doubt."""

FEW = 100
"""Architectures up to which requests are decoded one after the other. Such a request is milliseconds of many
small operations, each of which would give Python to another thread and wait for it again: sixteen at once are
answered half as fast. Those for more do not wait, and none waits for them."""

_decoding = Lock()


@dataclass(frozen=True)
class Newest:
    """The newest trained latent space of a search space, else its ready one; a warning says which it was."""

    search_space: str


@dataclass(frozen=True)
class Draft:
    """Generated architectures that are not stored yet.

    Args:
        answer: all of the answer but its items.
        rows: of the table of genotypes.
    """

    answer: GenerateOut
    rows: list[dict[str, Any]]


def generate(
    database: Database,
    space: str | Newest,
    request: GenerateIn,
    settings: Settings,
    artifacts: Artifacts,
) -> dict[str, Any]:
    """New genotypes from a latent space, stored with their source.

    Returns:
        the fields of `GenerateOut`; plain values, as there can be thousands of items.

    Raises:
        NotFound, Conflict: no such space, or one that is still training.
        InvalidRequest: a count over the limit, a start that is not there, or limits that cannot be met.
    """
    began = time.perf_counter()
    new = draft(database, space, request, settings, artifacts)
    if new.rows:
        database.add(Genotype, new.rows)
    new.answer.seconds = time.perf_counter() - began
    unlabelled: dict[str, Any] = {"note": None, "tags": [], "shared": owners.caller() is None}
    items = [{name: (unlabelled | row)[name] for name in GenotypeOut.model_fields} for row in new.rows]
    return {**new.answer.model_dump(), "items": items}


def store(session: Session, new: Draft) -> None:
    """Adds the genotypes of a draft, not yet committed."""
    if new.rows:
        session.execute(insert(Genotype.__table__), new.rows)  # type: ignore[arg-type]


def draft(
    database: Database,
    latent_space: str | LatentSpace | Newest,
    request: GenerateIn,
    settings: Settings,
    artifacts: Artifacts,
) -> Draft:
    """New genotypes from a latent space, given by its id, as it was just read, or as the newest one.

    Raises:
        NotFound, Conflict, InvalidRequest: as `generate`.
    """
    _require_few(request, settings)
    with database.session(reads_only=True) as session:
        choice = []
        if isinstance(latent_space, Newest):
            latent_space, sentence = latent_spaces.newest(session, latent_space.search_space)
            choice.append(sentence)
        space = open_space(session, latent_space, artifacts)
        asked = request.constraints
        shape = limits.network_shape(session, asked, space.space, request.for_dataset, "for_dataset")
        tables = limits.device_tables(session, asked, space.space, shape)
        timed = _timed(session, request.rank, space.space, shape)
        constraints = limits.constraints(asked, shape, space.space, tables)
        start, basis = _start(database, session, space, request, settings, artifacts)
    order = None
    if request.rank is not None:
        order = prediction.order(space.space, request.rank, shape, basis, settings, artifacts, timed)
    step = _step(space, request, start)
    with _turn(request):
        generated = _generated(space, request, start, step, constraints, order)
        sources = _sources(generated, space.space, start.shown, step, request, order, constraints)
        rows = described(generated, space, Origin.GENERATED if start.shown.points else Origin.RANDOM, sources)
    doubts = [*_inexact(space), *start.warnings, *tables.doubts(asked, space.space)]
    warnings = [*choice, *doubts, *(() if order is None else order.warnings)]
    answer = GenerateOut(
        latent_space_id=space.row.id,
        start=start.shown,
        gamma=step.gamma,
        deviations=step.deviations,
        seed=request.seed,
        sampled=generated.sampled,
        duplicates=generated.duplicates,
        rejected_by_constraints=generated.rejected,
        repaired=generated.repaired,
        edits=_edits(generated.edits),
        ranked=None if order is None else order.shown,
        seconds=0.0,
        note=_note(len(rows), generated, request, order),
        warnings=list(dict.fromkeys(warnings)),
        items=[],
    )
    return Draft(answer, rows)


def _turn(request: GenerateIn) -> AbstractContextManager[Any]:
    """What a request is decoded in: its turn, if it is for few architectures."""
    return _decoding if request.rank is None and request.count <= FEW else nullcontext()


def _inexact(space: OpenSpace) -> list[str]:
    """A sentence on a space that does not give its own members back, where it does not."""
    exact = space.row.members_exact
    if exact is None or exact >= EXACT:
        return []
    return [
        f"latent space {space.row.id} gives back {exact:.0%} of its own members exactly; what is near a "
        "point in it can be far in edits"
    ]


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
    database: Database,
    session: Session,
    space: OpenSpace,
    request: GenerateIn,
    settings: Settings,
    artifacts: Artifacts,
) -> tuple[starts.Start, prediction.Basis]:
    """Where a request starts, and what it can be ranked by where it ranks."""
    around = None
    if request.for_dataset is not None:
        points = ranking.datasets_with_points(session, space.space.name)
        session.commit()  # so that it holds no connection while distances are measured
        found = neighbors(database, request.for_dataset, settings, artifacts, "for_dataset", points)
        noise = noise_distance(session, request.for_dataset, artifacts)
        around = starts.Around(request.for_dataset, found, points, noise)
    start = starts.find(session, space, request, around)
    if request.rank is None:
        return start, prediction.Basis()
    return start, prediction.basis(session, space.space, request.rank, start.shown)


def _step(space: OpenSpace, request: GenerateIn, start: starts.Start) -> StepIn:
    """How far from its start a request draws; nothing where it draws at random."""
    if start.points is None or request.gamma is not None or request.deviations is not None:
        return StepIn(gamma=request.gamma, deviations=request.deviations)
    if request.rank is not None and request.rank.by == "accuracy":
        return step_to_choose_from(space)
    return StepIn(gamma=space.space.gamma)


def step_to_choose_from(space: OpenSpace) -> StepIn:
    """How far from a start to draw where a predictor chooses: so that every edge is as likely to change.

    Posteriors tell how far apart choices lie in spaces that were trained on random genotypes too; in others
    equation 8 is all there is.
    """
    if space.net.recipe.random_genotypes:
        return StepIn(deviations=generation.DEVIATIONS)
    return StepIn(gamma=space.space.gamma)


def drawn_near(
    space: OpenSpace, points: Tensor, of_points: Tensor, step: StepIn, generator: torch.Generator
) -> generation.Draw:
    """Latents near points of a space, so far away.

    Args:
        space: the space.
        points: `[points, nodes, latent dimension]`.
        of_points: their genotypes, in the form of `genotype.to_tensor`.
        step: by gamma or by deviations.
        generator: of the directions.
    """
    if step.deviations is not None:
        return generation.around(space.net, points, of_points, step.deviations, generator)
    assert step.gamma is not None
    return generation.near(points, space.box, step.gamma, generator)


def _generated(
    space: OpenSpace,
    request: GenerateIn,
    start: starts.Start,
    step: StepIn,
    constraints: Constraints | None,
    order: prediction.Order | None,
) -> generation.Generated:
    """The genotypes of a request: the first ones drawn, or with an order the best of many."""
    generator = torch.Generator().manual_seed(request.seed)
    if start.points is not None and start.genotypes is not None:
        draw = drawn_near(space, start.points, start.genotypes, step, generator)
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


def _timed(
    session: Session, rank: RankIn | None, space: SearchSpace, shape: NetworkShape
) -> DeviceTable | None:
    """The table of the device on which a request ranks by latency, if it does."""
    if rank is None or rank.device is None:
        return None
    return devices.find(session, rank.device, space, shape, "rank.device")


def _edits(numbers: Tensor | None) -> EditsOut | None:
    """The distribution of edits; `None` where nothing was drawn from a start."""
    if numbers is None or len(numbers) == 0:
        return None
    counts = {number: count for number, count in enumerate(numbers.bincount().tolist()) if count}
    mean = round(float(numbers.double().mean()), 4)
    return EditsOut(mean=mean, min=min(counts), max=max(counts), counts=counts)


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
    step: StepIn,
    request: GenerateIn,
    order: prediction.Order | None,
    constraints: Constraints | None,
) -> list[dict[str, Any]]:
    """The source of each genotype: all that is needed to make it again."""
    shared: dict[str, Any] = {"kind": start.kind, "gamma": step.gamma, "seed": request.seed}
    if step.deviations is not None:
        shared["deviations"] = step.deviations
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
        shapes = limits.networks(generated.genotypes, search_space, constraints)
        for source, network in zip(sources, shapes, strict=True):
            source["network"] = network
    return sources


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
