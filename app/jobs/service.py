"""Every change of a job's state. Each is one conditional update, so that of two who try one wins.

queued -> running -> succeeded | failed | cancelled
running -> queued             put back: its worker stopped, or its lease ran out
queued -> cancelled
failed | cancelled -> queued  retry

A job that is carried by its parts is `parents.py`'s.
"""

import os
import socket
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from app.database import now
from app.jobs import parents
from app.jobs.rows import add_event, change, final, queued
from app.jobs.rows import create as create  # what resources call is all here
from app.jobs.rows import get as get
from app.jobs.tables import Job, JobKind, JobStatus, Message
from app.problems import Conflict, JobFailed, Problem


@dataclass(frozen=True)
class Ordered:
    """The job that makes what a request asks for; a new one was made for it and is to be sent."""

    job: Job
    is_new: bool


def first(session: Session, job_id: str, kinds: Collection[JobKind]) -> str | None:
    """The job to be run now that the message of one has come; `None` if that one is not queued.

    It is the one of some kinds that is due first. If it is another, the message has to be sent again: each
    queued job has one of its own.
    """
    waits = Job.status == JobStatus.QUEUED
    if session.scalar(select(Job.id).where(Job.id == job_id, waits)) is None:
        return None
    query = select(Job.id).where(waits, Job.kind.in_(kinds)).order_by(Job.due_at, Job.id).limit(1)
    return session.scalar(query)


def claim(session: Session, job_id: str, lease_seconds: float) -> Job | None:
    """Takes a queued job with a new lease token; `None` if someone else has it or it is over."""
    moment = now()
    taken = change(
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
    worker = f"{socket.gethostname()}, process {os.getpid()}"
    add_event(session, job_id, "started", {"attempt": job.attempt, "worker": worker})
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
        values |= {"checkpoint_key": checkpoint_key, "losses": 0}
    held = change(session, job_id, *_held(token), **values)
    if held and event is not None:
        add_event(session, job_id, *event)
    session.commit()
    return held


def hold(session: Session, job_id: str, token: str) -> bool:
    """Whether the lease is ours, with the row locked until the transaction ends."""
    return change(session, job_id, *_held(token), step="saving")


def succeed(session: Session, job_id: str, token: str, result: dict[str, Any], links: dict[str, str]) -> bool:
    """Ends a job well, in the transaction that wrote what it made; whether the lease was still ours."""
    job = get(session, job_id)
    done = change(
        session,
        job_id,
        *_held(token),
        **final(JobStatus.SUCCEEDED),
        progress=1.0,
        result=result,
        links={**job.links, **links},
    )
    if done:
        add_event(session, job_id, "succeeded", {})
        parents.bring_up_to_date(session, job_id)
    return done


def fail(session: Session, job_id: str, token: str, problem: Problem) -> bool:
    """Ends a job with an error; whether the lease was still ours."""
    error = problem.body().model_dump()
    done = change(session, job_id, *_held(token), **final(JobStatus.FAILED), error=error)
    if done:
        add_event(session, job_id, "failed", error)
        parents.bring_up_to_date(session, job_id)
    session.commit()
    return done


def finish_cancel(session: Session, job_id: str, token: str) -> bool:
    """Ends a running job whose cancel was requested; whether the lease was still ours."""
    done = change(session, job_id, *_held(token), **final(JobStatus.CANCELLED))
    if done:
        add_event(session, job_id, "cancelled", {})
        parents.bring_up_to_date(session, job_id)
    session.commit()
    return done


def put_back(session: Session, job_id: str, token: str, reason: str) -> bool:
    """Gives a running job back to the queue, to go on from its checkpoint.

    One whose cancel is requested is over instead; either way, whether the lease was still ours.
    """
    if change(session, job_id, *_held(token), Job.cancel_requested, **final(JobStatus.CANCELLED)):
        add_event(session, job_id, "cancelled", {})
        parents.bring_up_to_date(session, job_id)
        session.commit()
        return True
    back = change(session, job_id, *_held(token), **queued(), attempt=Job.attempt - 1)
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
    get(session, job_id)  # is seen
    if change(session, job_id, Job.status == JobStatus.QUEUED, **final(JobStatus.CANCELLED)):
        add_event(session, job_id, "cancelled", {})
        parents.bring_up_to_date(session, job_id)
    elif change(
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
    for part in parents.parts(session, job_id, (JobStatus.QUEUED, JobStatus.RUNNING)):
        with suppress(Conflict):  # it has ended meanwhile
            cancel(session, part)
    return get(session, job_id)


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
    failed = parents.parts(session, job_id, (JobStatus.FAILED, JobStatus.CANCELLED))
    if failed and job.status.is_final:
        change(session, job_id, cancel_requested=False)
        return [part for part_id in failed for part in retry(session, part_id)]
    if job.kind is JobKind.CAMPAIGN and job.status is JobStatus.CANCELLED:  # its parts all ended well
        return _go_on(session, job)
    again = change(
        session,
        job_id,
        Job.status.in_((JobStatus.FAILED, JobStatus.CANCELLED)),
        **queued(),
        attempt=0,
        losses=0,
        error=None,
        finished_at=None,
        cancel_requested=False,
    )
    if not again:
        raise Conflict(f"job {job_id} is {job.status}; only a failed or cancelled job can be retried")
    add_event(session, job_id, "retried", {})
    parents.bring_up_to_date(session, job_id)
    session.commit()
    return [get(session, job_id)]


def _go_on(session: Session, campaign: Job) -> list[Job]:
    """Orders the next round of a cancelled campaign."""
    parents.lock(session, campaign.id)
    ordered = parents.order_round(session, campaign)
    values = {"status": JobStatus.RUNNING, "finished_at": None, "result": None, "cancel_requested": False}
    change(session, campaign.id, **values)
    add_event(session, campaign.id, "retried", {})
    session.commit()
    return [] if ordered is None else [get(session, ordered.id)]


def expire(session: Session, max_attempts: int, moment: datetime | None = None) -> list[Message]:
    """Puts back the running jobs whose lease ran out, or fails those that lose every worker.

    Args:
        session: of its own.
        max_attempts: starts of one job without a checkpoint between them.
        moment: before which a lease has run out. Taken before the session begins, it does not count the time
            that a sweeper waits for a long transaction of another, in which no heart can beat.

    Returns:
        What has to be sent for the jobs that were put back.
    """
    moment = moment or now()
    overdue = session.execute(
        select(Job.id, Job.kind, Job.lease_token, Job.losses, Job.cancel_requested).where(
            Job.status == JobStatus.RUNNING, Job.lease_expires_at < moment
        )
    ).all()
    back = []
    for job_id, kind, token, losses, cancel_requested in overdue:
        late = (*_held(token), Job.lease_expires_at < moment)
        if cancel_requested:
            if change(session, job_id, *late, **final(JobStatus.CANCELLED)):
                add_event(session, job_id, "cancelled", {})
                parents.bring_up_to_date(session, job_id)
        elif losses + 1 >= max_attempts:
            text = f"its worker was lost {losses + 1} times in a row, before a checkpoint was written"
            problem = JobFailed(f"{text}; the job may need more memory than a worker has")
            error = problem.body().model_dump()
            if change(session, job_id, *late, **final(JobStatus.FAILED), error=error):
                add_event(session, job_id, "failed", error)
                parents.bring_up_to_date(session, job_id)
        elif change(session, job_id, *late, **queued(), losses=Job.losses + 1):
            add_event(session, job_id, "put_back", {"reason": "its worker was lost"})
            back.append(Message(job_id, kind))
        session.commit()
    return back


def unsent(session: Session, kinds: Collection[JobKind], older_than: datetime, limit: int) -> list[Message]:
    """What has to be sent again for queued jobs of some kinds, since it was sent long ago; oldest first.

    Each is marked as sent now, so that of several sweepers one sends it.
    """
    query = select(Job.id, Job.kind, Job.queued_at).where(
        Job.status == JobStatus.QUEUED, Job.kind.in_(kinds), Job.queued_at < older_than
    )
    rows = session.execute(query.order_by(Job.queued_at).limit(limit)).all()
    ours = [
        Message(job_id, kind)
        for job_id, kind, sent in rows
        if change(session, job_id, Job.status == JobStatus.QUEUED, Job.queued_at == sent, queued_at=now())
    ]
    session.commit()
    return ours


def _held(token: str | None) -> tuple[Any, ...]:
    return Job.status == JobStatus.RUNNING, Job.lease_token == token
