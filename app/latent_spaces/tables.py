"""The tables of latent spaces and of the latents of their members."""

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, LargeBinary
from sqlalchemy.orm import Mapped, mapped_column

from app.database import Base
from app.naming import Labelled
from app.owners import Owned


class LatentSpace(Labelled, Owned, Base):
    """One VGAE trained on chosen genotypes."""

    __tablename__ = "latent_spaces"

    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str | None] = mapped_column(index=True, unique=True)
    job_id: Mapped[str | None] = mapped_column(ForeignKey("jobs.id"), unique=True)
    """The job that trained it; null for a space that ships with the service."""
    search_space: Mapped[str]
    preset: Mapped[str]
    settings: Mapped[dict[str, Any]]
    """The recipe with every field, as it was used."""
    form: Mapped[str]
    """`discrete`, or `continuous` where members enter as the search left them."""
    seed: Mapped[int]
    code_version: Mapped[str]
    member_count: Mapped[int]
    epochs: Mapped[int | None]
    losses: Mapped[dict[str, Any] | None]
    members_exact: Mapped[float | None]
    """The share of members that decode from their mean exactly."""
    artifact_key: Mapped[str | None]
    """The key of the trained weights in the file store; null until the space is ready."""
    created_at: Mapped[datetime]

    @property
    def shipped(self) -> bool:
        """Whether it came with the service, trained on random genotypes."""
        return self.job_id is None

    @property
    def ready(self) -> bool:
        """Whether it is trained."""
        return self.artifact_key is not None


class LatentMember(Base):
    """One member genotype and, once the space is trained, its latent."""

    __tablename__ = "latent_members"

    latent_space_id: Mapped[str] = mapped_column(
        ForeignKey("latent_spaces.id", ondelete="CASCADE"), primary_key=True
    )
    position: Mapped[int] = mapped_column(primary_key=True)
    genotype_id: Mapped[str] = mapped_column(ForeignKey("genotypes.id"), index=True)
    mu: Mapped[bytes | None] = mapped_column(LargeBinary)
    """The mean of its latent: float32, nodes x latent dimension, row by row; null until it is trained."""
    logstd: Mapped[bytes | None] = mapped_column(LargeBinary)
