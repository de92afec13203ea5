"""The table of devices."""

from datetime import datetime
from typing import Any

from sqlalchemy import UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from app.database import Base
from app.naming import Labelled
from app.owners import Owned


class Device(Labelled, Owned, Base):
    """What was measured on a device for networks of a search space, for images of one size."""

    __tablename__ = "devices"
    __table_args__ = (UniqueConstraint("name", "search_space", "image_size"),)

    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]
    search_space: Mapped[str]
    image_size: Mapped[int]
    runtime: Mapped[dict[str, Any]]
    """What ran the networks: version, provider, threads, machine."""
    operations: Mapped[list[Any]]
    """Milliseconds of each operation by channels, size and stride."""
    networks: Mapped[list[Any]]
    """Milliseconds of whole networks."""
    created_at: Mapped[datetime]
