"""`/v1/evaluations`."""

from fastapi import APIRouter, Response

from app.dependencies import Reading, Writing
from app.drawing import MEDIA_TYPES, RESPONSES, Form
from app.evaluations import picture, service
from app.evaluations.schemas import EvaluationFull
from app.routes import Route

router = APIRouter(prefix="/v1/evaluations", tags=["evaluations"], route_class=Route)


@router.get("/{evaluation_id}")
def get_evaluation(session: Reading, evaluation_id: str) -> EvaluationFull:
    """One result with its scores by class."""
    return EvaluationFull.model_validate(service.get(session, evaluation_id))


@router.delete("/{evaluation_id}", status_code=204)
def delete_evaluation(session: Writing, evaluation_id: str) -> None:
    """Removes a result that was reported; one that was measured here goes with its training."""
    service.delete(session, evaluation_id)


@router.get("/{evaluation_id}/confusion", response_class=Response, responses=RESPONSES)
def get_confusion(session: Reading, evaluation_id: str, format: Form = "svg") -> Response:
    """The confusion matrix as a picture; the counts stand in the evaluation itself."""
    evaluation = service.get(session, evaluation_id)
    return Response(
        picture.confusion(evaluation, service.title(session, evaluation), format),
        media_type=MEDIA_TYPES[format],
    )
