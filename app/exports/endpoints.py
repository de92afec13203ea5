"""`/v1/genotypes/{id}/cells.svg`, `/module.py` and `/model.onnx`, and `/v1/trainings/{id}/model.zip`."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Response
from sqlalchemy.orm import Session

from app.dependencies import ArtifactsIn, Reading, Writing
from app.exports import service
from app.exports.schemas import ExportIn
from app.jobs.schemas import JobOut
from app.jobs.service import Ordered
from app.jobs.starter import Starter, StarterIn
from app.routes import Route

router = APIRouter(prefix="/v1", tags=["genotypes"], route_class=Route)


def _file(media_type: str) -> dict[str, Any]:
    """The OpenAPI entry of an endpoint that answers with a file."""
    return {"response_class": Response, "responses": {200: {"content": {media_type: {}}}}}


def _made_once(media_type: str) -> dict[str, Any]:
    """The OpenAPI entry of an endpoint whose file a job makes, once."""
    waits = {"model": JobOut, "description": "The job that makes the file; ask again when it is over."}
    return {"response_model": None, "responses": {200: {"content": {media_type: {}}}, 202: waits}}


@router.get("/genotypes/{genotype_id}/cells.svg", **_file("image/svg+xml"))
def get_cells(
    session: Reading,
    genotype_id: str,
    beside: Annotated[
        str | None, Query(description="A genotype; edges that it does not have are marked.")
    ] = None,
) -> Response:
    """Both cells as a picture."""
    return Response(service.picture(session, genotype_id, beside), media_type="image/svg+xml")


@router.get("/searches/{search_id}/cells.svg", tags=["searches"], **_file("image/svg+xml"))
def get_searched_cells(session: Reading, search_id: str) -> Response:
    """The cells that a search would choose by its last epoch so far."""
    return Response(service.searched_picture(session, search_id), media_type="image/svg+xml")


@router.get("/genotypes/{genotype_id}/module.py", **_file("text/x-python"))
def get_module(session: Reading, genotype_id: str, shape: Annotated[ExportIn, Query()]) -> Response:
    """The network as a Python file that imports PyTorch alone; a training's has classes and normalisation."""
    return Response(service.module(session, genotype_id, shape), media_type="text/x-python")


@router.get("/genotypes/{genotype_id}/model.onnx", **_made_once("application/octet-stream"))
def get_onnx(
    session: Writing,
    genotype_id: str,
    shape: Annotated[ExportIn, Query()],
    artifacts: ArtifactsIn,
    starter: StarterIn,
) -> Any:
    """The network as ONNX for any batch.

    That of a training takes `images` as they are, uint8, and has the classes in its metadata; without a
    training it has fresh weights and takes `normalised_images`.
    """
    made = service.onnx(session, genotype_id, shape, artifacts)
    return _answer(session, made, starter, "application/octet-stream", {})


@router.get("/trainings/{training_id}/model.zip", tags=["trainings"], **_made_once("application/zip"))
def get_bundle(session: Writing, training_id: str, artifacts: ArtifactsIn, starter: StarterIn) -> Any:
    """The trained network for someone who has only this: ONNX, module, weights, card and `predict.py`."""
    made = service.bundle(session, training_id, artifacts)
    headers = {"content-disposition": f'attachment; filename="{training_id}.zip"'}
    return _answer(session, made, starter, "application/zip", headers)


def _answer(
    session: Session,
    made: bytes | Ordered,
    starter: Starter,
    media_type: str,
    headers: dict[str, str],
) -> Response | JobOut:
    """The file, or a 202 with the job that makes it."""
    if isinstance(made, bytes):
        return Response(made, media_type=media_type, headers=headers)
    return starter.defer(session, made)
