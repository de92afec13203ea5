"""`/v1/trainings`."""

from fastapi import APIRouter, Response

from app.dependencies import ArtifactsIn, Reading, SettingsIn, Writing
from app.jobs.schemas import JobsOut
from app.jobs.starter import StarterIn
from app.pages import Cursor, Limit, Page, paginate
from app.routes import Route
from app.trainings import service
from app.trainings.schemas import Expand, TrainingIn, TrainingOut
from app.trainings.tables import Training

router = APIRouter(prefix="/v1", tags=["trainings"], route_class=Route)


@router.post("/trainings", status_code=202)
def create_trainings(session: Writing, body: TrainingIn, settings: SettingsIn, starter: StarterIn) -> JobsOut:
    """Retrains genotypes on a data set, one job for each genotype and seed. `Location` is the first's."""
    return JobsOut(items=starter.start(session, service.start(session, body, settings)))


@router.get("/trainings")
def list_trainings(
    session: Reading,
    dataset_id: str | None = None,
    genotype_id: str | None = None,
    experiment_id: str | None = None,
    expand: Expand = "",
    cursor: Cursor = None,
    limit: Limit = 50,
) -> Page[TrainingOut]:
    """Trainings, newest first."""
    query = service.listing(dataset_id, genotype_id, experiment_id)
    rows, following = paginate(session, query, None, Training.id, cursor, limit)
    return Page(items=service.shown(session, rows, expand), next_cursor=following)


@router.get("/trainings/{training_id}")
def get_training(session: Reading, training_id: str, expand: Expand = "") -> TrainingOut:
    """One training."""
    return service.shown(session, [service.get(session, training_id)], expand)[0]


@router.delete("/trainings/{training_id}", status_code=204)
def delete_training(session: Writing, training_id: str, artifacts: ArtifactsIn) -> None:
    """Removes a training that is over, with its evaluation and weights."""
    service.delete(session, training_id, artifacts)


@router.get(
    "/trainings/{training_id}/weights.safetensors",
    response_class=Response,
    responses={200: {"content": {"application/octet-stream": {}}}},
)
def get_weights(session: Reading, training_id: str, artifacts: ArtifactsIn) -> Response:
    """The trained network's weights, as its last epoch left them; the exported module loads them."""
    return Response(service.weights(session, training_id, artifacts), media_type="application/octet-stream")
