"""The order of jobs: short ones first, long ones that have waited, parts in turn with others."""

from collections.abc import Iterator
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, update
from sqlalchemy.orm import Session

from app.database import Database, now
from app.jobs import parents, queries
from app.jobs import service as jobs
from app.jobs.tables import Job, JobEvent, JobKind, JobStatus

ALL = list(JobKind)


@pytest.fixture
def session(database: Database) -> Iterator[Session]:
    with database.session() as opened:
        yield opened


def made(session: Session, kind: JobKind, seconds: float, parent_id: str | None = None) -> str:
    job_id = jobs.create(session, kind, {}, {}, parent_id, seconds=seconds).id
    session.commit()
    return job_id


def drained(session: Session, kinds: list[JobKind] = ALL) -> list[str]:
    """The jobs in the order in which one worker takes them, whatever message comes."""
    order: list[str] = []
    while waiting := session.scalars(
        Job.__table__.select()
        .with_only_columns(Job.id)
        .where(Job.status == JobStatus.QUEUED, Job.kind.in_(kinds))
    ).all():
        due = jobs.first(session, waiting[-1], kinds)
        assert due is not None
        assert jobs.claim(session, due, 30) is not None
        order.append(due)
    return order


def test_a_short_job_goes_before_a_long_one_that_came_first(session: Session) -> None:
    fit = made(session, JobKind.FIT, 3_600)
    search = made(session, JobKind.SEARCH, 60)
    export = made(session, JobKind.EXPORT, 20)
    assert drained(session) == [export, search, fit]


def test_a_long_job_that_has_waited_for_long_goes_before_a_short_one(session: Session) -> None:
    fit = made(session, JobKind.FIT, 3_600)
    hour = timedelta(hours=1)
    session.execute(update(Job).values(due_at=now() + timedelta(hours=1) - hour))
    session.commit()
    export = made(session, JobKind.EXPORT, 20)
    assert drained(session) == [fit, export]


def test_many_parts_of_one_job_do_not_hold_up_what_others_start(session: Session) -> None:
    parent = parents.create_parent(session, JobKind.EXPERIMENT, {}, {})
    parts = [made(session, JobKind.TRAIN, 60, parent.id) for _ in range(5)]
    other = made(session, JobKind.TRAIN, 90)
    assert drained(session) == [parts[0], other, *parts[1:]]


def test_a_worker_takes_its_kinds_alone_and_ignores_what_is_not_queued(session: Session) -> None:
    search = made(session, JobKind.SEARCH, 60)
    export = made(session, JobKind.EXPORT, 20)
    assert jobs.first(session, search, [JobKind.SEARCH, JobKind.FIT]) == search
    assert jobs.first(session, search, ALL) == export
    assert jobs.claim(session, search, 30) is not None
    assert jobs.first(session, search, ALL) is None
    assert jobs.first(session, "job_x", ALL) is None
    assert drained(session, [JobKind.FIT]) == []


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=20)
@given(lengths=st.lists(st.integers(0, 5), min_size=1, max_size=8))
def test_a_job_tells_how_many_are_before_it(session: Session, lengths: list[int]) -> None:
    session.execute(delete(JobEvent))
    session.execute(delete(Job))
    session.commit()
    for length in lengths:
        made(session, JobKind.TRAIN, 1_000 * length)
    rows = session.execute(queries.listing(None, None)).all()
    listed = {job.id: job.queue_position for job in queries.as_clients_see(rows)}
    alone = {job_id: queries.get(session, job_id).queue_position for job_id in listed}
    order = drained(session)
    assert listed == alone == {job_id: place for place, job_id in enumerate(order)}
    assert all(job.queue_position is None for job in queries.shown(session, order))
