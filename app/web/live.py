"""The list of jobs as it changes: one look at the database a second for all who watch with the same key."""

import asyncio
from collections.abc import AsyncIterator
from contextvars import Context
from dataclasses import dataclass, field

from fastapi.sse import KEEPALIVE_COMMENT, format_sse_event
from pydantic import TypeAdapter
from sqlalchemy.exc import SQLAlchemyError
from starlette.concurrency import run_in_threadpool

from app import owners
from app.database import Database
from app.jobs import queries
from app.jobs.following import PING_SECONDS
from app.jobs.schemas import JobOut
from app.pages import paginate

POLL_SECONDS = 1.0
"""Seconds between two looks."""

SHOWN = 50
"""Jobs of the list, the newest."""

_jobs = TypeAdapter(list[JobOut])


@dataclass
class Listing:
    """The list as one key sees it.

    Args:
        watchers: streams that show it.
        sent: as it was last read; empty before the first look.
        changed: set when there is another, and then replaced.
        looking: reads the list for as long as there are watchers.
    """

    watchers: int = 0
    sent: bytes = b""
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    looking: asyncio.Task[None] | None = None


class Live:
    """All streams of lists of a process.

    Args:
        database: where the jobs are.
    """

    def __init__(self, database: Database) -> None:
        self.database = database
        self._listings: dict[str | None, Listing] = {}

    async def stream(self, caller: str | None) -> AsyncIterator[bytes]:
        """The list, and again each time it has changed, for as long as it is read.

        Args:
            caller: the key whose list it is; `None` for all jobs.
        """
        listing = self._listings.setdefault(caller, Listing())
        if listing.looking is None or listing.looking.done():
            # for all who watch, not for the one who came first
            listing.looking = asyncio.create_task(self._look(caller, listing), context=Context())
        listing.watchers += 1
        try:
            seen = b""
            while True:
                changed = listing.changed
                if listing.sent and listing.sent != seen:
                    seen = listing.sent
                    yield seen
                try:
                    async with asyncio.timeout(PING_SECONDS):
                        await changed.wait()
                except TimeoutError:
                    yield KEEPALIVE_COMMENT
        finally:
            listing.watchers -= 1

    async def _look(self, caller: str | None, listing: Listing) -> None:
        while True:
            try:
                new = await run_in_threadpool(self._read, caller)
            except SQLAlchemyError:  # the page says that the service is away; it comes back
                new = listing.sent
            if new != listing.sent:
                listing.sent = new
                woken, listing.changed = listing.changed, asyncio.Event()
                woken.set()
            await asyncio.sleep(POLL_SECONDS)
            if not listing.watchers:
                del self._listings[caller]
                return

    def _read(self, caller: str | None) -> bytes:
        with owners.acting(caller), self.database.session(reads_only=True) as session:
            rows, _ = paginate(session, queries.listing(None, None), None, queries.ID, None, SHOWN)
        data = _jobs.dump_json(queries.as_clients_see(rows)).decode()
        return bytes(format_sse_event(data_str=data, event="jobs"))
