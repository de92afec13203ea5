"""`/spaces`: latent spaces, and the map of one."""

from fastapi import APIRouter, Request
from fastapi.responses import Response

from app.datasets import service as datasets
from app.dependencies import Reading
from app.genotypes import ranking
from app.latent_spaces import service
from app.latent_spaces.tables import LatentSpace
from app.pages import paginate
from app.routes import Route
from app.web.pages import page
from models.genotypes.search_space import SEARCH_SPACES

router = APIRouter(prefix="/spaces", route_class=Route, include_in_schema=False)


@router.get("")
def show_spaces(request: Request, session: Reading, cursor: str | None = None) -> Response:
    """Latent spaces, newest first."""
    rows, following = paginate(session, service.listing(None), None, LatentSpace.id, cursor, 50)
    items = [service.shown(session, row) for row in rows]
    return page(request, "spaces.html", items=items, following=following)


@router.get("/{latent_space_id}")
def show_space(
    request: Request,
    session: Reading,
    latent_space_id: str,
    method: str = "",
    colour: str = "",
    operation: str = "",
    dataset: str = "",
    generated: str = "",
    point: str = "",
) -> Response:
    """The map of a space: its points, what generates near them, and what its directions mean.

    The parameters are the view, which the page reads itself.
    """
    row = service.get(session, latent_space_id)
    names = datasets.names(session)
    points = ranking.datasets_with_points(session, row.search_space)
    return page(
        request,
        "space.html",
        space=service.shown(session, row),
        search_space=SEARCH_SPACES[row.search_space],
        datasets=sorted((names[key], key) for key in points),
    )
