"""`/v1/experiments`."""

from typing import Literal

from fastapi import APIRouter, Response

from app.dependencies import ArtifactsIn, DatabaseIn, Reading, SettingsIn, Writing
from app.drawing import MEDIA_TYPES, RESPONSES, Form
from app.experiments import report, service
from app.experiments.schemas import ExperimentIn, ExperimentOut, TableOut
from app.experiments.tables import Experiment
from app.jobs.schemas import JobOut
from app.jobs.starter import StarterIn
from app.jobs.tables import Job
from app.naming import Share, TagFilter
from app.pages import Cursor, Limit, Page, paginate
from app.routes import Route
from app.trainings import service as trainings

router = APIRouter(prefix="/v1/experiments", tags=["experiments"], route_class=Route)


@router.post("", status_code=202)
def create_experiment(
    database: DatabaseIn,
    body: ExperimentIn,
    settings: SettingsIn,
    artifacts: ArtifactsIn,
    starter: StarterIn,
) -> JobOut:
    """Generates every arm, and starts one training job for each architecture, seed and data set.

    The answer is the experiment's job: it is over when they are, and cancelling it cancels all of them.
    """
    job, parts = service.start(database, body, settings, artifacts)
    starter.send(parts)
    with database.session(reads_only=True) as session:
        return starter.accept(session, [job])[0]


@router.get("")
def list_experiments(
    session: Reading, tag: TagFilter = None, cursor: Cursor = None, limit: Limit = 50
) -> Page[ExperimentOut]:
    """Experiments, newest first."""
    rows, following = paginate(session, service.listing(tag), None, Experiment.id, cursor, limit)
    return Page(items=[_shown(experiment, job) for experiment, job in rows], next_cursor=following)


@router.get("/{experiment_id}")
def get_experiment(session: Reading, experiment_id: str) -> ExperimentOut:
    """One experiment: its arms and what they came to."""
    return _shown(*service.get(session, experiment_id))


@router.patch("/{experiment_id}")
def relabel_experiment(session: Writing, experiment_id: str, body: Share) -> ExperimentOut:
    """Changes name, note and tags, or shares it, once it is over, with its trainings."""
    trainings.relabel(session, *service.get(session, experiment_id), body)
    return _shown(*service.get(session, experiment_id))


@router.delete("/{experiment_id}", status_code=204)
def delete_experiment(session: Writing, experiment_id: str) -> None:
    """Removes an experiment that is over; its trainings stay, each on its own."""
    service.delete(session, experiment_id)


@router.get(
    "/{experiment_id}/table",
    response_model=TableOut,
    responses={200: {"content": {"text/markdown": {}, "text/csv": {}}}},
)
def get_experiment_table(
    session: Reading, experiment_id: str, format: Literal["json", "markdown", "csv"] = "json"
) -> TableOut | Response:
    """The paper's table, so far as trainings are over; with two data sets also their trade-off."""
    table = report.table(session, experiment_id)
    if format == "json":
        return table
    if format == "csv":
        return Response(report.comma_separated(table), media_type="text/csv")
    return Response(report.markdown(table), media_type="text/markdown")


@router.get("/{experiment_id}/picture", response_class=Response, responses=RESPONSES)
def get_experiment_picture(session: Reading, experiment_id: str, format: Form = "svg") -> Response:
    """Accuracies by arm, or with two data sets the accuracy on one against that on the other."""
    return Response(report.picture(session, experiment_id, format), media_type=MEDIA_TYPES[format])


def _shown(experiment: Experiment, job: Job) -> ExperimentOut:
    fields = {name: getattr(experiment, name, None) for name in ExperimentOut.model_fields}
    return ExperimentOut.model_validate({**fields, "status": job.status, "progress": job.progress})
