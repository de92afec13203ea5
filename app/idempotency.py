"""`Idempotency-Key`: a POST that is repeated with its key is answered as it was, and done once."""

import base64
import hashlib
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import delete
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Mapped, mapped_column
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.database import Base, Database, now
from app.problems import Conflict, InvalidRequest, Problem, response

KEPT = timedelta(days=7)
"""Time for which an answer is remembered."""

UNFINISHED = timedelta(minutes=10)
"""Time after which a request that never answered is taken for lost, and its key is free."""

MAX_KEY = 255


class IdempotencyKey(Base):
    """One POST by its key: what was asked, and what was answered once it was."""

    __tablename__ = "idempotency_keys"

    key: Mapped[str] = mapped_column(primary_key=True)
    fingerprint: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(index=True)
    status: Mapped[int | None]
    headers: Mapped[dict[str, Any] | None]
    body: Mapped[str | None]


class IdempotencyMiddleware:
    """Remembers the answers of POSTs that carry a key. Server errors are not remembered."""

    def __init__(self, app: ASGIApp, database: Database) -> None:
        self.app, self.database = app, database

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        key = _header(scope, b"idempotency-key") if scope["type"] == "http" else None
        if key is None or scope["method"] != "POST":
            return await self.app(scope, receive, send)
        if (_header(scope, b"content-type") or "").startswith("multipart/form-data"):
            # too large to hold, and its boundary differs when it is sent again: its length stands for it
            asked = (_header(scope, b"content-length") or "").encode()
        else:
            asked = await _read(receive)
            receive = _replay(asked, receive)
        fingerprint = hashlib.sha256(
            f"{scope['path']}?{scope['query_string']!r} ".encode() + asked
        ).hexdigest()
        try:
            remembered = await run_in_threadpool(self._claim, key, fingerprint)
        except Problem as problem:
            return await response(problem)(scope, receive, send)
        if remembered is not None:
            return await remembered(scope, receive, send)
        answer = _Recorder(send)
        try:
            await self.app(scope, receive, answer)
        finally:
            await run_in_threadpool(self._finish, key, answer)

    def _claim(self, key: str, fingerprint: str) -> Response | None:
        """The remembered answer; or `None` after noting that this request now works on the key."""
        if not 0 < len(key) <= MAX_KEY:
            raise InvalidRequest.of("Idempotency-Key", f"must have 1 to {MAX_KEY} characters")
        with self.database.session() as session:
            session.execute(delete(IdempotencyKey).where(IdempotencyKey.created_at < now() - KEPT))
            row = session.get(IdempotencyKey, key)
            if row is not None and row.status is None and row.created_at < now() - UNFINISHED:
                session.delete(row)
                session.flush()
                row = None
            if row is None:
                session.add(IdempotencyKey(key=key, fingerprint=fingerprint, created_at=now()))
                try:
                    session.commit()
                    return None
                except IntegrityError:
                    raise Conflict("a request with this Idempotency-Key is being worked on") from None
        if row.fingerprint != fingerprint:
            raise InvalidRequest.of("Idempotency-Key", "was used for another request; take a new key")
        if row.status is None:
            raise Conflict("a request with this Idempotency-Key is being worked on")
        headers = {**(row.headers or {}), "Idempotency-Replayed": "true"}
        return Response(base64.b64decode(row.body or ""), row.status, headers)

    def _finish(self, key: str, answer: "_Recorder") -> None:
        with self.database.session() as session:
            row = session.get(IdempotencyKey, key)
            if row is None:
                return
            if answer.status is None or answer.status >= 500:
                session.delete(row)
            else:
                row.status, row.headers = answer.status, answer.headers
                row.body = base64.b64encode(answer.body).decode()
            session.commit()


class _Recorder:
    """Passes an answer on and keeps a copy."""

    def __init__(self, send: Send) -> None:
        self.send = send
        self.status: int | None = None
        self.headers: dict[str, str] = {}
        self.body = b""

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = {
                name.decode("latin-1"): value.decode("latin-1")
                for name, value in message["headers"]
                if name.lower() != b"content-length"
            }
        elif message["type"] == "http.response.body":
            self.body += message.get("body", b"")
        await self.send(message)


async def _read(receive: Receive) -> bytes:
    parts = []
    while True:
        message = await receive()
        parts.append(message.get("body", b""))
        if not message.get("more_body", False):
            return b"".join(parts)


def _replay(body: bytes, receive: Receive) -> Receive:
    sent = False

    async def again() -> Message:
        nonlocal sent
        if sent:
            return await receive()
        sent = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again


def _header(scope: Scope, name: bytes) -> str | None:
    for key, value in scope["headers"]:
        if key.lower() == name:
            return str(value.decode("latin-1"))
    return None
