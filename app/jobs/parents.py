"""Jobs that are carried by their parts.

No worker runs such a job: it is running while one of its parts is not over, and whatever ends a part
brings it up to date in the same transaction. A campaign's parts are trainings, and rounds that choose what
is trained next: what ends a training orders a round, and the campaign is over when a round has added
nothing.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session, aliased

from app import database
from app.database import now
from app.jobs.rows import add_event, change, create, final, get
from app.jobs.tables import FINAL, Job, JobEvent, JobKind, JobStatus, Message
from app.problems import Conflict, JobFailed


def create_parent(
    session: Session,
    kind: JobKind,
    params: dict[str, Any],
    links: dict[str, str],
    warnings: Sequence[str] = (),
) -> Job:
    """A new job that is carried by its parts, not yet committed; the parts are made with `parent_id`."""
    job = create(session, kind, params, links, seconds=0, warnings=warnings)
    change(session, job.id, status=JobStatus.RUNNING, step="its parts wait for a worker", started_at=now())
    return get(session, job.id)


def parts(session: Session, job_id: str, statuses: Sequence[JobStatus]) -> list[str]:
    """The ids of a job's parts with some statuses, oldest first."""
    query = select(Job.id).where(Job.parent_id == job_id, Job.status.in_(statuses))
    return list(session.scalars(query.order_by(Job.id)))


def remove(session: Session, job_id: str) -> None:
    """Removes a job that is over, with its events and the rounds that it had, not yet committed.

    Its other parts stay, each on its own.

    Raises:
        Conflict: it is not over.
    """
    lock(session, job_id)
    job = get(session, job_id)
    if not job.status.is_final:
        raise Conflict(f"job {job_id} is {job.status.value}; cancel it first, and wait until it is")
    rounds = select(Job.id).where(Job.parent_id == job_id, Job.kind == JobKind.ROUND)
    session.execute(
        update(Job).where(Job.parent_id == job_id, Job.kind != JobKind.ROUND).values(parent_id=None)
    )
    gone = (job_id, *session.scalars(rounds))
    session.execute(delete(JobEvent).where(JobEvent.job_id.in_(gone)))
    session.execute(delete(Job).where(Job.id.in_(gone[1:])))
    database.delete(session, job)


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
    change(session, job_id, progress=progress)


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


def bring_up_to_date(session: Session, job_id: str) -> None:
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
        change(session, parent.id, **values)
        add_event(session, parent.id, "progress", result)
        return
    status, error = _outcome(session, parent, result)
    values |= {**final(status), "step": values["step"], "result": result, "error": error}
    change(session, parent.id, **values)
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
