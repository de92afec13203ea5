"""The table of campaigns."""

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey
from sqlalchemy.orm import Mapped, mapped_column

from app.database import Base
from app.naming import Labelled
from app.owners import Owned


class Campaign(Labelled, Owned, Base):
    """The search for the best architecture on a data set within a budget; its parts are trainings."""

    __tablename__ = "campaigns"

    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str | None] = mapped_column(index=True, unique=True)
    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id"), unique=True)
    dataset_id: Mapped[str] = mapped_column(ForeignKey("datasets.id"), index=True)
    proposal_id: Mapped[str | None] = mapped_column(ForeignKey("proposals.id"))
    """The proposal whose architectures it tries first; null for none."""
    latent_space_id: Mapped[str] = mapped_column(ForeignKey("latent_spaces.id"))
    recipe: Mapped[str]
    settings: Mapped[dict[str, Any]]
    """The recipe of whole trainings with every field, as it was used."""
    epochs: Mapped[list[Any]]
    """Of a training on each rung, ascending to the whole."""
    seed: Mapped[int]
    budget: Mapped[dict[str, Any]]
    """What each arm may use: `trainings` (of whole length) or `hours` (of training)."""
    target: Mapped[float | None]
    """The accuracy in percent at which an arm ends."""
    constraints: Mapped[dict[str, Any] | None]
    arms: Mapped[list[Any]]
    """The names of its arms: `ours`, and `random` where it is compared with that."""
    source: Mapped[dict[str, Any] | None]
    """What was known elsewhere when it began: the data set, genotypes and their accuracies."""
    ended: Mapped[dict[str, Any]] = mapped_column(default=dict)
    """Why each arm that is over has ended."""
    warnings: Mapped[list[Any]] = mapped_column(default=list)
    created_at: Mapped[datetime]
