"""What clients read of jobs: lists, places in the queue, and events."""

from collections.abc import Sequence
from functools import cache
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, bindparam, case, func, null, or_, select
from sqlalchemy.orm import Session

from app import owners
from app.database import now
from app.jobs.schemas import JobOut
from app.jobs.tables import Job, JobEvent, JobKind, JobStatus
from app.problems import NotFound, ProblemBody

_NAMES = [
    name for name in JobOut.model_fields if name not in ("queue_position", "eta_seconds", "estimated_seconds")
]


_jobs = Job.__table__
"""Polled more often than anything else, so that neither rows nor queries are made into objects each time."""


ID = _jobs.c.id

LAST = 20
"""Jobs by which the pace of a kind is told."""


def _query(queue_position: ColumnElement[Any]) -> Select[*tuple[Any, ...]]:
    """Jobs with what clients see of them: parameters, which can be long, are not read."""
    return select(
        *(_jobs.c[name] for name in _NAMES),
        _jobs.c.eta_at,
        _jobs.c.due_at,
        queue_position.label("queue_position"),
    )


def listing(kind: JobKind | None, status: JobStatus | None) -> Select[*tuple[Any, ...]]:
    """The jobs of a kind and status that the caller sees, for `as_clients_see`."""
    key_id, query = owners.caller(), _listing(kind, status)
    return query if key_id is None else query.where(owners.is_seen(_jobs.c.owner, key_id))


@cache
def _listing(kind: JobKind | None, status: JobStatus | None) -> Select[*tuple[Any, ...]]:
    if status in (None, JobStatus.QUEUED):
        place = func.row_number().over(order_by=(_jobs.c.due_at, _jobs.c.id)) - 1
        waiting = _jobs.c.status == JobStatus.QUEUED
        places = select(_jobs.c.id, place.label("place")).where(waiting).subquery()
        query = _query(places.c.place).outerjoin_from(_jobs, places, places.c.id == _jobs.c.id)
    else:
        query = _query(null())
    if kind is not None:
        query = query.where(_jobs.c.kind == kind)
    if status is not None:
        query = query.where(_jobs.c.status == status)
    return query


def count_open(session: Session) -> dict[tuple[JobKind, JobStatus], int]:
    """The numbers of jobs that wait or run, by kind and status; zeros too."""
    open_statuses = (JobStatus.QUEUED, JobStatus.RUNNING)
    query = select(Job.kind, Job.status, func.count()).where(Job.status.in_(open_statuses))
    rows = session.execute(query.group_by(Job.kind, Job.status))
    found = {(kind, status): count for kind, status, count in rows}
    return {(kind, status): found.get((kind, status), 0) for kind in JobKind for status in open_statuses}


def get(session: Session, job_id: str) -> JobOut:
    """A job by id, as clients see it.

    Raises:
        NotFound: there is none.
    """
    found = shown(session, [job_id])
    if not found:
        raise NotFound(f"there is no job {job_id!r}")
    return found[0]


def shown(session: Session, job_ids: Sequence[str]) -> list[JobOut]:
    """Jobs by id as clients see them, in the order of the ids."""
    key_id, query = session.info.get(owners.SEES), _by_id()
    if key_id is not None:
        query = query.where(owners.is_seen(_jobs.c.owner, key_id))
    rows = session.execute(query, {"job_ids": job_ids}).all()
    by_id = {job.id: job for job in as_clients_see(rows)}
    return [by_id[job_id] for job_id in job_ids if job_id in by_id]


@cache
def _by_id() -> Select[*tuple[Any, ...]]:
    """The jobs of the parameter `job_ids`, each with the number of those that are due before it."""
    other = _jobs.alias()
    sooner = or_(
        other.c.due_at < _jobs.c.due_at,
        and_(other.c.due_at == _jobs.c.due_at, other.c.id < _jobs.c.id),
    )
    counted = select(func.count()).where(other.c.status == JobStatus.QUEUED, sooner).correlate(_jobs)
    queue_position = case((_jobs.c.status == JobStatus.QUEUED, counted.scalar_subquery()))
    return _query(queue_position).where(_jobs.c.id.in_(bindparam("job_ids", expanding=True)))


def as_clients_see(rows: Sequence[Any]) -> list[JobOut]:
    """Rows of jobs, with how long those that run will take."""
    # what the database holds was valid when it was written: looking again takes most of a list's time
    return [JobOut.model_construct(**job) for job in values(rows)]


def values(rows: Sequence[Any]) -> list[dict[str, Any]]:
    """The fields of `JobOut` for each row, which become JSON in less time than objects with the same."""
    moment = now()
    told = []
    for *columns, eta_at, due_at, queue_position in rows:
        job = dict(zip(_NAMES, columns, strict=True))
        job["warnings"] = job["warnings"] or []
        job["estimated_seconds"] = round((due_at - job["created_at"]).total_seconds(), 1)
        eta = None if eta_at is None else round(max(0.0, (eta_at - moment).total_seconds()), 1)
        job |= {"queue_position": queue_position, "eta_seconds": eta}
        error = job["error"]
        job["error"] = None if error is None else ProblemBody.model_validate(error)
        told.append(job)
    return told


def pace(session: Session, kind: JobKind) -> float | None:
    """How many times as long as expected the last jobs of a kind took; `None` where none has ended well.

    Only jobs that ran through at the first attempt and are no part of another count.
    """
    query = (
        select(_jobs.c.finished_at, _jobs.c.started_at, _jobs.c.due_at, _jobs.c.created_at)
        .where(_jobs.c.kind == kind, _jobs.c.status == JobStatus.SUCCEEDED)
        .where(_jobs.c.attempt == 1, _jobs.c.parent_id.is_(None), _jobs.c.due_at > _jobs.c.created_at)
        .order_by(_jobs.c.id.desc())
        .limit(LAST)
    )
    rows = session.execute(query).all()
    if not rows:
        return None
    taken = sum((row.finished_at - row.started_at).total_seconds() for row in rows)
    expected = sum((row.due_at - row.created_at).total_seconds() for row in rows)
    return float(taken / expected)


def events(session: Session, job_id: str, after: int, limit: int) -> Sequence[JobEvent]:
    """The events of a job with a number above `after`, in order."""
    query = select(JobEvent).where(JobEvent.job_id == job_id, JobEvent.number > after)
    return session.scalars(query.order_by(JobEvent.number).limit(limit)).all()
