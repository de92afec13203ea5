"""Live streams: every one has all events in order, and all together cost one look at the database."""

import asyncio
import re
from typing import Any

import pytest
from fastapi.sse import KEEPALIVE_COMMENT
from sqlalchemy import event
from sqlalchemy.orm import Session

from app.database import Database
from app.jobs import following, service
from app.jobs.following import Following
from app.jobs.tables import JobKind


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looks often."""
    monkeypatch.setattr(following, "POLL_SECONDS", 0.02)


@pytest.fixture
def job_id(database: Database) -> str:
    """A queued job."""
    with database.session() as session:
        job = service.create(session, JobKind.TRAIN, {}, {}, seconds=60)
        session.commit()
        return job.id


def change(database: Database, what: Any, *arguments: Any) -> None:
    """Changes a job in a transaction of its own."""
    with database.session() as session:
        what(session, *arguments)
        session.commit()


async def read(streams: Following, job_id: str, after: int) -> list[int]:
    """The numbers of a stream's events, to its end."""
    text = b"".join([event async for event in streams.stream(job_id, after)]).decode()
    return [int(number) for number in re.findall(r"^id: (\d+)$", text, re.M)]


def test_all_streams_have_all_events_and_share_one_look(database: Database, job_id: str) -> None:
    statements: list[str] = []

    @event.listens_for(database.reading, "before_cursor_execute")
    def count(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        statements.append(statement)

    async def follow(number: int) -> list[list[int]]:
        streams = Following(database)
        tasks = [asyncio.create_task(read(streams, job_id, index % 3)) for index in range(number)]
        await asyncio.sleep(0.2)
        for step in range(20):
            await asyncio.to_thread(change, database, note, step)
        late = asyncio.create_task(read(streams, job_id, 1))
        await asyncio.to_thread(change, database, service.cancel, job_id)
        found = await asyncio.gather(*tasks, late)
        assert streams._feeds == {}
        return found

    def note(session: Session, step: int) -> None:
        service.add_event(session, job_id, "progress", {"step": step})

    *found, late = asyncio.run(follow(60))
    assert late == list(range(2, 23))
    for index, numbers in enumerate(found):
        assert numbers == list(range(1 + index % 3, 23))
    reads = [statement for statement in statements if "FROM job_events" in statement]
    # at most one a look that finds something, and those of streams that had to catch up
    assert len(reads) <= 22 + 60


def test_a_silent_stream_says_that_it_lives_and_is_forgotten_when_it_ends(
    database: Database, job_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "PING_SECONDS", 0.05)

    async def follow() -> None:
        streams = Following(database)
        stream = streams.stream(job_id, 1)
        assert [await anext(stream), await anext(stream)] == [KEEPALIVE_COMMENT] * 2
        await stream.aclose()  # type: ignore[attr-defined]
        assert streams._feeds == {}
        assert streams._looking is not None
        await asyncio.wait_for(streams._looking, 60)

    asyncio.run(follow())


def test_a_job_that_is_over_is_told_and_a_retried_one_goes_on(database: Database, job_id: str) -> None:
    async def follow() -> None:
        streams = Following(database)
        await asyncio.to_thread(change, database, service.cancel, job_id)
        assert await read(streams, job_id, 0) == [1, 2]
        await asyncio.to_thread(change, database, service.retry, job_id)
        task = asyncio.create_task(read(streams, job_id, 2))
        await asyncio.sleep(0.1)
        assert not task.done()
        await asyncio.to_thread(change, database, service.cancel, job_id)
        assert await task == [3, 4]

    asyncio.run(follow())
