"""The tables of webhooks and of what was sent to them."""

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey
from sqlalchemy.orm import Mapped, mapped_column

from app.database import Base
from app.owners import Owned


class Webhook(Owned, Base):
    """An address that is told when jobs end."""

    __tablename__ = "webhooks"

    id: Mapped[str] = mapped_column(primary_key=True)
    url: Mapped[str]
    secret: Mapped[str]
    """By which what is sent is signed; it must be kept as it is."""
    statuses: Mapped[list[Any]]
    """The ends that it is told of."""
    kinds: Mapped[list[Any] | None]
    """The kinds of jobs that it is told of; null for all."""
    created_at: Mapped[datetime]


class Delivery(Base):
    """One message to one webhook: that a job has ended so."""

    __tablename__ = "deliveries"

    id: Mapped[str] = mapped_column(primary_key=True)
    webhook_id: Mapped[str] = mapped_column(ForeignKey("webhooks.id", ondelete="CASCADE"), index=True)
    job_id: Mapped[str]
    type: Mapped[str]
    body: Mapped[str]
    """What is sent, byte for byte, at each attempt."""
    attempts: Mapped[int] = mapped_column(default=0)
    next_at: Mapped[datetime | None] = mapped_column(index=True)
    """The time of the next attempt; null where none is to be made."""
    status: Mapped[int | None]
    """The status of the last answer; null where none came."""
    error: Mapped[str | None]
    """What went wrong at the last attempt; null if nothing did, or none was made."""
    delivered_at: Mapped[datetime | None]
    created_at: Mapped[datetime]
