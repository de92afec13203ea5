"""`/v1/latent-spaces/generate` and `/v1/latent-spaces/{id}/generate`."""

from typing import Annotated

from fastapi import APIRouter, Query, Response
from pydantic_core import to_json

from app.dependencies import ArtifactsIn, DatabaseIn, SettingsIn
from app.generation import service
from app.generation.schemas import GenerateIn, GenerateOut
from app.routes import Route
from models.genotypes.search_space import DEFAULT_SPACE

router = APIRouter(prefix="/v1/latent-spaces", tags=["latent spaces"], route_class=Route)


@router.post("/generate", response_model=GenerateOut)
def generate_from_the_newest(
    database: DatabaseIn,
    body: GenerateIn,
    settings: SettingsIn,
    artifacts: ArtifactsIn,
    search_space: Annotated[str, Query(description="Of the architectures.")] = DEFAULT_SPACE,
) -> Response:
    """New architectures from the newest trained latent space, or while there is none from the ready space.

    The answer says which space it was.
    """
    answer = service.generate(database, service.Newest(search_space), body, settings, artifacts)
    return Response(to_json(answer), media_type="application/json")


@router.post("/{latent_space_id}/generate", response_model=GenerateOut)
def generate(
    database: DatabaseIn, latent_space_id: str, body: GenerateIn, settings: SettingsIn, artifacts: ArtifactsIn
) -> Response:
    """New architectures near a point, between points, at random or for a data set: at once, and stored."""
    answer = service.generate(database, latent_space_id, body, settings, artifacts)
    return Response(to_json(answer), media_type="application/json")
