"""What clients read of jobs: lists, places in the queue, and events."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session

from app.database import now
from app.jobs.schemas import JobOut
from app.jobs.tables import Job, JobEvent, JobKind, JobStatus


def listing(kind: JobKind | None, status: JobStatus | None) -> Select[*tuple[Any, ...]]:
    """The jobs of a kind and status."""
    query = select(Job)
    if kind is not None:
        query = query.where(Job.kind == kind)
    if status is not None:
        query = query.where(Job.status == status)
    return query


def count_queued(session: Session) -> int:
    """The number of jobs that wait for a worker."""
    query = select(func.count()).select_from(Job).where(Job.status == JobStatus.QUEUED)
    return session.scalar(query) or 0


def shown(session: Session, jobs: Sequence[Job]) -> list[JobOut]:
    """Jobs as clients see them: how many are before a queued one, how long a running one will take."""
    waiting = [job.id for job in jobs if job.status is JobStatus.QUEUED]
    ahead: dict[str, int] = {}
    if waiting:
        place = func.row_number().over(order_by=Job.id).label("place")
        queue = select(Job.id, place).where(Job.status == JobStatus.QUEUED).subquery()
        query = select(queue.c.id, queue.c.place - 1).where(queue.c.id.in_(waiting))
        ahead = dict(session.execute(query).all())
    moment = now()
    return [
        JobOut.model_validate(
            {
                **{name: getattr(job, name, None) for name in JobOut.model_fields},
                "ahead": ahead.get(job.id),
                "eta_seconds": None
                if job.eta_at is None
                else round(max(0.0, (job.eta_at - moment).total_seconds()), 1),
            }
        )
        for job in jobs
    ]


def events(session: Session, job_id: str, after: int, limit: int) -> Sequence[JobEvent]:
    """The events of a job with a number above `after`, in order."""
    query = select(JobEvent).where(JobEvent.job_id == job_id, JobEvent.number > after)
    return session.scalars(query.order_by(JobEvent.number).limit(limit)).all()
