"""The table of trainings."""

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey
from sqlalchemy.orm import Mapped, mapped_column

from app.database import Base
from app.owners import Owned


class Training(Owned, Base):
    """One genotype, or one reference network, trained from scratch on one data set with one seed."""

    __tablename__ = "trainings"

    id: Mapped[str] = mapped_column(primary_key=True)
    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id"), unique=True)
    genotype_id: Mapped[str | None] = mapped_column(ForeignKey("genotypes.id"), index=True)
    reference: Mapped[str | None]
    """A network of torchvision's by name, where there is no genotype."""
    pretrained: Mapped[dict[str, Any] | None]
    """Where the weights that a reference starts from come from; null for one from scratch."""
    dataset_id: Mapped[str] = mapped_column(ForeignKey("datasets.id"), index=True)
    experiment_id: Mapped[str | None] = mapped_column(ForeignKey("experiments.id"), index=True)
    """The experiment that it is a part of; null for one of its own."""
    recipe: Mapped[str]
    settings: Mapped[dict[str, Any]]
    """The recipe with every field, as it was used."""
    seed: Mapped[int]
    arm: Mapped[str | None]
    brief: Mapped[bool] = mapped_column(default=False)
    """Whether a campaign keeps it shorter than its recipe is."""
    history: Mapped[list[Any] | None]
    weights_key: Mapped[str | None]
    """The key of the last epoch's weights in the file store; null until the training is over."""
    normalisation: Mapped[dict[str, Any] | None]
    """Mean and deviation by channel that images were normalised by; null until it is over."""
    created_at: Mapped[datetime]
