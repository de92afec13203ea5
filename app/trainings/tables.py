"""Trainings and evaluations."""

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, Index
from sqlalchemy.orm import Mapped, mapped_column

from app.database import Base
from app.experiments.tables import Experiment


class Training(Base):
    """One genotype, or one reference network, trained from scratch on one data set with one seed."""

    __tablename__ = "trainings"

    id: Mapped[str] = mapped_column(primary_key=True)
    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id"), unique=True)
    genotype_id: Mapped[str | None] = mapped_column(ForeignKey("genotypes.id"), index=True)
    reference: Mapped[str | None]
    """A network of torchvision's by name, where there is no genotype."""
    dataset_id: Mapped[str] = mapped_column(ForeignKey("datasets.id"), index=True)
    experiment_id: Mapped[str | None] = mapped_column(ForeignKey(Experiment.id), index=True)
    """Of which it is a part, if it is."""
    recipe: Mapped[str]
    settings: Mapped[dict[str, Any]]
    """Every field of the recipe, as used."""
    seed: Mapped[int]
    arm: Mapped[str | None]
    history: Mapped[list[Any] | None]
    weights_key: Mapped[str | None]
    """Of the trained network's weights, as the last epoch left them."""
    created_at: Mapped[datetime]


class Evaluation(Base):
    """One result of a genotype, or of a reference network, on a data set."""

    __tablename__ = "evaluations"
    __table_args__ = (Index("ix_evaluations_dataset_id_test_accuracy", "dataset_id", "test_accuracy"),)

    id: Mapped[str] = mapped_column(primary_key=True)
    genotype_id: Mapped[str | None] = mapped_column(ForeignKey("genotypes.id"), index=True)
    reference: Mapped[str | None]
    dataset_id: Mapped[str] = mapped_column(ForeignKey("datasets.id"))
    kind: Mapped[str]
    """`trained` here, `reported` by someone else, or `search`: the supernet's own accuracy."""
    training_id: Mapped[str | None] = mapped_column(ForeignKey("trainings.id"), unique=True)
    recipe: Mapped[str | None]
    settings: Mapped[dict[str, Any] | None]
    seed: Mapped[int | None]
    arm: Mapped[str | None]
    test_accuracy: Mapped[float]
    """Percent, of the best epoch, as the paper reports it."""
    test_top5: Mapped[float | None]
    last_test_accuracy: Mapped[float | None]
    """Percent, of the last epoch."""
    validation_accuracy: Mapped[float | None]
    """Percent, the best on the images held out of the training split."""
    selected_test_accuracy: Mapped[float | None]
    """Percent, of the epoch that is best by `validation_accuracy`."""
    parameters: Mapped[int | None]
    macs: Mapped[int | None]
    train_seconds: Mapped[float | None]
    created_at: Mapped[datetime]
