"""`/v1/jobs`: poll, list, cancel, retry, and follow events."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.sse import EventSourceResponse
from pydantic_core import to_json
from starlette.concurrency import run_in_threadpool

from app.database import Database
from app.dependencies import DatabaseIn, Reading, Writing
from app.jobs import parents, queries, service
from app.jobs.following import Following
from app.jobs.schemas import EventOut, EventsOut, JobOut
from app.jobs.starter import StarterIn
from app.jobs.tables import JobKind, JobStatus
from app.pages import Cursor, Limit, Page, paginate
from app.problems import InvalidRequest
from app.routes import Route

ASKED_OFTEN, SELDOM_SECONDS = 0.1, 30.0
"""The share of what is left after which a job is worth asking for again, and the longest that one waits."""

router = APIRouter(prefix="/v1/jobs", tags=["jobs"], route_class=Route)


@router.get("", response_model=Page[JobOut])
def list_jobs(
    session: Reading,
    kind: JobKind | None = None,
    status: JobStatus | None = None,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> Response:
    """Jobs, newest first."""
    rows, following = paginate(session, queries.listing(kind, status), None, queries.ID, cursor, limit)
    answer = {"items": queries.values(rows), "next_cursor": following}
    return Response(to_json(answer), media_type="application/json")


async def _waited(
    request: Request,
    job_id: str,
    wait: Annotated[float, Query(ge=0, le=60, description="Seconds to wait for its end first.")] = 0.0,
) -> None:
    if wait:
        following: Following = request.app.state.following
        await following.until_over(job_id, wait)


@router.get("/{job_id}", dependencies=[Depends(_waited)])
def get_job(session: Reading, job_id: str, response: Response) -> JobOut:
    """One job. While it is not over, `Retry-After` says when to ask again."""
    job = queries.get(session, job_id)
    if not job.status.is_final:
        left = 0.0 if job.eta_seconds is None else job.eta_seconds * ASKED_OFTEN
        response.headers["Retry-After"] = str(round(min(max(left, 1.0), SELDOM_SECONDS)))
    return job


@router.post("/{job_id}/cancel")
def cancel_job(session: Writing, job_id: str) -> JobOut:
    """Cancels a queued job at once; a running one stops at its next step. With all its parts."""
    return queries.shown(session, [service.cancel(session, job_id).id])[0]


@router.post("/{job_id}/retry", status_code=202)
def retry_job(session: Writing, job_id: str, starter: StarterIn) -> JobOut:
    """Queues a failed or cancelled job again, or such parts of one; it goes on from its last checkpoint."""
    starter.send(service.retry(session, job_id))
    return starter.accept(session, [service.get(session, job_id)])[0]


@router.delete("/{job_id}", status_code=204)
def delete_job(session: Writing, job_id: str) -> None:
    """Removes a job that is over and that nothing refers to, with its events."""
    parents.remove(session, job_id)
    session.commit()


@router.get(
    "/{job_id}/events",
    response_model=EventsOut,
    responses={200: {"content": {"text/event-stream": {}}}},
)
async def list_events(
    request: Request,
    database: DatabaseIn,
    job_id: str,
    cursor: Annotated[str | None, Query(description="The number of the last event seen.")] = None,
    limit: Limit = 100,
) -> EventsOut | EventSourceResponse:
    """A job's events in order: a page, or live with `Accept: text/event-stream` until it is over.

    A live stream starts after `cursor` or the `Last-Event-ID` header.
    """
    after = _number(cursor or request.headers.get("last-event-id"))
    rows = await run_in_threadpool(_read, database, job_id, after, limit + 1)
    if "text/event-stream" in request.headers.get("accept", ""):
        following: Following = request.app.state.following
        return EventSourceResponse(following.stream(job_id, after))
    cursor_of_next = str(rows[limit - 1].number) if len(rows) > limit else None
    return EventsOut(items=rows[:limit], next_cursor=cursor_of_next)


def _read(database: Database, job_id: str, after: int, limit: int) -> list[EventOut]:
    with database.session(reads_only=True) as session:
        service.get(session, job_id)
        return [EventOut.model_validate(row) for row in queries.events(session, job_id, after, limit)]


def _number(cursor: str | None) -> int:
    if cursor is None:
        return 0
    if not cursor.isdecimal() or len(cursor) > 12:
        raise InvalidRequest.of("cursor", "must be the number of an event")
    return int(cursor)
