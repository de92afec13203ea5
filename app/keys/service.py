"""Making, finding and revoking keys."""

import hashlib
import secrets
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import Select, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from app.database import Database, new_id, now
from app.keys.schemas import KeyIn
from app.keys.tables import Key
from app.problems import Conflict, NotFound
from app.settings import LOOPBACK, Settings

PREFIX = "key"

NOTED_EVERY = timedelta(minutes=1)
"""How exactly the last use of a key is kept."""


class UnguardedError(RuntimeError):
    """Others can reach this service, and nothing asks them who they are."""


def create(session: Session, request: KeyIn) -> tuple[Key, str]:
    """A new key and its text, which is kept nowhere; committed.

    Raises:
        Conflict: a key has the name already.
    """
    text = f"nas_{secrets.token_urlsafe(32)}"
    row = Key(id=new_id(PREFIX), digest=digest(text), created_at=now(), **request.model_dump())
    session.add(row)
    try:
        session.commit()
    except IntegrityError:
        session.rollback()
        raise Conflict(f"there is a key {request.name!r} already; choose another name") from None
    return row, text


def digest(text: str) -> str:
    """The hash by which a key is found."""
    return hashlib.sha256(text.encode()).hexdigest()


def get(session: Session, name: str) -> Key:
    """A key by its id or name.

    Raises:
        NotFound: there is none.
    """
    row = session.scalars(select(Key).where((Key.id == name) | (Key.name == name))).first()
    if row is None:
        raise NotFound(f"there is no key {name!r}")
    return row


def revoke(session: Session, name: str) -> Key:
    """Makes a key open nothing any more; committed.

    Raises:
        NotFound: there is none.
    """
    row = get(session, name)
    row.revoked_at = row.revoked_at or now()
    session.commit()
    return row


def listing() -> Select[*tuple[Any, ...]]:
    """The query for all keys."""
    return select(Key)


def living(session: Session) -> Sequence[Key]:
    """The keys that are not revoked."""
    return session.scalars(select(Key).where(Key.revoked_at.is_(None))).all()


def opens(session: Session, text: str) -> bool:
    """Whether a text is that of a key that is not revoked."""
    return any(key.digest == digest(text) for key in living(session))


def note_use(session: Session, key_id: str) -> None:
    """Keeps that a key was used now, unless that was kept a moment ago; committed."""
    moment = now()
    old = (Key.last_used_at.is_(None)) | (Key.last_used_at < moment - NOTED_EVERY)
    session.execute(update(Key).where(Key.id == key_id, old).values(last_used_at=moment))
    session.commit()


def require_guard(database: Database, settings: Settings) -> bool:
    """Whether requests need a key.

    Raises:
        UnguardedError: others can reach the service, there is no key, and the settings do not open it.
    """
    if settings.open:
        return False
    with database.session(reads_only=True) as session:
        has_keys = bool(living(session))
    if not has_keys and settings.host not in LOOPBACK:
        raise UnguardedError(
            f"others can reach {settings.host}, and there is no key: make one by `vgae-nas keys create --name"
            " … --scope admin`, or set VGAE_NAS_OPEN=1 where something else guards the service"
        )
    return has_keys
