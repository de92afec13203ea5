"""`/results`: what was measured, by data set, experiment and campaign."""

from typing import Any, Literal

from fastapi import APIRouter, Request
from fastapi.responses import Response
from sqlalchemy.orm import Session

from app.campaigns import report as campaign_reports
from app.campaigns import service as campaigns
from app.campaigns.tables import Campaign
from app.datasets import service as datasets
from app.datasets.tables import Dataset
from app.dependencies import Reading
from app.evaluations import service as evaluations
from app.evaluations.tables import Evaluation
from app.experiments import report as experiment_reports
from app.experiments import service as experiments
from app.experiments.tables import Experiment
from app.genotypes import ranking
from app.genotypes import service as genotypes
from app.genotypes.tables import Origin
from app.pages import paginate
from app.routes import Route
from app.web.pages import page

router = APIRouter(route_class=Route, include_in_schema=False)

SHOWN = 25
"""Rows of each list on the page of all results."""


@router.get("/results")
def show_results(request: Request, session: Reading) -> Response:
    """Data sets, experiments and campaigns, newest first."""
    return page(
        request,
        "results.html",
        datasets=_newest(session, datasets.listing(None), Dataset),
        experiments=_newest(session, experiments.listing(None), Experiment),
        campaigns=_newest(session, campaigns.listing(None), Campaign),
        names=datasets.names(session),
    )


@router.get("/datasets/{dataset_id}")
def show_dataset(
    request: Request,
    session: Reading,
    dataset_id: str,
    sort: Literal[tuple(ranking.SORTS)] = "accuracy",  # type: ignore[valid-type]
    origin: str = "",
    cursor: str | None = None,
) -> Response:
    """A data set: what was read of it, and its leaderboard."""
    dataset = datasets.get(session, dataset_id)
    chosen = origin if origin in [*Origin, "reference"] else None
    query = ranking.leaderboard(session, dataset_id, chosen, None, None)
    by, descending = ranking.SORTS[sort]
    rows, following = paginate(session, query, by, Evaluation.id, cursor, 50, descending=descending)
    return page(
        request,
        "dataset.html",
        dataset=dataset,
        rows=rows,
        following=following,
        sort=sort,
        sorts=list(ranking.SORTS),
        origin=chosen or "",
        origins=[*Origin, "reference"],
    )


@router.get("/evaluations/{evaluation_id}")
def show_evaluation(request: Request, session: Reading, evaluation_id: str) -> Response:
    """One result: scores, accuracy by class, and the confusion matrix."""
    evaluation = evaluations.get(session, evaluation_id)
    genotype = None if evaluation.genotype_id is None else genotypes.get(session, evaluation.genotype_id)
    return page(
        request,
        "evaluation.html",
        evaluation=evaluation,
        genotype=genotype,
        dataset=datasets.get(session, evaluation.dataset_id),
    )


@router.get("/experiments/{experiment_id}")
def show_experiment(request: Request, session: Reading, experiment_id: str) -> Response:
    """An experiment: its table with verdicts, and its picture."""
    experiment, job = experiments.get(session, experiment_id)
    table = experiment_reports.table(session, experiment_id)
    return page(
        request, "experiment.html", experiment=experiment, job=job, table=table, names=datasets.names(session)
    )


@router.get("/campaigns/{campaign_id}")
def show_campaign(request: Request, session: Reading, campaign_id: str) -> Response:
    """A campaign: accuracy against trainings, what was tried and why."""
    campaign, job = campaigns.get(session, campaign_id)
    table = campaign_reports.table(session, campaign_id)
    return page(request, "campaign.html", campaign=campaign, job=job, table=table)


def _newest(session: Session, query: Any, table: Any) -> list[Any]:
    rows, _ = paginate(session, query, None, table.id, None, SHOWN)
    return rows
