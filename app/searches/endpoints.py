"""`/v1/searches`."""

from fastapi import APIRouter

from app.dependencies import Reading, SettingsIn, Writing
from app.jobs.schemas import JobsOut
from app.jobs.starter import StarterIn
from app.pages import Cursor, Limit, Page, paginate
from app.routes import Route
from app.searches import service
from app.searches.schemas import Expand, SearchIn, SearchOut
from app.searches.tables import Search

router = APIRouter(prefix="/v1/searches", tags=["searches"], route_class=Route)


@router.post("", status_code=202)
def create_searches(session: Writing, body: SearchIn, settings: SettingsIn, starter: StarterIn) -> JobsOut:
    """Starts a search, one job for each seed. `Location` is the first job's."""
    return JobsOut(items=starter.start(session, service.start(session, body, settings)))


@router.get("")
def list_searches(
    session: Reading,
    dataset_id: str | None = None,
    expand: Expand = "",
    cursor: Cursor = None,
    limit: Limit = 50,
) -> Page[SearchOut]:
    """Searches, newest first."""
    rows, following = paginate(session, service.listing(dataset_id), None, Search.id, cursor, limit)
    return Page(items=service.shown(session, rows, expand), next_cursor=following)


@router.get("/{search_id}")
def get_search(session: Reading, search_id: str, expand: Expand = "") -> SearchOut:
    """One search, and what it found."""
    return service.shown(session, [service.get(session, search_id)], expand)[0]


@router.delete("/{search_id}", status_code=204)
def delete_search(session: Writing, search_id: str) -> None:
    """Removes a search that is over; what it found stays."""
    service.delete(session, search_id)
