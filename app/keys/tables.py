"""The table of keys."""

from datetime import datetime
from enum import StrEnum

from sqlalchemy.orm import Mapped, mapped_column

from app.database import Base, OneOf


class KeyScope(StrEnum):
    """What a key opens: each scope all that those before it open."""

    READ = "read"
    """What changes nothing: every GET."""
    WRITE = "write"
    """Everything but keys."""
    ADMIN = "admin"
    """Keys too."""

    def opens(self, needed: "KeyScope") -> bool:
        """Whether it opens what needs a scope."""
        order = list(KeyScope)
        return order.index(self) >= order.index(needed)


class Key(Base):
    """One key. The text that opens is not kept, only its hash."""

    __tablename__ = "keys"

    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    scope: Mapped[KeyScope] = mapped_column(OneOf(KeyScope))
    digest: Mapped[str] = mapped_column(unique=True)
    """SHA-256 of the text; that is random and long, so that a slow hash would add nothing."""
    rate: Mapped[str | None]
    """Requests in a time, as `600/minute`; null for the setting's."""
    quota: Mapped[str | None]
    """Requests that start jobs in a time, as `100/day`; null for any number."""
    created_at: Mapped[datetime]
    last_used_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]
