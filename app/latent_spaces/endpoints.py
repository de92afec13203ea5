"""`/v1/latent-spaces`."""

from typing import Annotated, Literal

from fastapi import APIRouter, Query, Response

from app import naming
from app.dependencies import ArtifactsIn, Reading, SettingsIn, Writing
from app.drawing import MEDIA_TYPES, RESPONSES
from app.genotypes import service as genotypes
from app.jobs.schemas import JobOut
from app.jobs.starter import StarterIn
from app.latent_spaces import figures, opened, service
from app.latent_spaces import map as pictures
from app.latent_spaces.schemas import (
    EncodeIn,
    LatentsOut,
    LatentSpaceFull,
    LatentSpaceIn,
    LatentSpaceOut,
    MapOut,
    MeaningOut,
)
from app.latent_spaces.tables import LatentSpace
from app.naming import Share, TagFilter
from app.pages import Cursor, Limit, Page, paginate
from app.routes import Route

router = APIRouter(prefix="/v1/latent-spaces", tags=["latent spaces"], route_class=Route)


@router.post("", status_code=202)
def create_latent_space(
    session: Writing, body: LatentSpaceIn, settings: SettingsIn, starter: StarterIn
) -> JobOut:
    """Trains a VGAE on chosen genotypes: a job, linked to its latent space."""
    return starter.start(session, [service.start(session, body, settings)])[0]


@router.get("")
def list_latent_spaces(
    session: Reading, tag: TagFilter = None, cursor: Cursor = None, limit: Limit = 50
) -> Page[LatentSpaceOut]:
    """Latent spaces, newest first."""
    rows, following = paginate(session, service.listing(tag), None, LatentSpace.id, cursor, limit)
    return Page(items=[service.shown(session, row) for row in rows], next_cursor=following)


@router.get("/{latent_space_id}")
def get_latent_space(session: Reading, latent_space_id: str) -> LatentSpaceFull:
    """One latent space with its losses, its quality figures and its members."""
    row = service.get(session, latent_space_id)
    members = opened.member_ids(session, row)
    return LatentSpaceFull(**service.shown(session, row).model_dump(), genotype_ids=members)


@router.patch("/{latent_space_id}")
def relabel_latent_space(session: Writing, latent_space_id: str, body: Share) -> LatentSpaceOut:
    """Changes name, note and tags, or shares it with its members."""
    row = service.get(session, latent_space_id)
    if body.shared:
        genotypes.share(session, opened.member_ids(session, row))
    naming.relabel(session, row, body)
    return service.shown(session, row)


@router.delete("/{latent_space_id}", status_code=204)
def delete_latent_space(session: Writing, latent_space_id: str, artifacts: ArtifactsIn) -> None:
    """Removes a trained latent space that nothing was made from, with its job."""
    service.delete(session, latent_space_id, artifacts)


@router.post("/{latent_space_id}/encode")
def encode(session: Reading, latent_space_id: str, body: EncodeIn, artifacts: ArtifactsIn) -> LatentsOut:
    """The latents of more genotypes, without training."""
    return LatentsOut(items=service.encode_genotypes(session, latent_space_id, body, artifacts))


@router.get(
    "/{latent_space_id}/graphs.pt",
    response_class=Response,
    responses={200: {"content": {"application/octet-stream": {}}}},
)
def get_graphs(session: Reading, latent_space_id: str, artifacts: ArtifactsIn) -> Response:
    """The members as graphs for PyG, with their latents.

    `graphs = torch.load(file, weights_only=True)["graphs"]`, then `Data(**graph)` each: `x` are the kinds of
    nodes, `edge_attr` the operations, `mu` the latents of the nodes.
    """
    content = service.graph_file(session, latent_space_id, artifacts)
    return Response(content, media_type="application/octet-stream")


@router.get("/{latent_space_id}/meaning")
def get_meaning(session: Reading, latent_space_id: str, artifacts: ArtifactsIn) -> MeaningOut:
    """Correlations of the principal directions with parameters, depth, operation counts and accuracy."""
    return figures.meaning(session, latent_space_id, artifacts)


@router.get(
    "/{latent_space_id}/map",
    response_model=MapOut,
    responses=RESPONSES,
)
def get_map(
    session: Reading,
    latent_space_id: str,
    artifacts: ArtifactsIn,
    method: Literal["pca", "tsne"] = "pca",
    format: Literal["json", "svg", "png"] = "json",
    generated: Annotated[bool, Query(description="With what was generated from the space.")] = False,
    colour: Annotated[
        Literal["dataset", "origin", "accuracy", "parameters", "operation"],
        Query(description="What colours show."),
    ] = "dataset",
    dataset_id: Annotated[
        str | None,
        Query(description="On which accuracies are; by default that on which most points have one."),
    ] = None,
    operation: Annotated[str, Query(description="Whose share `colour=operation` shows.")] = "skip_connect",
    seed: Annotated[int, Query(ge=0, le=2**31 - 1, description="Of t-SNE.")] = 2024,
) -> Response:
    """The latents in two dimensions, as JSON or as a picture."""
    view = figures.View(method, generated, seed, dataset_id)
    if format == "json":
        content = figures.space_map_json(session, latent_space_id, artifacts, view)
        return Response(content, media_type="application/json")
    space_map = figures.space_map(session, latent_space_id, artifacts, view)
    title = pictures.title_of(service.get(session, latent_space_id), space_map)
    picture = pictures.draw(space_map, title, format, pictures.shades_of(space_map, colour, operation))
    return Response(picture, media_type=MEDIA_TYPES[format])
