"""Campaigns: started when all of the request is known to be right, and found again."""

from dataclasses import asdict
from typing import Any

import torch
from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from app import database, naming
from app.artifacts import Artifacts
from app.campaigns.schemas import BestOut, BudgetIn, CampaignIn
from app.campaigns.tables import Campaign
from app.campaigns.trials import CampaignTrial, best
from app.database import Database, new_id, now
from app.datasets import service as datasets
from app.datasets.neighbors import neighbors
from app.generation import limits, prediction
from app.generation.prediction import Known
from app.generation.schemas import RangeIn
from app.genotypes import ranking
from app.jobs import parents, workers
from app.jobs import service as jobs
from app.jobs.tables import Job, JobKind
from app.latent_spaces import service as latent_spaces
from app.latent_spaces.opened import OpenSpace, open_space
from app.overrides import choose
from app.problems import InvalidRequest, NotFound
from app.proposals import service as proposals
from app.settings import Settings
from app.trainings import service as trainings
from models.generation.generate import generate, uniform
from models.generation.halving import ETA, lengths
from models.generation.predictor import PredictorError
from models.genotypes.constraints import Constraints
from models.genotypes.search_space import DEFAULT_SPACE
from models.genotypes.size import NetworkShape
from models.trainings.retrain import RECIPES, TrainRecipe

PREFIX = "camp"

OURS, RANDOM = "ours", "random"

GOOD, TELLING = 0.95, 0.5
"""An accuracy, and its standard error in percent above which validation is said to tell little."""


def start(
    database: Database, request: CampaignIn, settings: Settings, artifacts: Artifacts
) -> tuple[Job, list[Job]]:
    """A new campaign: its job, and its first round.

    Raises:
        InvalidRequest: a field of the request is at fault, or nothing keeps to its limits.
    """
    with database.session(reads_only=True) as session:
        if request.proposal_id is not None:
            request = _of_proposal(session, request, request.proposal_id)
        choice = choose(RECIPES, request, workers.has_gpu(session, settings))
        recipe = choice.recipe
        dataset = datasets.get(session, str(request.dataset_id), "dataset_id")
        trainings.require_trainable(dataset, recipe, "dataset_id")
        space, warnings = _space(session, request, artifacts)
        shape = limits.network_shape(session, request.constraints, space.space, dataset.id, "dataset_id")
        tables = limits.device_tables(session, request.constraints, space.space, shape)
    if request.constraints is not None and request.constraints.edits != RangeIn():
        raise InvalidRequest.of("constraints.edits", "do not go with a campaign, whose starts change")
    _require_any(space, limits.constraints(request.constraints, shape, space.space, tables))
    _require_own_network(
        request, dataset.name, (dataset.channels, dataset.image_size, dataset.classes), shape
    )
    source, doubts = _source(database, space, dataset.id, request, settings, artifacts)
    epochs, shortened = _rungs(recipe, request)
    warnings += choice.warnings + doubts + shortened
    warnings += _doubts(recipe, dataset.train_count) + tables.doubts(request.constraints, space.space)
    campaign_id = new_id(PREFIX)
    links = {
        name: f"/v1/campaigns/{campaign_id}{path}"
        for name, path in (("campaign", ""), ("table", "/table"), ("picture", "/picture"))
    }
    with database.session() as session:
        job = parents.create_parent(session, JobKind.CAMPAIGN, {"campaign_id": campaign_id}, links, warnings)
        session.add(
            Campaign(
                id=campaign_id,
                job_id=job.id,
                dataset_id=dataset.id,
                proposal_id=request.proposal_id,
                latent_space_id=space.row.id,
                recipe=choice.name,
                settings=asdict(recipe),
                epochs=epochs,
                seed=request.seed,
                budget=request.budget.model_dump(exclude_none=True),
                target=request.target,
                constraints=None
                if request.constraints is None
                else request.constraints.model_dump(exclude_unset=True),
                arms=[OURS] if request.compare is None else [OURS, RANDOM],
                source=source,
                ended={},
                warnings=warnings,
                created_at=now(),
                **naming.labelled(session, Campaign, request),
            )
        )
        first = parents.order_round(session, job)
        session.commit()
    return job, [] if first is None else [first]


def get(session: Session, campaign_id: str) -> tuple[Campaign, Job]:
    """A campaign by id, with its job.

    Raises:
        NotFound: there is none.
    """
    campaign = session.get(Campaign, campaign_id, populate_existing=True)
    if campaign is None:
        raise NotFound(f"there is no campaign {campaign_id!r}")
    return campaign, jobs.get(session, campaign.job_id)


def delete(session: Session, campaign_id: str) -> None:
    """Removes a campaign that is over, with its job; its trainings stay, each on its own.

    Raises:
        NotFound: there is none.
        Conflict: it is not over.
    """
    campaign, job = get(session, campaign_id)
    database.delete(session, campaign)
    parents.remove(session, job.id)
    session.commit()


def listing(tag: str | None = None) -> Select[*tuple[Any, ...]]:
    """The query for campaigns with their jobs."""
    query = select(Campaign, Job).join(Job, Job.id == Campaign.job_id)
    return naming.tagged(query, Campaign.labels, tag)


def bests(campaign: Campaign, trials: list[CampaignTrial]) -> list[BestOut]:
    """The best whole training of each arm that has any."""
    found = [(arm, best(trials, arm)) for arm in campaign.arms]
    return [
        BestOut(
            arm=arm,
            genotype_id=trial.genotype.id,
            training_id=trial.training.id,
            evaluation_id=trial.evaluation.id,
            accuracy=trial.accuracy or 0.0,
            test_accuracy=trial.test_accuracy or 0.0,
            parameters=trial.evaluation.parameters,
        )
        for arm, trial in found
        if trial is not None and trial.evaluation is not None
    ]


def _of_proposal(session: Session, request: CampaignIn, proposal_id: str) -> CampaignIn:
    """A request with what it leaves out as in a proposal."""
    proposal = proposals.get(session, proposal_id, "proposal_id")
    if request.dataset_id not in (None, proposal.dataset_id):
        raise InvalidRequest.of("proposal_id", f"is for data set {proposal.dataset_id}; leave out dataset_id")
    of_it: dict[str, Any] = {"dataset_id": proposal.dataset_id}
    if request.latent_space_id is None:
        of_it["latent_space_id"] = proposal.latent_space_id
    if request.recipe is None:
        of_it["recipe"] = proposal.recipe
        of_it["overrides"] = proposals.overrides(proposal) | request.overrides
    if request.constraints is None and proposal.limits is not None:
        of_it["constraints"] = proposals.constraints(proposal).model_copy(update={"edits": RangeIn()})
    return request.model_copy(update=of_it)


def _space(session: Session, request: CampaignIn, artifacts: Artifacts) -> tuple[OpenSpace, list[str]]:
    """The space that architectures are decoded from, and how it was chosen if the request names none."""
    if request.latent_space_id is None:
        row, choice = latent_spaces.newest(session, DEFAULT_SPACE)
        return open_space(session, row.id, artifacts), [choice]
    try:
        return open_space(session, request.latent_space_id, artifacts), []
    except NotFound as error:
        raise InvalidRequest.of("latent_space_id", error.detail) from None


def _require_any(space: OpenSpace, constraints: Constraints | None) -> None:
    """Raises `InvalidRequest` where no architecture is found that keeps to the limits."""
    draw = uniform(space.box, torch.Generator().manual_seed(0))
    found = generate(space.net, draw, 1, space.members[:0], constraints, False)
    if not len(found.genotypes):
        raise InvalidRequest.of(
            "constraints", f"none of {found.sampled} architectures drawn at random keeps to all of them"
        )


def _require_own_network(
    request: CampaignIn, name: str, images: tuple[int, int, int], shape: NetworkShape
) -> None:
    """Raises `InvalidRequest` where a network's budget is for other images than the campaign trains on."""
    budgeted = request.constraints is not None and request.constraints.network.budgeted
    if budgeted and (shape.image_channels, shape.image_size, shape.classes) != images:
        raise InvalidRequest.of(
            "constraints.network", f"is for other images than those of {name!r}, on which it would be trained"
        )


def _source(
    database: Database,
    space: OpenSpace,
    own_id: str,
    request: CampaignIn,
    settings: Settings,
    artifacts: Artifacts,
) -> tuple[dict[str, Any] | None, list[str]]:
    """What is known elsewhere, and how it was chosen.

    Raises:
        InvalidRequest: the data set that the request names is not there, or tells no order.
    """
    if request.source_dataset_id is not None:
        with database.session(reads_only=True) as session:
            found = prediction.known_on(session, space.space, request.source_dataset_id, "source_dataset_id")
        try:
            return _frozen(found), prediction.doubts(found)
        except PredictorError as error:
            raise InvalidRequest.of("source_dataset_id", f"{found.name!r} tells no order: {error}") from None
    with database.session(reads_only=True) as session:
        points = ranking.datasets_with_points(session, space.space.name)
    candidates = [own_id] if own_id in points else []
    if set(points) - {own_id}:
        near = neighbors(database, own_id, settings, artifacts, "dataset_id", points)
        candidates += [other.dataset.id for other in near.items if other.distance is not None]
    with database.session(reads_only=True) as session:
        for dataset_id in candidates:
            found = prediction.known_on(session, space.space, dataset_id, "source_dataset_id")
            try:
                source = _frozen(found)
            except PredictorError:
                continue
            text = f"it begins with what {source['genotypes']} evaluations on {found.name!r} say"
            chosen = f"{text}, the nearest data set of which enough is known"
            return source, [chosen, *prediction.doubts(found)]
    return None, ["no data set is known well enough to begin with; give it a source_dataset_id to choose one"]


def _frozen(known: Known) -> dict[str, Any]:
    """What is known of a data set as a campaign keeps it, so that its own results do not count twice.

    Raises:
        PredictorError: too little is known to tell an order.
    """
    predictor = known.predictor
    predictor.require_order()
    agreed = predictor.agreement
    return {
        "dataset_id": known.dataset_id,
        "name": known.name,
        "genotypes": len(known.genotype_ids),
        "spearman": agreed.spearman,
        "low": agreed.low,
        "high": agreed.high,
        "genotype_ids": list(known.genotype_ids),
        "accuracies": known.accuracies.tolist(),
    }


def _doubts(recipe: TrainRecipe, train_count: int) -> list[str]:
    """Sentences on how little accuracies can tell architectures apart."""
    if recipe.validation_share == 0:
        return [
            "the recipe holds no images out for validation, so that architectures are chosen by the test "
            "split, and the accuracy of the best is flattered by that"
        ]
    held = round(recipe.validation_share * min(recipe.train_images or train_count, train_count))
    error = 100 * (GOOD * (1 - GOOD) / max(1, held)) ** 0.5
    if error <= TELLING:
        return []
    return [
        f"validation has {held} images, of which an accuracy of {GOOD:.0%} has a standard error of "
        f"{error:.1f} %; among architectures that differ by less the choice is chance"
    ]


def _rungs(recipe: TrainRecipe, request: CampaignIn) -> tuple[list[int], list[str]]:
    """The epochs of each rung, with a sentence where there are fewer rungs than the request has."""
    epochs = lengths(recipe.epochs, request.rungs)
    most = _affordable(epochs, request.budget)
    if most < request.rungs:
        kept = epochs[-most:]
        return kept, [
            f"{request.rungs} lengths of trainings, each {ETA} times the one before, do not go into "
            f"{recipe.epochs} epochs and this budget; there are {len(kept)}: {kept}"
        ]
    return epochs, []


def _affordable(epochs: list[int], budget: BudgetIn) -> int:
    """The rungs that one architecture can climb within the budget, the whole training among them."""
    if budget.trainings is None:
        return len(epochs)
    whole = budget.trainings * epochs[-1]
    return max(1, *(n for n in range(1, len(epochs) + 1) if sum(epochs[-n:]) <= whole))
