"""`/v1/evaluations`."""

from typing import Literal

from fastapi import APIRouter, Response

from app.dependencies import Reading
from app.evaluations import picture, service
from app.evaluations.schemas import EvaluationFull
from app.routes import Route

router = APIRouter(prefix="/v1/evaluations", tags=["evaluations"], route_class=Route)

PICTURES = {"svg": "image/svg+xml", "png": "image/png"}


@router.get("/{evaluation_id}")
def get_evaluation(session: Reading, evaluation_id: str) -> EvaluationFull:
    """One result with its scores by class."""
    return EvaluationFull.model_validate(service.get(session, evaluation_id))


@router.get(
    "/{evaluation_id}/confusion",
    response_class=Response,
    responses={200: {"content": {media_type: {} for media_type in PICTURES.values()}}},
)
def get_confusion(session: Reading, evaluation_id: str, format: Literal["svg", "png"] = "svg") -> Response:
    """The confusion matrix as a picture; the counts stand in the evaluation itself."""
    evaluation = service.get(session, evaluation_id)
    return Response(picture.confusion(evaluation, format), media_type=PICTURES[format])
