"""The table of evaluations."""

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import ForeignKey, Index
from sqlalchemy.orm import Mapped, mapped_column

from app.database import Base, OneOf
from app.owners import Owned


class EvaluationKind(StrEnum):
    """The way in which a result was measured."""

    TRAINED = "trained"
    """A training of this service measured it."""
    REPORTED = "reported"
    """Someone else measured it, in a paper for instance."""
    SEARCH = "search"
    """The supernet of a search measured it; it is not comparable with the others."""
    BRIEF = "brief"
    """A training of this service that a campaign kept short measured it; it compares with its like alone."""


COMPARABLE = (EvaluationKind.TRAINED, EvaluationKind.REPORTED)
"""The kinds that say how accurate a genotype is."""


class Evaluation(Owned, Base):
    """One result of a genotype, or of a reference network, on a data set."""

    __tablename__ = "evaluations"
    __table_args__ = (
        Index("ix_evaluations_dataset_id_test_accuracy_id", "dataset_id", "test_accuracy", "id"),
        Index("ix_evaluations_dataset_id_genotype_id", "dataset_id", "genotype_id"),
        Index("ix_evaluations_best", "search_space", "dataset_id", "kind", "test_accuracy", "id"),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    genotype_id: Mapped[str | None] = mapped_column(ForeignKey("genotypes.id"), index=True)
    search_space: Mapped[str | None]
    """That of the genotype; null for a reference network."""
    reference: Mapped[str | None]
    dataset_id: Mapped[str] = mapped_column(ForeignKey("datasets.id"))
    kind: Mapped[EvaluationKind] = mapped_column(OneOf(EvaluationKind))
    training_id: Mapped[str | None] = mapped_column(ForeignKey("trainings.id"), unique=True)
    recipe: Mapped[str | None]
    settings: Mapped[dict[str, Any] | None]
    seed: Mapped[int | None]
    arm: Mapped[str | None]
    test_accuracy: Mapped[float] = mapped_column(index=True)
    """Accuracy on the test split in percent, of the best epoch, as the paper reports it."""
    test_top5: Mapped[float | None]
    last_test_accuracy: Mapped[float | None]
    """Accuracy on the test split in percent, of the last epoch."""
    validation_accuracy: Mapped[float | None]
    """The best accuracy in percent on the images that were held out of the training split."""
    selected_test_accuracy: Mapped[float | None]
    """Accuracy on the test split in percent, of the epoch that is best by `validation_accuracy`."""
    balanced_accuracy: Mapped[float | None]
    """The mean of the classes' accuracies in percent, of the last epoch, as are the other scores by class."""
    macro_f1: Mapped[float | None]
    """The mean of the classes' F1 scores in percent."""
    class_accuracies: Mapped[dict[str, Any] | None] = mapped_column(deferred=True)
    """The accuracy of each class in percent, by name, in their order; null without a test image of it."""
    confusion: Mapped[list[Any] | None] = mapped_column(deferred=True)
    """Test images by true class (rows) and by class given (columns)."""
    parameters: Mapped[int | None]
    macs: Mapped[int | None]
    train_seconds: Mapped[float | None]
    created_at: Mapped[datetime]
