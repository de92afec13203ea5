"""The tables of proposals and of their architectures."""

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey
from sqlalchemy.orm import Mapped, mapped_column

from app.database import Base
from app.naming import Labelled
from app.owners import Owned


class Proposal(Labelled, Owned, Base):
    """Architectures for one data set, with all that was chosen to come to them."""

    __tablename__ = "proposals"

    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str | None] = mapped_column(index=True, unique=True)
    dataset_id: Mapped[str] = mapped_column(ForeignKey("datasets.id"), index=True)
    latent_space_id: Mapped[str] = mapped_column(ForeignKey("latent_spaces.id"))
    recipe: Mapped[str]
    settings: Mapped[dict[str, Any]]
    """The recipe with every field, of whose channels and cells sizes are."""
    limits: Mapped[dict[str, Any] | None]
    """The limits as they were asked for."""
    answer: Mapped[dict[str, Any]]
    """What generation said of itself: start, gamma, seed, counts and order; and the limits that it kept."""
    warnings: Mapped[list[Any]] = mapped_column(default=list)
    created_at: Mapped[datetime]


class ProposalItem(Base):
    """One architecture of a proposal."""

    __tablename__ = "proposal_items"

    proposal_id: Mapped[str] = mapped_column(ForeignKey("proposals.id", ondelete="CASCADE"), primary_key=True)
    position: Mapped[int] = mapped_column(primary_key=True)
    genotype_id: Mapped[str] = mapped_column(ForeignKey("genotypes.id"), index=True)
