"""The table of genotypes."""

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import ForeignKey, Index, LargeBinary, text
from sqlalchemy.orm import Mapped, mapped_column

from app.database import Base, OneOf
from app.naming import Labelled
from app.owners import Owned


class Origin(StrEnum):
    """The way in which a genotype came into the store."""

    SEARCHED = "searched"
    PUBLISHED = "published"
    REGISTERED = "registered"
    GENERATED = "generated"
    RANDOM = "random"


class Genotype(Labelled, Owned, Base):
    """One genotype and where it came from."""

    __tablename__ = "genotypes"
    __table_args__ = (
        Index("ix_genotypes_search_space_digest", "search_space", "digest"),
        Index("ix_genotypes_search_space_origin_id", "search_space", "origin", "id"),
        Index("ix_genotypes_search_space_id", "search_space", "id"),
        Index("ix_genotypes_origin_id", "origin", "id"),
        Index("ix_genotypes_dataset_id_id", "dataset_id", "id"),
        Index(
            "ix_genotypes_labelled",
            "id",
            postgresql_where=text("labels IS NOT NULL"),
            sqlite_where=text("labels IS NOT NULL"),
        ),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    search_space: Mapped[str]
    origin: Mapped[Origin] = mapped_column(OneOf(Origin))
    name: Mapped[str | None] = mapped_column(index=True)
    dataset_id: Mapped[str | None] = mapped_column(ForeignKey("datasets.id"))
    """The data set on which it was searched; null if it was not."""
    genotype: Mapped[dict[str, Any]]
    continuous: Mapped[dict[str, Any] | None]
    digest: Mapped[str]
    """A digest that is equal exactly for equal genotypes."""
    parameters: Mapped[int] = mapped_column(index=True)
    """Trainable parameters of the standard network of its search space."""
    macs: Mapped[int | None]
    """Multiply-accumulates of one image through the same network."""
    source: Mapped[dict[str, Any]]
    """All that made it: a paper, a search, or the start, gamma and direction in a latent space."""
    latent_space_id: Mapped[str | None] = mapped_column(ForeignKey("latent_spaces.id"), index=True)
    """The latent space from which it was generated; null if it was not."""
    latent: Mapped[bytes | None] = mapped_column(LargeBinary)
    """The latent that it was decoded from, float32, nodes x latent dimension; null if it was not."""
    created_at: Mapped[datetime]
