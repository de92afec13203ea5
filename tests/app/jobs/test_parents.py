"""Jobs that are carried by their parts: a state machine against what its parts are."""

import threading
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from app.database import Database
from app.jobs import parents, queries
from app.jobs import service as jobs
from app.jobs.tables import FINAL, Job, JobKind
from app.problems import Conflict, JobFailed

STEPS = st.lists(
    st.tuples(
        st.sampled_from(
            ["claim", "succeed", "fail", "put_back", "cancel", "retry", "cancel_all", "retry_all"]
        ),
        st.integers(0, 2),
    ),
    max_size=25,
)


def family(database: Database, parts: int = 3) -> tuple[str, list[str]]:
    with database.session() as session:
        parent = parents.create_parent(session, "experiment", {}, {})
        ids = [jobs.create(session, "train", {}, {}, parent.id, seconds=60).id for _ in range(parts)]
        session.commit()
        return parent.id, ids


def do(database: Database, what: str, job_id: str, tokens: dict[str, str]) -> None:
    with database.session() as session:
        token = tokens.get(job_id, "none")
        if what == "claim":
            claimed = jobs.claim(session, job_id, 60)
            if claimed is not None:
                assert claimed.lease_token is not None
                tokens[job_id] = claimed.lease_token
        elif what == "succeed":
            jobs.succeed(session, job_id, token, {}, {})
            session.commit()
        elif what == "fail":
            jobs.fail(session, job_id, token, JobFailed("x"))
        elif what == "put_back":
            jobs.put_back(session, job_id, token, "x")
        else:
            try:
                jobs.cancel(session, job_id) if what == "cancel" else jobs.retry(session, job_id)
            except Conflict:
                session.rollback()


@given(STEPS)
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_parent_is_over_exactly_when_its_parts_are(sqlite_url: str, steps: list[tuple[str, int]]) -> None:
    database = Database(sqlite_url)
    parent_id, parts = family(database)
    tokens: dict[str, str] = {}
    for what, which in steps:
        if what in ("cancel_all", "retry_all"):
            do(database, what.removesuffix("_all"), parent_id, tokens)
        else:
            do(database, what, parts[which], tokens)
        with database.session(reads_only=True) as session:
            parent = jobs.get(session, parent_id)
            statuses = [jobs.get(session, part).status for part in parts]
        over = [status for status in statuses if status in FINAL]
        assert (parent.status in FINAL) == (len(over) == len(parts)), (steps, statuses, parent.status)
        assert parent.progress == pytest.approx(len(over) / len(parts))
        if parent.status == "succeeded":
            assert "succeeded" in statuses
        if parent.status in FINAL:
            assert parent.result == {status: statuses.count(status) for status in FINAL}
    database.close()


def test_a_parent_whose_parts_all_succeed_after_a_cancel_was_asked_for_has_succeeded(
    database: Database,
) -> None:
    parent_id, parts = family(database, 2)
    tokens: dict[str, str] = {}
    for part in parts:
        do(database, "claim", part, tokens)
    do(database, "cancel", parent_id, tokens)
    for part in parts:
        do(database, "succeed", part, tokens)
    with database.session() as session:
        assert jobs.get(session, parent_id).status == "succeeded"
        with pytest.raises(Conflict):  # nothing is left that a retry could run
            jobs.retry(session, parent_id)


CAMPAIGN_STEPS = st.lists(
    st.sampled_from(["claim", "succeed", "fail", "put_back", "cancel", "cancel_all", "retry_all"]),
    max_size=40,
)


@given(CAMPAIGN_STEPS, st.randoms(use_true_random=False))
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_campaign_has_one_round_at_a_time_and_is_over_when_nothing_is_left(
    sqlite_url: str, steps: list[str], chance: Any
) -> None:
    database = Database(sqlite_url)
    tokens: dict[str, str] = {}
    with database.session() as session:
        campaign = parents.create_parent(session, JobKind.CAMPAIGN, {}, {})
        parents.order_round(session, campaign)
        session.commit()
    for count, what in enumerate(steps):
        parts = parts_of(database, campaign.id)
        if what in ("cancel_all", "retry_all"):
            do(database, what.removesuffix("_all"), campaign.id, tokens)
        else:
            part = chance.choice(parts)
            if what == "succeed" and part.kind is JobKind.ROUND and chance.random() < 0.7:
                end_round(database, campaign.id, part, tokens)
            else:
                do(database, what, part.id, tokens)
        parts = parts_of(database, campaign.id)
        open_parts = [part for part in parts if part.status not in FINAL]
        with database.session(reads_only=True) as session:
            parent = jobs.get(session, campaign.id)
        assert (parent.status in FINAL) == (not open_parts), (what, parts, parent.status)
        if "retry_all" not in steps[: count + 1]:  # which takes up every round that was lost
            assert sum(part.kind is JobKind.ROUND for part in open_parts) <= 1
        if parent.status in FINAL:
            trained = [part.status for part in parts if part.kind is not JobKind.ROUND]
            assert parent.result == {status: trained.count(status) for status in FINAL}
    database.close()


def parts_of(database: Database, parent_id: str) -> list[Job]:
    with database.session(reads_only=True) as session:
        return list(session.scalars(select(Job).where(Job.parent_id == parent_id).order_by(Job.id)))


def end_round(database: Database, parent_id: str, part: Job, tokens: dict[str, str]) -> None:
    """Ends a round that adds a training, as the worker does."""
    with database.session() as session:
        token = tokens.get(part.id, "none")
        if jobs.hold(session, part.id, token):
            parents.lock(session, parent_id)
            if not jobs.get(session, parent_id).cancel_requested:
                jobs.create(session, JobKind.TRAIN, {}, {}, parent_id, seconds=60)
            jobs.succeed(session, part.id, token, {}, {})
            session.commit()


def test_parts_that_end_at_once_end_their_parent(database: Database) -> None:
    parent_id, parts = family(database, 8)
    tokens: dict[str, str] = {}
    for part in parts:
        do(database, "claim", part, tokens)
    threads = [threading.Thread(target=do, args=(database, "succeed", part, tokens)) for part in parts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with database.session(reads_only=True) as session:
        parent = jobs.get(session, parent_id)
        events: Any = queries.events(session, parent_id, 0, 100)
    assert (parent.status, parent.result) == ("succeeded", {"succeeded": 8, "failed": 0, "cancelled": 0})
    assert [event.type for event in events].count("succeeded") == 1
