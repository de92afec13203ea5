"""Searches."""

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey
from sqlalchemy.orm import Mapped, mapped_column

from app.database import Base
from app.owners import Owned


class Search(Owned, Base):
    """One architecture search on one data set with one seed."""

    __tablename__ = "searches"

    id: Mapped[str] = mapped_column(primary_key=True)
    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id"), unique=True)
    dataset_id: Mapped[str] = mapped_column(ForeignKey("datasets.id"), index=True)
    search_space: Mapped[str]
    method: Mapped[str]
    recipe: Mapped[str]
    settings: Mapped[dict[str, Any]]
    """The recipe with every field, as it was used."""
    seed: Mapped[int]
    genotype_id: Mapped[str | None] = mapped_column(ForeignKey("genotypes.id"))
    result: Mapped[dict[str, Any] | None]
    created_at: Mapped[datetime]
