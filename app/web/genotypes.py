"""`/genotypes`: architectures, one of them, and two side by side."""

from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response

from app.datasets import service as datasets
from app.dependencies import Reading
from app.evaluations import service as evaluations
from app.genotypes import service
from app.genotypes.schemas import Members
from app.genotypes.tables import Genotype, Origin
from app.pages import paginate
from app.routes import Route
from app.web.pages import page
from models.genotypes.search_space import SEARCH_SPACES
from models.genotypes.text import to_text

router = APIRouter(prefix="/genotypes", route_class=Route, include_in_schema=False)


@router.get("")
def show_genotypes(
    request: Request,
    session: Reading,
    search_space: str = "",
    origin: str = "",
    dataset_id: str = "",
    name: Annotated[str, Query(max_length=100)] = "",
    cursor: str | None = None,
) -> Response:
    """Architectures, newest first; empty fields of the form filter nothing."""
    wanted = Members(
        search_space=search_space or None,
        origin=Origin(origin) if origin in list(Origin) else None,
        dataset_id=dataset_id or None,
        name=name or None,
    )
    rows, following = paginate(session, service.listing(wanted), None, Genotype.id, cursor, 48)
    return page(
        request,
        "genotypes.html",
        items=rows,
        following=following,
        asked={"search_space": search_space, "origin": origin, "dataset_id": dataset_id, "name": name},
        spaces=list(SEARCH_SPACES),
        origins=list(Origin),
        datasets=datasets.names(session).items(),
    )


@router.get("/{genotype_id}")
def show_genotype(
    request: Request, session: Reading, genotype_id: str, beside: str | None = None
) -> Response:
    """One architecture: cells, sizes, evaluations and where it came from; beside another, what differs."""
    row = service.get(session, genotype_id)
    other = service.get(session, beside, "beside") if beside else None
    return page(
        request,
        "genotype.html",
        genotype=row,
        other=other,
        text=to_text(service.discrete(row)),
        evaluations=evaluations.of_genotype(session, row.id),
        names=datasets.names(session),
    )
