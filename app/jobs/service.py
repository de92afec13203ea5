"""Every change of a job's state. Each is one conditional update, so that of two who try one wins.

queued -> running -> succeeded | failed | cancelled
running -> queued             put back: its worker stopped, or its lease ran out
queued -> cancelled
failed | cancelled -> queued  retry

A job can be the parent of others. No worker runs it: it is running while one of its parts is not over,
and whatever ends a part brings it up to date.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

from sqlalchemy import CursorResult, func, select, update
from sqlalchemy.orm import Session

from app.database import new_id, now
from app.jobs.tables import FINAL, Job, JobEvent, JobKind, JobStatus
from app.problems import Conflict, JobFailed, NotFound, Problem

PREFIX = "job"


@dataclass(frozen=True)
class Ordered:
    """The job that makes what a request asks for; a new one was made for it and is to be sent."""

    job: Job
    is_new: bool


def create(
    session: Session,
    kind: JobKind,
    params: dict[str, Any],
    links: dict[str, str],
    parent_id: str | None = None,
) -> Job:
    """A new queued job, not yet committed and not yet sent.

    Args:
        session: in which the resource that it makes is written too.
        kind: which file of the worker runs it.
        params: what that file reads.
        links: to the resources that it makes.
        parent_id: the job that it is a part of.
    """
    moment = now()
    job = Job(
        id=new_id(PREFIX),
        kind=kind,
        parent_id=parent_id,
        status=JobStatus.QUEUED,
        params=params,
        links=links,
        created_at=moment,
        queued_at=moment,
        progress=0.0,
        step="waiting for a worker",
        attempt=0,
        cancel_requested=False,
        event_count=0,
    )
    session.add(job)
    session.flush()
    add_event(session, job.id, "queued", {})
    return job


def create_parent(session: Session, kind: JobKind, params: dict[str, Any], links: dict[str, str]) -> Job:
    """A new job that is carried by its parts, not yet committed; the parts are made with `parent_id`."""
    job = create(session, kind, params, links)
    _change(session, job.id, status=JobStatus.RUNNING, step="its parts wait for a worker", started_at=now())
    return get(session, job.id)


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
    session.add(JobEvent(job_id=job_id, number=number, at=now(), type=type, data=dict(data)))


def claim(session: Session, job_id: str, lease_seconds: float) -> Job | None:
    """Takes a queued job with a new lease token; `None` if someone else has it or it is over."""
    moment = now()
    taken = _change(
        session,
        job_id,
        Job.status == JobStatus.QUEUED,
        status=JobStatus.RUNNING,
        step="starting",
        attempt=Job.attempt + 1,
        lease_token=uuid4().hex,
        lease_expires_at=moment + timedelta(seconds=lease_seconds),
        started_at=moment,
    )
    if not taken:
        session.rollback()
        return None
    job = get(session, job_id)
    add_event(session, job_id, "started", {"attempt": job.attempt})
    session.commit()
    return job


def heartbeat(
    session: Session,
    job_id: str,
    token: str,
    lease_seconds: float,
    *,
    progress: float,
    step: str,
    eta_at: datetime | None,
) -> bool | None:
    """Extends a lease and writes how far the job is.

    Returns:
        whether a cancel is requested, or `None` if the lease is no longer ours.
    """
    query = (
        update(Job)
        .where(Job.id == job_id, *_held(token))
        .values(
            lease_expires_at=now() + timedelta(seconds=lease_seconds),
            progress=min(max(progress, 0.0), 1.0),
            step=step,
            eta_at=eta_at,
        )
        .returning(Job.cancel_requested)
    )
    requested = session.execute(query).scalar_one_or_none()
    session.commit()
    return requested


def report(
    session: Session,
    job_id: str,
    token: str,
    *,
    progress: float,
    step: str,
    eta_at: datetime | None = None,
    event: tuple[str, Mapping[str, Any]] | None = None,
    checkpoint_key: str | None = None,
) -> bool:
    """Writes how far a running job is; whether the lease was still ours."""
    values: dict[str, Any] = {"progress": min(max(progress, 0.0), 1.0), "step": step, "eta_at": eta_at}
    if checkpoint_key is not None:
        values["checkpoint_key"] = checkpoint_key
    held = _change(session, job_id, *_held(token), **values)
    if held and event is not None:
        add_event(session, job_id, *event)
    session.commit()
    return held


def hold(session: Session, job_id: str, token: str) -> bool:
    """Whether the lease is ours, with the row locked until the transaction ends."""
    return _change(session, job_id, *_held(token), step="saving")


def succeed(session: Session, job_id: str, token: str, result: dict[str, Any], links: dict[str, str]) -> bool:
    """Ends a job well, in the transaction that wrote what it made; whether the lease was still ours."""
    job = get(session, job_id)
    done = _change(
        session,
        job_id,
        *_held(token),
        **_final(JobStatus.SUCCEEDED),
        progress=1.0,
        result=result,
        links={**job.links, **links},
    )
    if done:
        add_event(session, job_id, "succeeded", {})
        _bring_parent_up_to_date(session, job_id)
    return done


def fail(session: Session, job_id: str, token: str, problem: Problem) -> bool:
    """Ends a job with an error; whether the lease was still ours."""
    error = problem.body().model_dump()
    done = _change(session, job_id, *_held(token), **_final(JobStatus.FAILED), error=error)
    if done:
        add_event(session, job_id, "failed", error)
        _bring_parent_up_to_date(session, job_id)
    session.commit()
    return done


def finish_cancel(session: Session, job_id: str, token: str) -> bool:
    """Ends a running job whose cancel was requested; whether the lease was still ours."""
    done = _change(session, job_id, *_held(token), **_final(JobStatus.CANCELLED))
    if done:
        add_event(session, job_id, "cancelled", {})
        _bring_parent_up_to_date(session, job_id)
    session.commit()
    return done


def put_back(session: Session, job_id: str, token: str, reason: str) -> bool:
    """Gives a running job back to the queue, to go on from its checkpoint.

    One whose cancel is requested is over instead; either way, whether the lease was still ours.
    """
    if _change(session, job_id, *_held(token), Job.cancel_requested, **_final(JobStatus.CANCELLED)):
        add_event(session, job_id, "cancelled", {})
        _bring_parent_up_to_date(session, job_id)
        session.commit()
        return True
    back = _change(session, job_id, *_held(token), **_queued(), attempt=Job.attempt - 1)
    if back:
        add_event(session, job_id, "put_back", {"reason": reason})
    session.commit()
    return back


def cancel(session: Session, job_id: str) -> Job:
    """Cancels a queued job at once, or asks a running one to stop at its next step; with all its parts.

    Raises:
        NotFound: there is no such job.
        Conflict: the job is over.
    """
    if _change(session, job_id, Job.status == JobStatus.QUEUED, **_final(JobStatus.CANCELLED)):
        add_event(session, job_id, "cancelled", {})
        _bring_parent_up_to_date(session, job_id)
    elif _change(
        session,
        job_id,
        Job.status == JobStatus.RUNNING,
        Job.cancel_requested.is_(False),
        cancel_requested=True,
    ):
        add_event(session, job_id, "cancel_requested", {})
    else:
        job = get(session, job_id)
        if job.status.is_final and job.status is not JobStatus.CANCELLED:
            raise Conflict(f"job {job_id} has {job.status}; only a queued or running job can be cancelled")
    session.commit()
    # one after the other, each committed: whoever ends a part locks it first and its parent then
    for part in parts(session, job_id, (JobStatus.QUEUED, JobStatus.RUNNING)):
        with suppress(Conflict):  # it has ended meanwhile
            cancel(session, part)
    return get(session, job_id)


def parts(session: Session, job_id: str, statuses: Sequence[JobStatus]) -> list[str]:
    """The ids of a job's parts with some statuses, oldest first."""
    query = select(Job.id).where(Job.parent_id == job_id, Job.status.in_(statuses))
    return list(session.scalars(query.order_by(Job.id)))


def retry(session: Session, job_id: str) -> list[Job]:
    """Queues a failed or cancelled job again; it goes on from its last checkpoint.

    Of a job with parts, those that failed or were cancelled are queued.

    Returns:
        what is queued now, and not yet sent.

    Raises:
        NotFound: there is no such job.
        Conflict: the job is not over, or has succeeded in all its parts.
    """
    job = get(session, job_id)
    failed = parts(session, job_id, (JobStatus.FAILED, JobStatus.CANCELLED))
    if failed and job.status.is_final:
        again = [part for part_id in failed for part in retry(session, part_id)]
        _change(session, job_id, cancel_requested=False)
        session.commit()
        return again
    queued = _change(
        session,
        job_id,
        Job.status.in_((JobStatus.FAILED, JobStatus.CANCELLED)),
        **_queued(),
        attempt=0,
        error=None,
        finished_at=None,
        cancel_requested=False,
    )
    if not queued:
        raise Conflict(f"job {job_id} is {job.status}; only a failed or cancelled job can be retried")
    add_event(session, job_id, "retried", {})
    _bring_parent_up_to_date(session, job_id)
    session.commit()
    return [get(session, job_id)]


def expire(session: Session, max_attempts: int) -> list[str]:
    """Puts back the running jobs whose lease ran out, or fails those started too often already.

    Returns:
        The ids of the jobs that were put back, to be sent again.
    """
    overdue = session.execute(
        select(Job.id, Job.lease_token, Job.attempt, Job.cancel_requested).where(
            Job.status == JobStatus.RUNNING, Job.lease_expires_at < now()
        )
    ).all()
    back = []
    for job_id, token, attempt, cancel_requested in overdue:
        late = (*_held(token), Job.lease_expires_at < now())
        if cancel_requested:
            if _change(session, job_id, *late, **_final(JobStatus.CANCELLED)):
                add_event(session, job_id, "cancelled", {})
                _bring_parent_up_to_date(session, job_id)
        elif attempt >= max_attempts:
            problem = JobFailed(f"its worker was lost {attempt} times; the last one did not come back")
            error = problem.body().model_dump()
            if _change(session, job_id, *late, **_final(JobStatus.FAILED), error=error):
                add_event(session, job_id, "failed", error)
                _bring_parent_up_to_date(session, job_id)
        elif _change(session, job_id, *late, **_queued()):
            add_event(session, job_id, "put_back", {"reason": "its worker was lost"})
            back.append(job_id)
        session.commit()
    return back


def unsent(session: Session, older_than: datetime, limit: int) -> list[str]:
    """Queued jobs whose message was sent before a time and seems lost, oldest first.

    Each is marked as sent now, so that of several sweepers one sends it.
    """
    query = select(Job.id, Job.queued_at).where(Job.status == JobStatus.QUEUED, Job.queued_at < older_than)
    rows = session.execute(query.order_by(Job.queued_at).limit(limit)).all()
    ours = [
        job_id
        for job_id, sent in rows
        if _change(session, job_id, Job.status == JobStatus.QUEUED, Job.queued_at == sent, queued_at=now())
    ]
    session.commit()
    return ours


def _bring_parent_up_to_date(session: Session, job_id: str) -> None:
    """Makes a job's parent, if it has one, what its parts are, in the transaction that changed the job.

    It succeeds if any part has: a failed part is shown by the parent's result, and ends nothing.
    """
    parent_id = get(session, job_id).parent_id
    if parent_id is None:
        return
    # of two parts that end at once, the lock makes the second see the first; it lets the foreign keys of
    # both, which have locked the row already, pass
    session.execute(select(Job.id).where(Job.id == parent_id).with_for_update(key_share=True))
    parent = get(session, parent_id)
    query = select(Job.status, func.count()).where(Job.parent_id == parent_id).group_by(Job.status)
    counts = dict(session.execute(query).all())
    result = {status.value: counts.get(status, 0) for status in FINAL}
    over, total = sum(result.values()), sum(counts.values())
    values: dict[str, Any] = {"progress": over / total, "step": f"{over} of {total} parts are over"}
    if over and parent.started_at is not None:
        values["eta_at"] = now() + (now() - parent.started_at) * ((total - over) / over)
    if over < total:
        values |= {"status": JobStatus.RUNNING, "finished_at": None, "result": None, "error": None}
        _change(session, parent_id, **values)
        add_event(session, parent_id, "progress", result)
        return
    status = JobStatus.SUCCEEDED if result[JobStatus.SUCCEEDED] else JobStatus.FAILED
    if parent.cancel_requested:
        status = JobStatus.CANCELLED
    if status is JobStatus.FAILED:
        values["error"] = JobFailed(f"none of its {total} parts succeeded").body().model_dump()
    _change(session, parent_id, **{**values, **_final(status), "step": values["step"], "result": result})
    add_event(session, parent_id, status, result)


def _change(session: Session, job_id: str, *conditions: Any, **values: Any) -> bool:
    outcome = session.execute(
        update(Job)
        .where(Job.id == job_id, *conditions)
        .values(**values)
        .execution_options(synchronize_session=False)
    )
    assert isinstance(outcome, CursorResult)
    return outcome.rowcount == 1


def _held(token: str | None) -> tuple[Any, ...]:
    return Job.status == JobStatus.RUNNING, Job.lease_token == token


def _final(status: JobStatus) -> dict[str, Any]:
    step = "done" if status is JobStatus.SUCCEEDED else status.value
    return {
        "status": status,
        "step": step,
        "finished_at": now(),
        "eta_at": None,
        "lease_token": None,
        "lease_expires_at": None,
    }


def _queued() -> dict[str, Any]:
    return {
        "status": JobStatus.QUEUED,
        "step": "waiting for a worker",
        "queued_at": now(),
        "eta_at": None,
        "lease_token": None,
        "lease_expires_at": None,
    }
