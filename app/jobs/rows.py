"""The rows of jobs: made, read, and changed only while a condition holds, so that of two who try one wins."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import CursorResult, update
from sqlalchemy.orm import Session

from app import logs, owners
from app.database import new_id, now
from app.jobs.tables import FINAL, Job, JobEvent, JobKind, JobStatus
from app.problems import NotFound

PREFIX = "job"


def create(
    session: Session,
    kind: JobKind,
    params: dict[str, Any],
    links: dict[str, str],
    parent_id: str | None = None,
    *,
    seconds: float,
    warnings: Sequence[str] = (),
) -> Job:
    """A new queued job, not yet committed and not yet sent.

    Jobs are run in the order in which they would be over if each had started when it was made: a short one
    goes before a long one, unless that has waited for long. Parts of one job count one after the other, so
    that many of them do not hold up what others start.

    Args:
        session: in which the resource that it makes is written too.
        kind: which file of the worker runs it.
        params: what that file reads.
        links: to the resources that it makes.
        parent_id: the job that it is a part of.
        seconds: that it is expected to take, roughly.
        warnings: sentences for whoever started it.
    """
    moment = now()
    due_at, owner = moment + timedelta(seconds=seconds), owners.caller()
    if parent_id is not None:
        parent = get(session, parent_id)
        due_at = max(moment, parent.due_at) + timedelta(seconds=seconds)
        owner = parent.owner
        change(session, parent_id, due_at=due_at)
    job = Job(
        id=new_id(PREFIX),
        kind=kind,
        parent_id=parent_id,
        owner=owner,
        status=JobStatus.QUEUED,
        params=params,
        links=links,
        warnings=list(warnings) or None,
        created_at=moment,
        due_at=due_at,
        request_id=logs.request_id(),
        queued_at=moment,
        progress=0.0,
        step="waiting for a worker",
        attempt=0,
        losses=0,
        cancel_requested=False,
        event_count=0,
    )
    session.add(job)
    session.flush()
    add_event(session, job.id, "queued", {})
    return job


def get(session: Session, job_id: str) -> Job:
    """A job by id.

    Raises:
        NotFound: there is none.
    """
    job = session.get(Job, job_id, populate_existing=True)
    if job is None:
        raise NotFound(f"there is no job {job_id!r}")
    return job


def add_event(session: Session, job_id: str, type: str, data: Mapping[str, Any]) -> None:
    """Adds an event with the job's next number."""
    # the update locks the row, so that two writers cannot take one number
    counted = update(Job).where(Job.id == job_id).values(event_count=Job.event_count + 1)
    number = session.execute(counted.returning(Job.event_count)).scalar_one()
    told = False if type in FINAL else None  # webhooks are told of ends
    session.add(JobEvent(job_id=job_id, number=number, at=now(), type=type, data=dict(data), told=told))


def change(session: Session, job_id: str, *conditions: Any, **values: Any) -> bool:
    """Changes a job if the conditions hold; whether they did."""
    outcome = session.execute(
        update(Job)
        .where(Job.id == job_id, *conditions)
        .values(**values)
        .execution_options(synchronize_session=False)
    )
    assert isinstance(outcome, CursorResult)
    return outcome.rowcount == 1


def final(status: JobStatus) -> dict[str, Any]:
    """The values of a job that has ended so."""
    step = "done" if status is JobStatus.SUCCEEDED else status.value
    return {
        "status": status,
        "step": step,
        "finished_at": now(),
        "eta_at": None,
        "lease_token": None,
        "lease_expires_at": None,
    }


def queued() -> dict[str, Any]:
    """The values of a job that waits for a worker."""
    return {
        "status": JobStatus.QUEUED,
        "step": "waiting for a worker",
        "queued_at": now(),
        "eta_at": None,
        "lease_token": None,
        "lease_expires_at": None,
    }
