"""Live streams of jobs' events: one look at the database for all streams of a process."""

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from contextvars import Context
from dataclasses import dataclass, field

from fastapi.sse import KEEPALIVE_COMMENT, format_sse_event
from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError
from starlette.concurrency import run_in_threadpool

from app.database import Database
from app.jobs import queries, service
from app.jobs.schemas import EventOut
from app.jobs.tables import Job

logger = logging.getLogger(__name__)

POLL_SECONDS = 0.5
"""Seconds between two looks for new events."""

PING_SECONDS = 15.0
"""Seconds after which a silent stream says that it lives."""

PAGE = 500
"""Events that are read at once."""


@dataclass
class Feed:
    """The events of one job since its first stream began.

    Args:
        first: the number of events before.
        events: those since, as they are sent.
        over: whether the job is over, and all of its events are here.
        streams: that follow it.
        changed: set when there is more, and then replaced.
    """

    first: int
    events: list[bytes] = field(default_factory=list)
    over: bool = False
    streams: int = 0
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def count(self) -> int:
        """The number of the last event that is known."""
        return self.first + len(self.events)

    def add(self, events: Sequence[bytes], over: bool) -> None:
        """Takes what is new, and wakes the streams."""
        self.events += events
        self.over = over
        woken, self.changed = self.changed, asyncio.Event()
        woken.set()


class Following:
    """All streams of a process, fed by one task that looks for as long as there are any.

    Args:
        database: where the events are.
    """

    def __init__(self, database: Database) -> None:
        self.database = database
        self._feeds: dict[str, Feed] = {}
        self._looking: asyncio.Task[None] | None = None

    async def stream(self, job_id: str, after: int) -> AsyncIterator[bytes]:
        """A job's events with a number above `after` as they come, until it is over."""
        async with self._followed(job_id) as feed:
            while after < feed.first:
                read = await run_in_threadpool(self._read, job_id, after, min(PAGE, feed.first - after))
                if not read:
                    return  # the job was deleted meanwhile
                for event in read:
                    yield event
                after += len(read)
            while True:
                changed, over = feed.changed, feed.over
                new = feed.events[after - feed.first :]
                for event in new:
                    yield event
                after += len(new)
                if over:
                    return
                try:
                    async with asyncio.timeout(PING_SECONDS):
                        await changed.wait()
                except TimeoutError:
                    yield KEEPALIVE_COMMENT

    async def until_over(self, job_id: str, seconds: float) -> None:
        """Waits until a job is over, or for so long.

        Raises:
            NotFound: there is no such job.
        """
        async with self._followed(job_id) as feed:
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    while not feed.over:
                        await feed.changed.wait()

    @asynccontextmanager
    async def _followed(self, job_id: str) -> AsyncIterator[Feed]:
        """The feed of a job, for as long as the context lasts."""
        feed = self._feeds.get(job_id)
        if feed is None:
            first = await run_in_threadpool(self._count, job_id)
            feed = self._feeds.setdefault(job_id, Feed(first))
        feed.streams += 1
        if self._looking is None or self._looking.done():
            # for all who follow, not for the one who came first
            self._looking = asyncio.create_task(self._look_while_followed(), context=Context())
        try:
            yield feed
        finally:
            feed.streams -= 1
            if not feed.streams and self._feeds.get(job_id) is feed:
                del self._feeds[job_id]

    async def _look_while_followed(self) -> None:
        while self._feeds:
            feeds = dict(self._feeds)
            try:
                news = await run_in_threadpool(self._news, {key: feed.count for key, feed in feeds.items()})
            except SQLAlchemyError as error:  # the streams outlive it
                logger.warning("events could not be read (%s)", error)
                news = {}
            for job_id, (events, over) in news.items():
                feeds[job_id].add(events, over)
                if over:  # a retry is another feed
                    self._feeds.pop(job_id, None)
            await asyncio.sleep(POLL_SECONDS)

    def _news(self, counts: dict[str, int]) -> dict[str, tuple[list[bytes], bool]]:
        """What is new of followed jobs, by job, as far as anything is: events, and whether it is over."""
        query = select(Job.id, Job.status, Job.event_count).where(Job.id.in_(counts))
        with self.database.session(reads_only=True) as session:
            found = session.execute(query).all()
        news = {}
        for job_id, status, count in found:
            if count > counts[job_id] or status.is_final:
                events = self._read(job_id, counts[job_id], PAGE)
                news[job_id] = events, status.is_final and counts[job_id] + len(events) >= count
        for job_id in counts.keys() - {row[0] for row in found}:  # deleted meanwhile
            news[job_id] = [], True
        return news

    def _count(self, job_id: str) -> int:
        with self.database.session(reads_only=True) as session:
            return service.get(session, job_id).event_count

    def _read(self, job_id: str, after: int, limit: int) -> list[bytes]:
        with self.database.session(reads_only=True) as session:
            rows = queries.events(session, job_id, after, limit)
            return [_sent(EventOut.model_validate(row)) for row in rows]


def _sent(event: EventOut) -> bytes:
    return format_sse_event(data_str=event.model_dump_json(), event=event.type, id=str(event.number))
