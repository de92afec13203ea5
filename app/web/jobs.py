"""`/jobs`: what runs, and one job as it goes on."""

from fastapi import APIRouter, Request
from fastapi.responses import Response
from fastapi.sse import EventSourceResponse

from app import owners
from app.dependencies import Reading, SettingsIn
from app.jobs import queries, workers
from app.jobs.tables import JobKind, JobStatus
from app.pages import paginate
from app.routes import Route
from app.web.live import Live
from app.web.pages import page

router = APIRouter(prefix="/jobs", route_class=Route, include_in_schema=False)


@router.get("")
def show_jobs(
    request: Request,
    session: Reading,
    settings: SettingsIn,
    kind: str = "",
    status: str = "",
    cursor: str | None = None,
) -> Response:
    """Jobs, newest first, and the workers that live; the first page without a filter changes by itself."""
    of_kind = JobKind(kind) if kind in list(JobKind) else None
    of_status = JobStatus(status) if status in list(JobStatus) else None
    rows, following = paginate(session, queries.listing(of_kind, of_status), None, queries.ID, cursor, 50)
    return page(
        request,
        "jobs.html",
        items=queries.as_clients_see(rows),
        following=following,
        kind=of_kind or "",
        status=of_status or "",
        kinds=list(JobKind),
        statuses=list(JobStatus),
        live=of_kind is None and of_status is None and cursor is None,
        workers=workers.living(session, settings),
    )


@router.get("/live")
async def follow_jobs(request: Request) -> Response:
    """The first page of jobs as server-sent events, again each time it has changed."""
    live: Live = request.app.state.live
    return EventSourceResponse(live.stream(owners.caller()))


@router.get("/{job_id}")
def show_job(request: Request, session: Reading, job_id: str) -> Response:
    """One job: how far it is, its curves and its events."""
    return page(request, "job.html", job=queries.get(session, job_id))
