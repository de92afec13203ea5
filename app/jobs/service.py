"""Every change of a job's state. Each is one conditional update, so that of two who try one wins.

queued -> running -> succeeded | failed | cancelled
running -> queued             put back: its worker stopped, or its lease ran out
queued -> cancelled
failed | cancelled -> queued  retry

A job can be the parent of others. No worker runs it: it is running while one of its parts is not over,
and whatever ends a part brings it up to date. A campaign's parts are trainings, and rounds that choose what
is trained next: what ends a training orders a round, and the campaign is over when a round has added nothing.
"""

from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

from sqlalchemy import CursorResult, func, select, update
from sqlalchemy.orm import Session, aliased

from app import logs
from app.database import new_id, now
from app.jobs.tables import FINAL, Job, JobEvent, JobKind, JobStatus, Message
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
    *,
    seconds: float,
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
    """
    moment = now()
    due_at = moment + timedelta(seconds=seconds)
    if parent_id is not None:
        due_at = max(moment, get(session, parent_id).due_at) + timedelta(seconds=seconds)
        _change(session, parent_id, due_at=due_at)
    job = Job(
        id=new_id(PREFIX),
        kind=kind,
        parent_id=parent_id,
        status=JobStatus.QUEUED,
        params=params,
        links=links,
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


def create_parent(session: Session, kind: JobKind, params: dict[str, Any], links: dict[str, str]) -> Job:
    """A new job that is carried by its parts, not yet committed; the parts are made with `parent_id`."""
    job = create(session, kind, params, links, seconds=0)
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


def first(session: Session, job_id: str, kinds: Collection[JobKind]) -> str | None:
    """The job to be run now that the message of one has come; `None` if that one is not queued.

    It is the one of some kinds that is due first. If it is another, the message has to be sent again: each
    queued job has one of its own.
    """
    queued = Job.status == JobStatus.QUEUED
    if session.scalar(select(Job.id).where(Job.id == job_id, queued)) is None:
        return None
    query = select(Job.id).where(queued, Job.kind.in_(kinds)).order_by(Job.due_at, Job.id).limit(1)
    return session.scalar(query)


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
        values |= {"checkpoint_key": checkpoint_key, "losses": 0}
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
        _change(session, job_id, cancel_requested=False)
        return [part for part_id in failed for part in retry(session, part_id)]
    if job.kind is JobKind.CAMPAIGN and job.status is JobStatus.CANCELLED:  # its parts all ended well
        return _go_on(session, job)
    queued = _change(
        session,
        job_id,
        Job.status.in_((JobStatus.FAILED, JobStatus.CANCELLED)),
        **_queued(),
        attempt=0,
        losses=0,
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


def _go_on(session: Session, campaign: Job) -> list[Job]:
    """Orders the next round of a cancelled campaign."""
    lock(session, campaign.id)
    ordered = order_round(session, campaign)
    values = {"status": JobStatus.RUNNING, "finished_at": None, "result": None, "cancel_requested": False}
    _change(session, campaign.id, **values)
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
            if _change(session, job_id, *late, **_final(JobStatus.CANCELLED)):
                add_event(session, job_id, "cancelled", {})
                _bring_parent_up_to_date(session, job_id)
        elif losses + 1 >= max_attempts:
            text = f"its worker was lost {losses + 1} times in a row, before a checkpoint was written"
            problem = JobFailed(f"{text}; the job may need more memory than a worker has")
            error = problem.body().model_dump()
            if _change(session, job_id, *late, **_final(JobStatus.FAILED), error=error):
                add_event(session, job_id, "failed", error)
                _bring_parent_up_to_date(session, job_id)
        elif _change(session, job_id, *late, **_queued(), losses=Job.losses + 1):
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
        if _change(session, job_id, Job.status == JobStatus.QUEUED, Job.queued_at == sent, queued_at=now())
    ]
    session.commit()
    return ours


def order_round(session: Session, campaign: Job, besides: str | None = None) -> Job | None:
    """A round of a campaign, not yet committed; `None` where one waits or runs, which orders the next itself.

    Args:
        session: has locked the campaign's row, or has just made it.
        campaign: the campaign's job.
        besides: the round that orders it, which does not count.
    """
    query = select(Job.id).where(Job.parent_id == campaign.id, Job.kind == JobKind.ROUND, ~_over())
    query = query.where(Job.id != besides) if besides is not None else query
    if session.scalars(query.limit(1)).first() is not None:
        return None
    return create(session, JobKind.ROUND, campaign.params, campaign.links, campaign.id, seconds=0)


def advance(session: Session, job_id: str, progress: float) -> None:
    """Writes how far a job is that no worker runs, not yet committed."""
    _change(session, job_id, progress=progress)


def added(session: Session, job_id: str) -> list[Message]:
    """What has to be sent for the parts that the end of a campaign's part has added to it, oldest first."""
    parent = aliased(Job)
    query = select(parent.id).join(Job, Job.parent_id == parent.id)
    campaign = session.scalar(query.where(Job.id == job_id, parent.kind == JobKind.CAMPAIGN))
    queued = select(Job.id, Job.kind).where(Job.parent_id == campaign, Job.status == JobStatus.QUEUED)
    return [Message(*row) for row in session.execute(queued.order_by(Job.id))] if campaign else []


def lock(session: Session, job_id: str) -> None:
    """Holds a parent's row until the transaction ends.

    Of two parts that end at once the second then sees the first. The lock lets the foreign keys of both pass,
    which have locked the row already.
    """
    session.execute(select(Job.id).where(Job.id == job_id).with_for_update(key_share=True))


def _bring_parent_up_to_date(session: Session, job_id: str) -> None:
    """Makes a job's parent, if it has one, what its parts are, in the transaction that changed the job.

    It succeeds if any part has: a failed part is shown by the parent's result, and ends nothing.
    """
    job = get(session, job_id)
    if job.parent_id is None:
        return
    lock(session, job.parent_id)
    parent = get(session, job.parent_id)
    ended = job.kind is not JobKind.ROUND and job.status.is_final
    if parent.kind is JobKind.CAMPAIGN and ended and not parent.cancel_requested:
        order_round(session, parent)
    query = select(Job.status, func.count()).where(Job.parent_id == parent.id, Job.kind != JobKind.ROUND)
    counts = dict(session.execute(query.group_by(Job.status)).all())
    result = {status.value: counts.get(status, 0) for status in FINAL}
    over, total = sum(result.values()), sum(counts.values())
    values: dict[str, Any] = {"step": f"{over} of {total} parts are over"}
    if parent.kind is not JobKind.CAMPAIGN:  # of which nobody knows how many parts it will have
        values["progress"] = over / total
        if over and parent.started_at is not None:
            values["eta_at"] = now() + (now() - parent.started_at) * ((total - over) / over)
    waiting = select(Job.id).where(Job.parent_id == parent.id, ~_over())
    if session.scalars(waiting.limit(1)).first() is not None:
        values |= {"status": JobStatus.RUNNING, "finished_at": None, "result": None, "error": None}
        _change(session, parent.id, **values)
        add_event(session, parent.id, "progress", result)
        return
    status, error = _outcome(session, parent, result)
    values |= {**_final(status), "step": values["step"], "result": result, "error": error}
    _change(session, parent.id, **values)
    add_event(session, parent.id, status, result)


def _outcome(
    session: Session, parent: Job, result: Mapping[str, int]
) -> tuple[JobStatus, dict[str, Any] | None]:
    """What a parent ends with whose parts are all over, with its error if it fails."""
    if parent.cancel_requested and (parent.kind is JobKind.CAMPAIGN or result[JobStatus.CANCELLED]):
        return JobStatus.CANCELLED, None
    ours = select(Job).where(Job.parent_id == parent.id).limit(1)
    last = session.scalars(ours.where(Job.kind == JobKind.ROUND).order_by(Job.id.desc())).first()
    if last is not None and last.status is not JobStatus.SUCCEEDED:
        return last.status, last.error
    if result[JobStatus.SUCCEEDED]:
        return JobStatus.SUCCEEDED, None
    first = session.scalars(ours.where(Job.status == JobStatus.FAILED).order_by(Job.id)).first()
    text = f"none of its {sum(result.values())} parts succeeded"
    if first is not None and first.error is not None:
        text += f"; the first: {first.error['detail']}"
    return JobStatus.FAILED, JobFailed(text).body().model_dump()


def _over() -> Any:
    return Job.status.in_(FINAL)


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
