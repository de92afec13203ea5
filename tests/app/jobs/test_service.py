"""The job state machine: whatever happens in whatever order, one worker has a job at a time."""

import shutil
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import update
from sqlalchemy.orm import Session

from app.database import Database, now
from app.jobs import queries
from app.jobs import service as jobs
from app.jobs.tables import FINAL, Job, JobKind, Message
from app.problems import Conflict, JobFailed, NotFound


@pytest.fixture
def session(database: Database) -> Iterator[Session]:
    with database.session() as opened:
        yield opened


def queued(session: Session) -> str:
    job = jobs.create(session, "search", {"n": 1}, {}, seconds=60)
    session.commit()
    return job.id


def claimed(session: Session) -> tuple[str, str]:
    job_id = queued(session)
    job = jobs.claim(session, job_id, 30)
    assert job is not None
    assert job.lease_token is not None
    return job_id, job.lease_token


def let_lease_run_out(session: Session, job_id: str) -> None:
    past = now() - timedelta(seconds=1)
    session.execute(update(Job).where(Job.id == job_id).values(lease_expires_at=past))
    session.commit()


def test_a_job_is_claimed_once(session: Session) -> None:
    job_id = queued(session)
    assert jobs.claim(session, job_id, 30) is not None
    assert jobs.claim(session, job_id, 30) is None
    assert jobs.claim(session, "job_unknown", 30) is None


def test_a_worker_that_lost_its_lease_changes_nothing(session: Session) -> None:
    job_id, old = claimed(session)
    let_lease_run_out(session, job_id)
    assert jobs.expire(session, max_attempts=5) == [Message(job_id, "search")]
    again = jobs.claim(session, job_id, 30)
    assert again is not None
    assert again.attempt == 2
    assert jobs.heartbeat(session, job_id, old, 30, progress=0.9, step="late", eta_at=None) is None
    assert not jobs.report(session, job_id, old, progress=0.9, step="late", checkpoint_key="late")
    assert not jobs.hold(session, job_id, old)
    assert not jobs.succeed(session, job_id, old, {}, {})
    assert not jobs.fail(session, job_id, old, JobFailed("late"))
    assert not jobs.put_back(session, job_id, old, "late")
    assert not jobs.finish_cancel(session, job_id, old)
    job = jobs.get(session, job_id)
    assert (job.status, job.progress, job.checkpoint_key) == ("running", 0.0, None)


def test_a_sweeper_that_waited_takes_no_lease_for_lost_that_ran_out_meanwhile(
    session: Session,
) -> None:
    before = now() - timedelta(minutes=1)  # it began to wait, and no heart could beat since
    job_id, token = claimed(session)
    let_lease_run_out(session, job_id)
    assert jobs.expire(session, 5, before) == []
    assert jobs.heartbeat(session, job_id, token, 30, progress=0.1, step="alive", eta_at=None) is False
    assert jobs.expire(session, 5, now()) == []


def test_a_job_lost_too_often_fails_and_can_be_retried(session: Session) -> None:
    job_id = queued(session)
    for _ in range(2):
        assert jobs.claim(session, job_id, 30) is not None
        let_lease_run_out(session, job_id)
        jobs.expire(session, max_attempts=2)
    job = jobs.get(session, job_id)
    assert job.status == "failed"
    assert job.error is not None
    assert "lost 2 times" in job.error["detail"]
    assert [job.status for job in jobs.retry(session, job_id)] == ["queued"]


def test_a_checkpoint_shows_that_a_job_does_not_kill_its_workers(session: Session) -> None:
    job_id = queued(session)
    for turn in range(6):
        job = jobs.claim(session, job_id, 30)
        assert job is not None
        assert job.lease_token is not None
        if turn % 2:
            jobs.report(session, job_id, job.lease_token, progress=0.1, step="on", checkpoint_key="k")
        let_lease_run_out(session, job_id)
        assert jobs.expire(session, max_attempts=3) == [Message(job_id, JobKind.SEARCH)]
    assert jobs.get(session, job_id).attempt == 6
    for _ in range(2):
        assert jobs.claim(session, job_id, 30) is not None
        let_lease_run_out(session, job_id)
        jobs.expire(session, max_attempts=3)
    assert jobs.get(session, job_id).status == "failed"


def test_a_cancelled_job_whose_worker_is_lost_does_not_come_back(session: Session) -> None:
    job_id, _ = claimed(session)
    jobs.cancel(session, job_id)
    let_lease_run_out(session, job_id)
    assert jobs.expire(session, max_attempts=5) == []
    assert jobs.get(session, job_id).status == "cancelled"


def test_cancel_and_retry_refuse_what_cannot_be(session: Session) -> None:
    job_id, token = claimed(session)
    with pytest.raises(Conflict):
        jobs.retry(session, job_id)
    assert jobs.succeed(session, job_id, token, {}, {})
    session.commit()
    for change in (jobs.cancel, jobs.retry):
        with pytest.raises(Conflict):
            change(session, job_id)
        with pytest.raises(NotFound):
            change(session, "job_unknown")


def test_a_lost_message_is_found_once(session: Session) -> None:
    job_id = queued(session)
    soon = now() + timedelta(seconds=1)
    assert jobs.unsent(session, list(JobKind), now() - timedelta(seconds=10), 20) == []
    assert jobs.unsent(session, list(JobKind), soon, 20) == [Message(job_id, "search")]
    assert jobs.unsent(session, list(JobKind), soon - timedelta(seconds=2), 20) == []


def test_events_are_numbered_without_gaps(session: Session) -> None:
    job_id, token = claimed(session)
    for epoch in range(3):
        jobs.report(session, job_id, token, progress=epoch / 3, step="", event=("progress", {"epoch": epoch}))
    assert [event.number for event in queries.events(session, job_id, 0, 100)] == [1, 2, 3, 4, 5]
    assert [event.number for event in queries.events(session, job_id, 3, 1)] == [4]


class JobMachine(RuleBasedStateMachine):
    """Two workers, a client and a sweeper act on one job in any order."""

    database: Database

    def __init__(self) -> None:
        super().__init__()
        self.tokens: list[str | None] = [None, None]
        with self.database.session() as session:
            self.job_id = queued(session)
        self.expected, self.wanted_cancel = "queued", False

    def holder(self) -> str | None:
        with self.database.session(reads_only=True) as session:
            return jobs.get(session, self.job_id).lease_token

    @rule(worker=st.integers(0, 1))
    def claim(self, worker: int) -> None:
        with self.database.session() as session:
            job = jobs.claim(session, self.job_id, 30)
        assert (job is not None) == (self.expected == "queued")
        if job is not None:
            self.tokens[worker], self.expected, self.wanted_cancel = job.lease_token, "running", False

    @rule(worker=st.integers(0, 1), how=st.sampled_from(["succeed", "fail", "put_back", "finish_cancel"]))
    def end(self, worker: int, how: str) -> None:
        token = self.tokens[worker] or "none"
        ours = self.expected == "running" and token == self.holder()
        with self.database.session() as session:
            if how == "succeed":
                done = jobs.succeed(session, self.job_id, token, {"x": 1}, {})
                session.commit()
            elif how == "fail":
                done = jobs.fail(session, self.job_id, token, JobFailed("x"))
            elif how == "put_back":
                done = jobs.put_back(session, self.job_id, token, "x")
            else:
                done = jobs.finish_cancel(session, self.job_id, token)
        assert done == ours
        if done:
            ends = {
                "succeed": "succeeded",
                "fail": "failed",
                "put_back": "queued",
                "finish_cancel": "cancelled",
            }
            self.expected = "cancelled" if how == "put_back" and self.wanted_cancel else ends[how]

    @rule(worker=st.integers(0, 1))
    def beat(self, worker: int) -> None:
        token = self.tokens[worker] or "none"
        ours = self.expected == "running" and token == self.holder()
        with self.database.session() as session:
            beat = jobs.heartbeat(session, self.job_id, token, 30, progress=0.5, step="", eta_at=None)
            assert beat == (self.wanted_cancel if ours else None)

    @rule()
    def lose_worker(self) -> None:
        with self.database.session() as session:
            let_lease_run_out(session, self.job_id)
            back = [message.job_id for message in jobs.expire(session, max_attempts=1_000)]
        if self.expected == "running":
            self.expected = "cancelled" if self.wanted_cancel else "queued"
            assert (self.job_id in back) != self.wanted_cancel
        else:
            assert self.job_id not in back

    @precondition(lambda self: self.expected not in ("succeeded", "failed"))
    @rule()
    def cancel(self) -> None:
        with self.database.session() as session:
            jobs.cancel(session, self.job_id)
        if self.expected == "queued":
            self.expected = "cancelled"
        elif self.expected == "running":
            self.wanted_cancel = True

    @precondition(lambda self: self.expected in ("failed", "cancelled"))
    @rule()
    def retry(self) -> None:
        with self.database.session() as session:
            jobs.retry(session, self.job_id)
        self.expected, self.wanted_cancel = "queued", False

    @invariant()
    def the_row_is_consistent(self) -> None:
        with self.database.session(reads_only=True) as session:
            job = jobs.get(session, self.job_id)
            numbers = [event.number for event in queries.events(session, self.job_id, 0, 1_000)]
        assert job.status == self.expected
        assert (job.lease_token is not None) == (job.status == "running")
        assert (job.finished_at is not None) == (job.status in FINAL)
        assert numbers == list(range(1, len(numbers) + 1))


def test_no_order_of_events_breaks_a_job(tmp_path: Path, sqlite_template: Path) -> None:
    path = tmp_path / "machine.db"
    shutil.copy(sqlite_template, path)
    database = Database(f"sqlite:///{path}")
    machine = type("Machine", (JobMachine,), {"database": database})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=40,
            stateful_step_count=25,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
    database.close()
