"""The list of jobs as it changes: one look for all who watch, and each key sees its own."""

import asyncio
import json
import time
from typing import Any

import pytest
from sqlalchemy import delete, event

from app.database import Database
from app.jobs import service
from app.jobs.tables import Job, JobEvent, JobKind
from app.owners import acting
from app.web import live
from app.web.live import Live


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looks often."""
    monkeypatch.setattr(live, "POLL_SECONDS", 0.02)


def create(database: Database, owner: str | None = None) -> str:
    """A queued job of a key."""
    with acting(owner), database.session() as session:
        job = service.create(session, JobKind.TRAIN, {}, {}, seconds=60)
        session.commit()
        return job.id


def shown(sent: bytes) -> list[tuple[str, str]]:
    """The jobs of an event, with their statuses."""
    (data,) = [
        line.removeprefix("data: ") for line in sent.decode().splitlines() if line.startswith("data: ")
    ]
    return [(job["id"], job["status"]) for job in json.loads(data)]


def test_all_watchers_see_each_change_and_share_one_look(sqlite_url: str) -> None:
    database = Database(sqlite_url)
    looks: list[str] = []
    first = create(database)

    @event.listens_for(database.reading, "before_cursor_execute")
    def count(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        looks.append(statement)

    async def looked(streams: int) -> float:
        """Statements a second of so many streams that see a new job come and go."""
        lists = Live(database)
        opened = [lists.stream(None) for _ in range(streams)]
        before = [shown(await anext(one)) for one in opened]
        assert before == [[(first, "queued")]] * streams
        second = await asyncio.to_thread(create, database)
        assert [shown(await anext(one)) for one in opened] == [[(second, "queued"), *before[0]]] * streams
        looks.clear()
        began = time.monotonic()
        await asyncio.sleep(0.5)
        taken = len(looks) / (time.monotonic() - began)
        with database.session() as session:
            session.execute(delete(JobEvent).where(JobEvent.job_id == second))
            session.execute(delete(Job).where(Job.id == second))
            session.commit()
        assert [shown(await anext(one)) for one in opened] == before
        for one in opened:
            await one.aclose()
        await asyncio.sleep(0.3)
        assert not lists._listings  # nobody watches, nobody looks
        return taken

    alone, many = asyncio.run(looked(1)), asyncio.run(looked(50))
    assert 0 < many < 3 * alone
    database.close()


def test_a_key_sees_its_own_jobs_alone(sqlite_url: str) -> None:
    database = Database(sqlite_url)
    mine, shared = create(database, "key_mine"), create(database)
    create(database, "key_other")

    async def seen(caller: str | None) -> set[str]:
        stream = Live(database).stream(caller)
        jobs = {job for job, _ in shown(await anext(stream))}
        await stream.aclose()
        return jobs

    assert asyncio.run(seen("key_mine")) == {mine, shared}
    assert len(asyncio.run(seen(None))) == 3
    database.close()
