"""`/v1/genotypes/{id}/cells.svg`, `/module.py` and `/model.onnx`, and `/v1/trainings/{id}/model.zip`."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Response

from app.dependencies import ArtifactsIn, Reading
from app.exports import service
from app.exports.schemas import ExportIn

router = APIRouter(prefix="/v1", tags=["genotypes"])


def _file(media_type: str) -> dict[str, Any]:
    """The OpenAPI entry of an endpoint that answers with a file."""
    return {"response_class": Response, "responses": {200: {"content": {media_type: {}}}}}


@router.get("/genotypes/{genotype_id}/cells.svg", **_file("image/svg+xml"))
def get_picture(session: Reading, genotype_id: str) -> Response:
    """Both cells as a picture."""
    return Response(service.picture(session, genotype_id), media_type="image/svg+xml")


@router.get("/genotypes/{genotype_id}/module.py", **_file("text/x-python"))
def get_module(session: Reading, genotype_id: str, shape: Annotated[ExportIn, Query()]) -> Response:
    """The network as a Python file that imports PyTorch alone; a training's has classes and normalisation."""
    return Response(service.module(session, genotype_id, shape), media_type="text/x-python")


@router.get("/genotypes/{genotype_id}/model.onnx", **_file("application/octet-stream"))
def get_onnx(
    session: Reading, genotype_id: str, shape: Annotated[ExportIn, Query()], artifacts: ArtifactsIn
) -> Response:
    """The network as ONNX for any batch.

    That of a training takes `images` as they are, uint8, and has the classes in its metadata; without a
    training it has fresh weights and takes `normalised_images`.
    """
    content = service.onnx(session, genotype_id, shape, artifacts)
    return Response(content, media_type="application/octet-stream")


@router.get("/trainings/{training_id}/model.zip", tags=["trainings"], **_file("application/zip"))
def get_bundle(session: Reading, training_id: str, artifacts: ArtifactsIn) -> Response:
    """The trained network for someone who has only this: ONNX, module, weights, card and `predict.py`."""
    content = service.bundle(session, training_id, artifacts)
    headers = {"content-disposition": f'attachment; filename="{training_id}.zip"'}
    return Response(content, media_type="application/zip", headers=headers)
