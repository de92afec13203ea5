"""`Idempotency-Key`: a POST that is repeated with its key is answered as it was, and done once.

A request holds its key by a lease while it is worked on, and renews it for as long as its process lives.
What a killed process had already committed is not known to the key: a retry after the lease does it again.
"""

import asyncio
import base64
import hashlib
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import datetime, timedelta
from typing import Any

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from sqlalchemy import delete, update
from sqlalchemy.exc import IntegrityError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import Mapped, mapped_column
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.database import Base, Database, now
from app.problems import Conflict, InvalidRequest, Problem, of_database, response

logger = logging.getLogger(__name__)

KEPT = timedelta(days=7)
"""Time for which an answer is remembered."""

LEASE_SECONDS = 15.0
"""Time without a renewal after which a request is taken for lost, and its key is free."""

BUSY_SECONDS = "1"
"""Seconds after which a request is worth repeating whose key is in use."""

MAX_KEY = 255


class IdempotencyKey(Base):
    """One POST by its key: what was asked, and what was answered once it was."""

    __tablename__ = "idempotency_keys"

    key: Mapped[str] = mapped_column(primary_key=True)
    fingerprint: Mapped[str]
    """Of what was asked; empty while a body is still coming that is too large to be held."""
    created_at: Mapped[datetime] = mapped_column(index=True)
    lease_expires_at: Mapped[datetime | None]
    status: Mapped[int | None]
    headers: Mapped[dict[str, Any] | None]
    body: Mapped[str | None]


class Busy(Conflict):
    """A request with the same key is being worked on."""


class IdempotencyMiddleware:
    """Remembers the answers of POSTs that carry a key. Server errors are not remembered."""

    def __init__(self, app: ASGIApp, database: Database) -> None:
        self.app, self.database = app, database

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        key = _header(scope, b"idempotency-key") if scope["type"] == "http" else None
        if key is None or scope["method"] != "POST":
            return await self.app(scope, receive, send)
        try:
            await self._once(key, scope, receive, send)
        except Busy as busy:
            await response(busy, **{"Retry-After": BUSY_SECONDS})(scope, receive, send)
        except Problem as problem:
            await response(problem)(scope, receive, send)

    async def _once(self, key: str, scope: Scope, receive: Receive, send: Send) -> None:
        if not 0 < len(key) <= MAX_KEY:
            raise InvalidRequest.of("Idempotency-Key", f"must have 1 to {MAX_KEY} characters")
        key = f"{scope.get('caller', '')} {key}".lstrip()  # it belongs to whoever sent it
        asked = Asked(scope, receive)
        if not asked.is_large:
            await asked.read_on()
            if not asked.is_whole:
                return  # the client is gone
            receive = asked.again
        else:
            receive = asked.receive
        row = await self._on_database(self._claim, key, None if asked.is_large else asked.digest())
        if row is not None:
            await asked.read_on()
            return await _remembered(row, asked.digest())(scope, receive, send)
        answer = _Recorder(send, asked)
        async with self._renewing(key):
            try:
                await self.app(scope, receive, answer)
            finally:
                with suppress(Problem):  # the answer is out; a key that stays open is free after its lease
                    await self._on_database(self._finish, key, asked, answer)

    @asynccontextmanager
    async def _renewing(self, key: str) -> AsyncIterator[None]:
        """Renews the lease for as long as the context lasts."""

        async def renew() -> None:
            while True:
                await asyncio.sleep(LEASE_SECONDS / 3)
                with suppress(Problem):
                    await self._on_database(self._renew, key)

        task = asyncio.create_task(renew())
        try:
            yield
        finally:
            task.cancel()

    async def _on_database(self, call: Any, *arguments: Any) -> Any:
        """Calls in a thread.

        Raises:
            Unavailable: the database does not answer.
        """
        try:
            return await run_in_threadpool(call, *arguments)
        except (OperationalError, PoolTimeout) as error:
            logger.error("database: %s", error)
            raise of_database(error) from None

    def _claim(self, key: str, fingerprint: str | None) -> IdempotencyKey | None:
        """The answered request of the key; or `None` after noting that this one now works on it.

        Raises:
            Busy: another one works on it.
        """
        until = now() + timedelta(seconds=LEASE_SECONDS)
        with self.database.session() as session:
            session.execute(delete(IdempotencyKey).where(IdempotencyKey.created_at < now() - KEPT))
            row = session.get(IdempotencyKey, key)
            if row is not None and row.status is not None:
                session.commit()
                return row
            if row is None:
                row = IdempotencyKey(key=key, fingerprint=fingerprint or "", created_at=now())
                row.lease_expires_at = until
                session.add(row)
                try:
                    session.commit()
                    return None
                except IntegrityError:
                    raise _busy() from None
            lost = update(IdempotencyKey).where(
                IdempotencyKey.key == key,
                IdempotencyKey.status.is_(None),
                IdempotencyKey.lease_expires_at < now(),
            )
            values = {"lease_expires_at": until, "fingerprint": fingerprint or "", "created_at": now()}
            taken = session.execute(lost.values(**values).returning(IdempotencyKey.key)).first()
            session.commit()
        if taken is None:
            raise _busy()
        return None

    def _renew(self, key: str) -> None:
        until = now() + timedelta(seconds=LEASE_SECONDS)
        open_key = update(IdempotencyKey).where(IdempotencyKey.key == key, IdempotencyKey.status.is_(None))
        with self.database.session() as session:
            session.execute(open_key.values(lease_expires_at=until))
            session.commit()

    def _finish(self, key: str, asked: "Asked", answer: "_Recorder") -> None:
        with self.database.session() as session:
            row = session.get(IdempotencyKey, key)
            if row is None:
                return
            secret = answer.headers.get("cache-control") == "no-store"
            if answer.status is None or answer.status >= 500 or not asked.is_whole or secret:
                session.delete(row)
            else:
                row.fingerprint, row.status, row.headers = asked.digest(), answer.status, answer.headers
                row.body = base64.b64encode(answer.body).decode()
            session.commit()


class _Recorder:
    """Passes an answer on and keeps a copy; reads what was asked to its end first, as it cannot be later."""

    def __init__(self, send: Send, asked: "Asked") -> None:
        self.send, self.asked = send, asked
        self.status: int | None = None
        self.headers: dict[str, str] = {}
        self.body = b""

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            with suppress(HTTPException):  # over the limit: not whole
                await self.asked.read_on()
            self.status = message["status"]
            self.headers = {
                name.decode("latin-1"): value.decode("latin-1")
                for name, value in message["headers"]
                if name.lower() != b"content-length"
            }
        elif message["type"] == "http.response.body":
            self.body += message.get("body", b"")
        await self.send(message)


class Asked:
    """What a request asks for: its path, its query and its body, with their digest.

    Args:
        scope: of the request.
        receive: its messages.
    """

    def __init__(self, scope: Scope, receive: Receive) -> None:
        kind, options = parse_options_header(_header(scope, b"content-type"))
        self.is_large = kind == b"multipart/form-data"
        """Whether the body is an upload, which is not held in memory."""
        self._receive = receive
        self._parts: list[bytes] = []
        self._over = self.is_whole = False
        self._hash = hashlib.sha256(f"{scope['path']}?{scope['query_string']!r} ".encode())
        self._form = None
        if self.is_large and options.get(b"boundary"):
            with suppress(FormParserError):  # too long: the endpoint refuses it
                self._form = _FormDigest(options[b"boundary"], self._hash)

    async def receive(self) -> Message:
        """The next message; what it brings is taken into the digest."""
        message = await self._receive()
        if message["type"] == "http.request":
            self._take(message.get("body", b""))
            self._over = self.is_whole = not message.get("more_body", False)
        else:
            self._over = True
        return message

    async def again(self) -> Message:
        """The body, read before, as one message; then what comes after it."""
        if self._parts:
            body, self._parts = b"".join(self._parts), []
            return {"type": "http.request", "body": body, "more_body": False}
        return await self._receive()

    async def read_on(self) -> None:
        """Reads the body to its end."""
        while not self._over:
            await self.receive()

    def digest(self) -> str:
        """Of all that was read."""
        return self._hash.hexdigest()

    def _take(self, data: bytes) -> None:
        if self._form is not None:
            self._form.take(data)
            return
        self._hash.update(data)
        if not self.is_large:
            self._parts.append(data)


class _FormDigest:
    """Takes the parts of a form into a digest, each by its headers and its content; boundaries are random."""

    def __init__(self, boundary: bytes, into: Any) -> None:
        self._into, self._part = into, hashlib.sha256()
        self._broken = False
        self._parser = MultipartParser(
            boundary,
            {
                "on_header_field": self._add,
                "on_header_value": self._add,
                "on_headers_finished": self._end,
                "on_part_data": self._add,
                "on_part_end": self._end,
            },
        )

    def take(self, data: bytes) -> None:
        if not self._broken:
            try:
                self._parser.write(data)
                return
            except FormParserError:  # the endpoint refuses it; what comes stands for itself
                self._broken = True
        self._into.update(data)

    def _add(self, data: bytes, start: int, end: int) -> None:
        self._part.update(data[start:end])

    def _end(self) -> None:
        self._into.update(self._part.digest())
        self._part = hashlib.sha256()


def _busy() -> Busy:
    return Busy("a request with this Idempotency-Key is being worked on; repeat it in a second")


def _remembered(row: IdempotencyKey, fingerprint: str) -> Response:
    """The answer that was given.

    Raises:
        InvalidRequest: another request was answered.
    """
    if row.fingerprint != fingerprint:
        raise InvalidRequest.of("Idempotency-Key", "was used for another request; take a new key")
    headers = {**(row.headers or {}), "Idempotency-Replayed": "true"}
    return Response(base64.b64decode(row.body or ""), row.status or 200, headers)


def _header(scope: Scope, name: bytes) -> str | None:
    for key, value in scope["headers"]:
        if key.lower() == name:
            return str(value.decode("latin-1"))
    return None
