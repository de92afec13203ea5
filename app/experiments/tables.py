"""The table of experiments."""

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey
from sqlalchemy.orm import Mapped, mapped_column

from app.database import Base
from app.naming import Labelled
from app.owners import Owned


class Experiment(Labelled, Owned, Base):
    """Arms of architectures, trained alike on the same data sets."""

    __tablename__ = "experiments"

    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str | None] = mapped_column(index=True, unique=True)
    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id"), unique=True)
    latent_space_id: Mapped[str | None] = mapped_column(ForeignKey("latent_spaces.id"))
    dataset_ids: Mapped[list[Any]]
    recipe: Mapped[str]
    settings: Mapped[dict[str, Any]]
    """The recipe with every field, as it was used."""
    seeds: Mapped[list[Any]]
    arms: Mapped[list[Any]]
    """A list of arms, each with its name, its request, and the genotypes or the reference that it came to."""
    warnings: Mapped[list[Any]] = mapped_column(default=list)
    """Sentences that say what was chosen or assumed for the request."""
    created_at: Mapped[datetime]
