"""Experiments: made of generated, given and reference architectures, and a training of each."""

from dataclasses import asdict, dataclass
from typing import Any

from pydantic import ValidationError
from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from app.artifacts import Artifacts
from app.database import Database, new_id, now
from app.datasets import service as datasets
from app.datasets.tables import Dataset
from app.experiments.schemas import (
    BetweenArm,
    ExperimentIn,
    GenotypesArm,
    NearArm,
    RandomArm,
    ReferenceArm,
)
from app.experiments.tables import Experiment
from app.genotypes import service as genotypes
from app.jobs import service as jobs
from app.jobs.tables import Job
from app.latent_spaces import generation
from app.latent_spaces import service as latent_spaces
from app.latent_spaces.schemas import BetweenIn, GenerateIn, NearIn
from app.problems import InvalidRequest, NotFound, from_validation
from app.recipes import resolve
from app.settings import Settings
from app.trainings import service as trainings
from models.retrain import RECIPES, TrainRecipe

PREFIX = "exp"

Generated = RandomArm | NearArm | BetweenArm
AnyArm = Generated | GenotypesArm | ReferenceArm


@dataclass(frozen=True)
class PlannedArm:
    """An arm whose architectures are known.

    Args:
        shown: as the experiment keeps it.
        digests: of its genotypes in turn, equal for the same architecture; of a reference, its name.
        made: what is to be stored first, of a generated arm.
    """

    shown: dict[str, Any]
    digests: list[str]
    made: generation.Draft | None = None


def start(
    database: Database, request: ExperimentIn, settings: Settings, artifacts: Artifacts
) -> tuple[Job, list[Job]]:
    """A new experiment: its job, and those of its trainings.

    Nothing is stored before every arm is known to be right.

    Raises:
        InvalidRequest: a field of the request or of an arm is at fault, or it has too many trainings.
    """
    recipe = resolve(RECIPES, request.recipe, request.overrides)
    with database.session(reads_only=True) as session:
        targets = _targets(session, request, recipe)
        names = _names(session, request)
        if request.latent_space_id is not None:
            _latent_space(session, request.latent_space_id)
    _require_few(request, settings)
    arms = [
        _plan(database, arm, name, f"arms[{i}]", request, settings, artifacts)
        for i, (arm, name) in enumerate(zip(request.arms, names, strict=True))
    ]
    with database.session() as session:
        for arm in arms:
            if arm.made is not None:
                generation.store(session, arm.made)
        experiment_id = new_id(PREFIX)
        job = jobs.create_parent(
            session,
            "experiment",
            {"experiment_id": experiment_id},
            {
                "experiment": f"/v1/experiments/{experiment_id}",
                "table": f"/v1/experiments/{experiment_id}/table",
            },
        )
        session.add(
            Experiment(
                id=experiment_id,
                job_id=job.id,
                latent_space_id=request.latent_space_id,
                dataset_ids=[dataset.id for dataset in targets],
                recipe=request.recipe,
                settings=asdict(recipe),
                seeds=request.seeds,
                arms=[arm.shown for arm in arms],
                created_at=now(),
            )
        )
        session.flush()
        parts = _trainings(session, experiment_id, job.id, request, recipe, arms)
        session.commit()
        return job, parts


def get(session: Session, experiment_id: str) -> tuple[Experiment, Job]:
    """An experiment by id, with its job.

    Raises:
        NotFound: there is none.
    """
    experiment = session.get(Experiment, experiment_id)
    if experiment is None:
        raise NotFound(f"there is no experiment {experiment_id!r}")
    return experiment, jobs.get(session, experiment.job_id)


def listing() -> Select[*tuple[Any, ...]]:
    """All experiments with their jobs."""
    return select(Experiment, Job).join(Job, Job.id == Experiment.job_id)


def _targets(session: Session, request: ExperimentIn, recipe: TrainRecipe) -> list[Dataset]:
    if len(set(request.dataset_ids)) < len(request.dataset_ids):
        raise InvalidRequest.of("dataset_ids", "must all differ")
    found = []
    for position, dataset_id in enumerate(request.dataset_ids):
        field = f"dataset_ids[{position}]"
        found.append(datasets.get(session, dataset_id, field))
        trainings.require_trainable(found[-1], recipe, field)
    return found


def _latent_space(session: Session, space_id: str) -> None:
    try:
        latent_spaces.require_ready(latent_spaces.get(session, space_id))
    except NotFound as error:
        raise InvalidRequest.of("latent_space_id", error.detail) from None


def _names(session: Session, request: ExperimentIn) -> list[str]:
    """The name of every arm, given or told from what it is."""
    names: list[str] = []
    for position, arm in enumerate(request.arms):
        name = arm.name or _default_name(session, arm, f"arms[{position}]")
        if name in names:
            raise InvalidRequest.of(
                f"arms[{position}].name", f"{name!r} is taken by another arm; give it one"
            )
        names.append(name)
    return names


def _default_name(session: Session, arm: AnyArm, field: str) -> str:
    if isinstance(arm, NearArm):
        return f"near {datasets.get(session, arm.dataset_id, f'{field}.dataset_id').name} {arm.gamma:g}"
    if isinstance(arm, BetweenArm):
        found = [
            datasets.get(session, dataset_id, f"{field}.dataset_ids[{i}]").name
            for i, dataset_id in enumerate(arm.dataset_ids)
        ]
        return f"between {' and '.join(found)} {arm.gamma:g}"
    return arm.model if isinstance(arm, ReferenceArm) else arm.kind


def _require_few(request: ExperimentIn, settings: Settings) -> None:
    sizes = [
        len(arm.genotype_ids)
        if isinstance(arm, GenotypesArm)
        else 1
        if isinstance(arm, ReferenceArm)
        else arm.count
        for arm in request.arms
    ]
    count = sum(sizes) * len(request.seeds) * len(request.dataset_ids)
    if count > settings.max_jobs_per_request:
        raise InvalidRequest.of(
            "arms", f"would start {count} trainings; at most {settings.max_jobs_per_request} at once"
        )


def _plan(
    database: Database,
    arm: AnyArm,
    name: str,
    field: str,
    request: ExperimentIn,
    settings: Settings,
    artifacts: Artifacts,
) -> PlannedArm:
    shown: dict[str, Any] = {
        "name": name,
        "request": arm.model_dump(exclude_none=True),
        "genotype_ids": [],
        "reference": None,
        "search_hours": 0.0,
    }
    if isinstance(arm, ReferenceArm):
        return PlannedArm({**shown, "reference": arm.model}, [arm.model])
    if isinstance(arm, GenotypesArm):
        with database.session(reads_only=True) as session:
            rows = genotypes.get_many(session, arm.genotype_ids, f"{field}.genotype_ids")
        hours = [row.source.get("search_hours") for row in rows]
        known = [hour for hour in hours if hour is not None]
        total = sum(known) / len(known) if len(known) == len(hours) else None
        shown |= {"genotype_ids": [row.id for row in rows], "search_hours": total}
        return PlannedArm(shown, [row.digest for row in rows])
    if request.latent_space_id is None:
        raise InvalidRequest.of("latent_space_id", f"is missing; the arm {name!r} is generated from one")
    try:
        asked = _asked(arm)
        made = generation.draft(database, request.latent_space_id, asked, settings, artifacts)
    except ValidationError as error:
        raise from_validation(error.errors(), prefix=field) from None
    except InvalidRequest as error:
        errors = [(f"{field}.{_within(e.field)}", e.detail) for e in error.errors]
        raise InvalidRequest(f"{field}: {error.detail}", errors) from None
    shown |= {
        "genotype_ids": [row["id"] for row in made.rows],
        "start": made.answer.start.model_dump(),
        "note": made.answer.note,
    }
    return PlannedArm(shown, [row["digest"] for row in made.rows], made)


def _asked(arm: Generated) -> GenerateIn:
    """What an arm asks of the latent space."""
    shared: dict[str, Any] = {
        "count": arm.count,
        "seed": arm.seed,
        "unique": arm.unique,
        "constraints": arm.constraints,
    }
    if isinstance(arm, RandomArm):
        return GenerateIn(random="uniform", **shared)
    if isinstance(arm, NearArm):
        return GenerateIn(near=NearIn(dataset_id=arm.dataset_id), gamma=arm.gamma, **shared)
    between = BetweenIn(dataset_ids=arm.dataset_ids, weights=arm.weights, steps=arm.steps)
    return GenerateIn(between=between, gamma=arm.gamma, **shared)


def _within(field: str) -> str:
    return field.removeprefix("near.").removeprefix("between.")


def _trainings(
    session: Session,
    experiment_id: str,
    job_id: str,
    request: ExperimentIn,
    recipe: TrainRecipe,
    arms: list[PlannedArm],
) -> list[Job]:
    """A training for every architecture, seed and data set; the arms in turn, so that none waits for last.

    Where an arm has one architecture several times, as at gamma 0, each copy has seeds of its own.
    """
    waiting = []
    span = max(request.seeds) - min(request.seeds) + 1
    for arm in arms:
        subjects: list[dict[str, Any]] = [{"genotype_id": i} for i in arm.shown["genotype_ids"]]
        if arm.shown["reference"] is not None:
            subjects = [{"reference": arm.shown["reference"]}]
        for position, subject in enumerate(subjects):
            copies = arm.digests[:position].count(arm.digests[position])
            waiting += [
                (position, arm.shown["name"], subject, seed + copies * span, dataset_id)
                for seed in request.seeds
                for dataset_id in request.dataset_ids
            ]
    waiting.sort(key=lambda item: item[0])
    return [
        trainings.create(
            session,
            trainings.Plan(
                dataset_id,
                request.recipe,
                recipe,
                seed,
                name,
                experiment_id=experiment_id,
                parent_job_id=job_id,
                **subject,
            ),
        )
        for _, name, subject, seed, dataset_id in waiting
    ]
