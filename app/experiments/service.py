"""Experiments: made of generated, given and reference architectures, and a training of each."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

from pydantic import ValidationError
from sqlalchemy import Select, select, update
from sqlalchemy.orm import Session

from app import database, naming
from app.artifacts import Artifacts
from app.database import Database, new_id, now
from app.datasets import service as datasets
from app.datasets.tables import Dataset
from app.experiments.schemas import Arm, ExperimentIn, ProposalArm, ReferenceArm
from app.experiments.tables import Experiment
from app.generation import service as generation
from app.generation.schemas import GenerateIn
from app.genotypes import service as genotypes
from app.genotypes.schemas import Chosen
from app.jobs import parents, workers
from app.jobs import service as jobs
from app.jobs.tables import Job, JobKind
from app.latent_spaces import service as latent_spaces
from app.latent_spaces.opened import open_space
from app.overrides import Choice, choose, resolve
from app.problems import InvalidRequest, NotFound, from_validation
from app.proposals import service as proposals
from app.settings import Settings
from app.trainings import service as trainings
from app.trainings.tables import Training
from models.datasets.data import DataError
from models.genotypes.search_space import DEFAULT_SPACE
from models.trainings.retrain import RECIPES, TrainRecipe

PREFIX = "exp"


@dataclass(frozen=True)
class PlannedArm:
    """An arm whose architectures are known.

    Args:
        shown: as the experiment keeps it.
        digests: of its genotypes in turn, equal for the same architecture; of a reference, its name.
        sources: of its genotypes in turn, where it was generated for a network.
        made: what is to be stored first, of a generated arm.
        settings: the arm's own recipe with every field, if it has one.
        warnings: sentences on what was chosen for it.
    """

    shown: dict[str, Any]
    digests: list[str]
    made: generation.Draft | None = None
    settings: TrainRecipe | None = None
    sources: Sequence[dict[str, Any]] = ()
    warnings: Sequence[str] = ()


@dataclass(frozen=True)
class ArmPlanner:
    """Makes the architectures of one arm, and stores nothing.

    Args:
        database, settings, artifacts: of the service.
        space_id: the latent space of arms that are generated.
        dataset_id: the first data set of the experiment, of whose images the networks of a budget are.
        recipe: of the experiment.
        name: of the arm.
        arm: as it was asked for.
        field: the arm's place in the request.
    """

    database: Database
    settings: Settings
    artifacts: Artifacts
    space_id: str | None
    dataset_id: str
    recipe: TrainRecipe
    name: str
    arm: Arm
    field: str

    def generated(self, asked: GenerateIn) -> PlannedArm:
        """Architectures from the latent space."""
        assert self.space_id is not None
        network = asked.constraints.network if asked.constraints is not None else None
        if network is not None and network.budgeted and not network.images and network.dataset_id is None:
            network.dataset_id = self.dataset_id
        try:
            draft = generation.draft(self.database, self.space_id, asked, self.settings, self.artifacts)
        except InvalidRequest as error:
            fields = [(_within(e.field), e.detail) for e in error.errors]
            raise InvalidRequest(error.detail, fields).within(self.field) from None
        shown = self._shown(
            genotype_ids=[row["id"] for row in draft.rows],
            start=draft.answer.start.model_dump(),
            note=draft.answer.note,
        )
        return PlannedArm(
            shown,
            [row["digest"] for row in draft.rows],
            draft,
            sources=[row["source"] for row in draft.rows],
            warnings=draft.answer.warnings,
        )

    def given(self, asked: Chosen) -> PlannedArm:
        """Genotypes that are there already."""
        try:
            with self.database.session(reads_only=True) as session:
                rows = genotypes.chosen(session, asked, self.settings.max_jobs_per_request)
        except InvalidRequest as error:
            raise error.within(self.field) from None
        hours = [row.source.get("search_hours") for row in rows]
        known_hours = [hour for hour in hours if hour is not None]
        total = sum(known_hours) / len(known_hours) if len(known_hours) == len(hours) else None
        shown = self._shown(genotype_ids=[row.id for row in rows], search_hours=total)
        return PlannedArm(shown, [row.digest for row in rows])

    def proposed(self, asked: ProposalArm) -> PlannedArm:
        """The architectures of a proposal."""
        with self.database.session(reads_only=True) as session:
            proposal = proposals.get(session, asked.proposal_id, f"{self.field}.proposal_id")
            rows = proposals.architectures(session, proposal.id)
        shown = self._shown(genotype_ids=[row.id for row in rows], start=proposal.answer["start"])
        told = {name: proposal.settings[name] for name in trainings.SHAPE}
        ours = {name: getattr(self.recipe, name) for name in trainings.SHAPE}
        warnings = [f"{self.name!r} was proposed for networks of {told}; they are trained with {ours}"]
        return PlannedArm(
            shown,
            [row.digest for row in rows],
            sources=[row.source for row in rows],
            warnings=[] if told == ours else warnings,
        )

    def reference(self, asked: ReferenceArm) -> PlannedArm:
        """A network of torchvision's."""
        if asked.weights is not None:
            self._require_file(asked.weights)
        own, settings = asked.own_recipe, None
        if own is not None:
            try:
                settings = resolve(RECIPES, own, asked.overrides)
            except InvalidRequest as error:
                raise error.within(self.field) from None
        shown = self._shown(reference=asked.model, pretrained=asked.source, recipe=own)
        return PlannedArm(shown, [asked.model], settings=settings)

    def _require_file(self, weights: str) -> None:
        try:
            path = datasets.below(self.settings.data_root, weights)
        except DataError as error:
            raise InvalidRequest.of(f"{self.field}.weights", str(error)) from None
        if not path.is_file():
            raise InvalidRequest.of(
                f"{self.field}.weights", f"there is no file {weights!r} below the data root"
            )

    def _shown(self, **fields: Any) -> dict[str, Any]:
        request = self.arm.model_dump(exclude_none=True)
        default: dict[str, Any] = {"genotype_ids": [], "reference": None, "search_hours": 0.0}
        return {"name": self.name, "request": request, **default, **fields}


def start(
    database: Database, request: ExperimentIn, settings: Settings, artifacts: Artifacts
) -> tuple[Job, list[Job]]:
    """A new experiment: its job, and those of its trainings.

    Nothing is stored before every arm is known to be right.

    Raises:
        InvalidRequest: a field of the request or of an arm is at fault, or it has too many trainings.
    """
    with database.session(reads_only=True) as session:
        if request.proposal_id is not None:
            request = _of_proposal(session, request, request.proposal_id)
        for field in ("dataset_ids", "arms"):
            if not getattr(request, field):
                raise InvalidRequest.of(field, "must be at least one, or a proposal_id, which has one")
        choice = choose(RECIPES, request, workers.has_gpu(session, settings))
        recipe = choice.recipe
        targets = _targets(session, request, recipe)
        names = _names(session, request)
        space_id, warnings = _latent_space(session, request, artifacts)
    warnings += choice.warnings
    _require_few(request, sum(arm.size for arm in request.arms), settings)
    arms: list[PlannedArm] = []
    for position, (asked, name) in enumerate(zip(request.arms, names, strict=True)):
        field = f"arms[{position}]"
        planner = ArmPlanner(
            database, settings, artifacts, space_id, targets[0].id, recipe, name, asked, field
        )
        try:
            arms.append(asked.plan(planner))
        except ValidationError as error:  # of what the arm asks the latent space
            raise from_validation(error.errors(), prefix=field) from None
    _require_few(request, sum(len(arm.digests) for arm in arms), settings)
    warnings += dict.fromkeys(warning for arm in arms for warning in arm.warnings)
    with database.session() as session:
        for arm in arms:
            if arm.made is not None:
                generation.store(session, arm.made)
        experiment_id = new_id(PREFIX)
        job = parents.create_parent(
            session,
            JobKind.EXPERIMENT,
            {"experiment_id": experiment_id},
            {
                "experiment": f"/v1/experiments/{experiment_id}",
                "table": f"/v1/experiments/{experiment_id}/table",
            },
            warnings,
        )
        session.add(
            Experiment(
                id=experiment_id,
                job_id=job.id,
                latent_space_id=space_id,
                warnings=warnings,
                dataset_ids=[dataset.id for dataset in targets],
                recipe=choice.name,
                settings=asdict(recipe),
                seeds=request.seeds,
                arms=[arm.shown for arm in arms],
                created_at=now(),
                **naming.labelled(session, Experiment, request),
            )
        )
        session.flush()
        parts = _trainings(session, experiment_id, job.id, request, choice, arms, targets)
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


def delete(session: Session, experiment_id: str) -> None:
    """Removes an experiment that is over, with its job; its trainings stay, each on its own.

    Raises:
        NotFound: there is none.
        Conflict: it is not over.
    """
    experiment, job = get(session, experiment_id)
    of_it = update(Training).where(Training.experiment_id == experiment_id)
    session.execute(of_it.values(experiment_id=None))
    database.delete(session, experiment)
    parents.remove(session, job.id)
    session.commit()


def listing(tag: str | None = None) -> Select[*tuple[Any, ...]]:
    """The query for experiments with their jobs."""
    query = select(Experiment, Job).join(Job, Job.id == Experiment.job_id)
    return naming.tagged(query, Experiment.labels, tag)


def _of_proposal(session: Session, request: ExperimentIn, proposal_id: str) -> ExperimentIn:
    """A request with what it leaves out as in a proposal, whose architectures are an arm."""
    proposal = proposals.get(session, proposal_id, "proposal_id")
    of_it: dict[str, Any] = {"proposal_id": None}
    if not request.dataset_ids:
        of_it["dataset_ids"] = [proposal.dataset_id]
    if request.recipe is None:
        of_it["recipe"] = proposal.recipe
        of_it["overrides"] = proposals.overrides(proposal) | request.overrides
    arm = ProposalArm(kind="proposal", proposal_id=proposal.id)
    return request.model_copy(update={**of_it, "arms": [arm, *request.arms]})


def _targets(session: Session, request: ExperimentIn, recipe: TrainRecipe) -> list[Dataset]:
    if len(set(request.dataset_ids)) < len(request.dataset_ids):
        raise InvalidRequest.of("dataset_ids", "must all differ")
    targets = []
    for position, dataset_id in enumerate(request.dataset_ids):
        field = f"dataset_ids[{position}]"
        targets.append(datasets.get(session, dataset_id, field))
        trainings.require_trainable(targets[-1], recipe, field)
    return targets


def _latent_space(
    session: Session, request: ExperimentIn, artifacts: Artifacts
) -> tuple[str | None, list[str]]:
    """The space that arms are generated from, if any are, and how it was chosen if the request names none."""
    if request.latent_space_id is None:
        if not any(arm.needs_latent_space for arm in request.arms):
            return None, []
        space, choice = latent_spaces.newest(session, DEFAULT_SPACE)
        return space.id, [choice]
    try:
        open_space(session, request.latent_space_id, artifacts)
    except NotFound as error:
        raise InvalidRequest.of("latent_space_id", error.detail) from None
    return request.latent_space_id, []


def _names(session: Session, request: ExperimentIn) -> list[str]:
    """The name of every arm, given or told from what it is."""
    names: list[str] = []
    for position, arm in enumerate(request.arms):
        name = arm.name or arm.default_name(partial(_dataset_name, session, f"arms[{position}]"))
        if name in names:
            raise InvalidRequest.of(
                f"arms[{position}].name", f"{name!r} is taken by another arm; give it one"
            )
        names.append(name)
    return names


def _dataset_name(session: Session, arm: str, dataset_id: str, field: str) -> str:
    return datasets.get(session, dataset_id, f"{arm}.{field}").name


def _require_few(request: ExperimentIn, architectures: int, settings: Settings) -> None:
    count = architectures * len(request.seeds) * len(request.dataset_ids)
    if count > settings.max_jobs_per_request:
        raise InvalidRequest.of(
            "arms", f"would start {count} trainings; at most {settings.max_jobs_per_request} at once"
        )


def _within(field: str) -> str:
    return field.removeprefix("near.").removeprefix("between.")


def _trainings(
    session: Session,
    experiment_id: str,
    job_id: str,
    request: ExperimentIn,
    choice: Choice[TrainRecipe],
    arms: list[PlannedArm],
    targets: list[Dataset],
) -> list[Job]:
    """A training for every architecture, seed and data set; the arms in turn, so that none waits for last.

    Where an arm has one architecture several times, as at gamma 0, each copy has seeds of its own. What a
    budget chose the network of is trained with it.
    """
    waiting: list[tuple[int, trainings.Plan]] = []
    span = max(request.seeds) - min(request.seeds) + 1
    for place, arm in enumerate(arms):
        subjects: list[dict[str, Any]] = [{"genotype_id": i} for i in arm.shown["genotype_ids"]]
        if arm.shown["reference"] is not None:
            subjects = [{name: arm.shown[name] for name in ("reference", "pretrained")}]
        for position, subject in enumerate(subjects):
            copies = arm.digests[:position].count(arm.digests[position])
            waiting += [
                (
                    position,
                    trainings.Plan(
                        dataset.id,
                        arm.shown.get("recipe") or choice.name,
                        _settled(arm, position, choice.recipe, dataset, f"arms[{place}]"),
                        seed + copies * span,
                        arm.shown["name"],
                        experiment_id=experiment_id,
                        parent_job_id=job_id,
                        **subject,
                    ),
                )
                for seed in request.seeds
                for dataset in targets
            ]
    waiting.sort(key=lambda item: item[0])
    return [trainings.create(session, plan) for _, plan in waiting]


def _settled(
    arm: PlannedArm, position: int, recipe: TrainRecipe, dataset: Dataset, field: str
) -> TrainRecipe:
    """The recipe of one architecture: the arm's own, or with the network that a budget chose for it."""
    if arm.settings is not None or not arm.sources:
        return arm.settings or recipe
    source = arm.sources[position]
    if "budget" not in source.get("network", {}):
        return recipe
    return trainings.of_source(source, recipe, dataset, field)
