"""`/v1/search-spaces`, `/v1/genotypes` and `/v1/datasets/{id}/leaderboard`."""

from typing import Annotated, Literal

from fastapi import APIRouter, Query

from app.dependencies import Reading, Writing
from app.evaluations import service as evaluations
from app.evaluations.schemas import EvaluationOut
from app.evaluations.tables import Evaluation
from app.genotypes import ranking, service
from app.genotypes.schemas import (
    GenotypeFull,
    GenotypeIn,
    GenotypeOut,
    GenotypesIn,
    GenotypesOut,
    LeaderboardRow,
    Members,
    SearchSpaceOut,
    SearchSpacesOut,
)
from app.genotypes.tables import Genotype, Origin
from app.naming import Share, TagFilter
from app.pages import Cursor, Limit, Page, paginate
from app.routes import Route
from models.genotypes.search_space import SEARCH_SPACES
from models.genotypes.text import to_text

router = APIRouter(prefix="/v1", tags=["genotypes"], route_class=Route)


@router.get("/search-spaces")
def list_search_spaces() -> SearchSpacesOut:
    """Operations, cell shape and sizes of every search space."""
    return SearchSpacesOut(
        items=[
            SearchSpaceOut(
                name=space.name,
                operations=list(space.operations),
                cells=list(space.cells),
                inputs=space.inputs,
                intermediates=space.intermediates,
                predecessors=space.predecessors,
                nodes=space.nodes,
                edges_per_cell=len(space.edges),
                none=space.none,
                join=space.join,
                output=space.output,
                network=space.network,
                text=space.text,
                gamma=space.gamma,
            )
            for space in SEARCH_SPACES.values()
        ]
    )


@router.post("/genotypes", status_code=201)
def create_genotype(session: Writing, body: GenotypeIn) -> GenotypeOut:
    """Registers a genotype as JSON, as text or continuous, with an optional evaluation."""
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
    name: Annotated[str | None, Query(max_length=100)] = None,
    tag: TagFilter = None,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> Page[GenotypeOut]:
    """Genotypes, newest first."""
    wanted = Members.model_construct(
        search_space=search_space,
        dataset_id=dataset_id,
        origin=origin,
        min_accuracy=min_accuracy,
        min_parameters=min_parameters,
        max_parameters=max_parameters,
        name=name,
        tag=tag,
    )
    rows, following = paginate(session, service.listing(wanted), None, Genotype.id, cursor, limit)
    return Page(items=[GenotypeOut.model_validate(row) for row in rows], next_cursor=following)


@router.get("/genotypes/{genotype_id}")
def get_genotype(session: Reading, genotype_id: str) -> GenotypeFull:
    """One genotype in full."""
    row = service.get(session, genotype_id)
    return GenotypeFull(
        **GenotypeOut.model_validate(row).model_dump(),
        text=to_text(service.discrete(row)),
        continuous=row.continuous,
        evaluations=[EvaluationOut.model_validate(e) for e in evaluations.of_genotype(session, genotype_id)],
    )


@router.patch("/genotypes/{genotype_id}")
def relabel_genotype(session: Writing, genotype_id: str, body: Share) -> GenotypeOut:
    """Changes name, note and tags."""
    row = service.relabel(session, genotype_id, body)
    return GenotypeOut.model_validate(row)


@router.delete("/genotypes/{genotype_id}", status_code=204)
def delete_genotype(session: Writing, genotype_id: str) -> None:
    """Removes a genotype that no latent space, search or training needs."""
    service.delete(session, genotype_id)


@router.get("/datasets/{dataset_id}/leaderboard", tags=["datasets"])
def get_leaderboard(
    session: Reading,
    dataset_id: str,
    origin: Origin | Literal["reference"] | None = None,
    arm: str | None = None,
    recipe: str | None = None,
    sort: Annotated[
        Literal[tuple(ranking.SORTS)],  # type: ignore[valid-type]
        Query(description="Accuracies largest first, the others smallest first."),
    ] = "accuracy",
    cursor: Cursor = None,
    limit: Limit = 50,
) -> Page[LeaderboardRow]:
    """A data set's evaluations, best first, with the Pareto front of accuracy against parameters."""
    query = ranking.leaderboard(session, dataset_id, origin, arm, recipe)
    by, descending = ranking.SORTS[sort]
    rows, following = paginate(session, query, by, Evaluation.id, cursor, limit, descending=descending)
    items = [
        LeaderboardRow(
            **EvaluationOut.model_validate(evaluation).model_dump(),
            genotype_name=name,
            origin=genotype_origin or "reference",
            pareto=pareto,
        )
        for evaluation, name, genotype_origin, pareto in rows
    ]
    return Page(items=items, next_cursor=following)
