"""`/v1/search-spaces` and `/v1/genotypes`."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel

from app.dependencies import ArtifactsIn, Reading, Writing
from app.genotypes import exports, service
from app.genotypes.schemas import (
    EvaluationOut,
    ExportIn,
    GenotypeFull,
    GenotypeIn,
    GenotypeOut,
    GenotypesIn,
    GenotypesOut,
    Origin,
)
from app.genotypes.tables import Genotype
from app.pages import Cursor, Limit, Page, paginate
from models.search_space import CELLS, SEARCH_SPACES

router = APIRouter(prefix="/v1", tags=["genotypes"])


def _file(media_type: str) -> dict[str, Any]:
    """How an endpoint that answers with a file is documented."""
    return {"response_class": Response, "responses": {200: {"content": {media_type: {}}}}}


class SearchSpaceOut(BaseModel):
    """The operations and cell shape that genotypes are drawn from."""

    name: str
    operations: list[str]
    cells: list[str]
    inputs: int
    intermediates: int
    predecessors: int
    nodes: int
    edges_per_cell: int


class SearchSpacesOut(BaseModel):
    """All search spaces."""

    items: list[SearchSpaceOut]


@router.get("/search-spaces")
def list_search_spaces() -> SearchSpacesOut:
    """Operations, cell shape and sizes of every search space."""
    return SearchSpacesOut(
        items=[
            SearchSpaceOut(
                name=space.name,
                operations=list(space.operations),
                cells=list(CELLS),
                inputs=space.inputs,
                intermediates=space.intermediates,
                predecessors=space.predecessors,
                nodes=space.nodes,
                edges_per_cell=len(space.edges),
            )
            for space in SEARCH_SPACES.values()
        ]
    )


@router.post("/genotypes", status_code=201)
def create_genotype(session: Writing, body: GenotypeIn) -> GenotypeOut:
    """Registers a genotype: DARTS JSON, DARTS text or continuous, with an optional evaluation."""
    return GenotypeOut.model_validate(service.register(session, [body], batch=False)[0])


@router.post("/genotypes/batch", status_code=201)
def create_genotypes(session: Writing, body: GenotypesIn) -> GenotypesOut:
    """Registers many genotypes, all or none."""
    rows = service.register(session, body.items, batch=True)
    return GenotypesOut(items=[GenotypeOut.model_validate(row) for row in rows])


@router.post("/genotypes/published", status_code=201)
def create_published_genotypes(session: Writing) -> GenotypesOut:
    """Registers the published genotypes with their reported results; safe to repeat."""
    rows = service.register_published(session)
    return GenotypesOut(items=[GenotypeOut.model_validate(row) for row in rows])


@router.get("/genotypes")
def list_genotypes(
    session: Reading,
    search_space: str | None = None,
    dataset_id: Annotated[str | None, Query(description="Searched or evaluated on it.")] = None,
    origin: Origin | None = None,
    min_accuracy: Annotated[float | None, Query(ge=0, le=100, description="Percent.")] = None,
    min_parameters: Annotated[int | None, Query(ge=0, le=2**62)] = None,
    max_parameters: Annotated[int | None, Query(ge=0, le=2**62)] = None,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> Page[GenotypeOut]:
    """Genotypes, newest first."""
    query = service.listing(search_space, dataset_id, origin, min_accuracy, min_parameters, max_parameters)
    rows, following = paginate(session, query, None, Genotype.id, cursor, limit)
    return Page(items=[GenotypeOut.model_validate(row) for row in rows], next_cursor=following)


@router.get("/genotypes/{genotype_id}")
def get_genotype(session: Reading, genotype_id: str) -> GenotypeFull:
    """One genotype in full."""
    row = service.get(session, genotype_id)
    return GenotypeFull(
        **GenotypeOut.model_validate(row).model_dump(),
        text=service.discrete(row).text(),
        continuous=row.continuous,
        evaluations=[EvaluationOut.model_validate(e) for e in service.evaluations(session, genotype_id)],
    )


@router.get("/genotypes/{genotype_id}/cells.svg", **_file("image/svg+xml"))
def get_picture(session: Reading, genotype_id: str) -> Response:
    """Both cells as a picture."""
    return Response(exports.picture(session, genotype_id), media_type="image/svg+xml")


@router.get("/genotypes/{genotype_id}/module.py", **_file("text/x-python"))
def get_module(session: Reading, genotype_id: str, shape: Annotated[ExportIn, Query()]) -> Response:
    """The network as a standalone Python file that imports PyTorch alone."""
    return Response(exports.module(session, genotype_id, shape), media_type="text/x-python")


@router.get("/genotypes/{genotype_id}/model.onnx", **_file("application/octet-stream"))
def get_onnx(
    session: Reading, genotype_id: str, shape: Annotated[ExportIn, Query()], artifacts: ArtifactsIn
) -> Response:
    """The network as ONNX: `images` to `logits`, for any batch."""
    content = exports.onnx(session, genotype_id, shape, artifacts)
    return Response(content, media_type="application/octet-stream")


@router.delete("/genotypes/{genotype_id}", status_code=204)
def delete_genotype(session: Writing, genotype_id: str) -> None:
    """Removes a genotype that no latent space, search or training needs."""
    service.delete(session, genotype_id)
