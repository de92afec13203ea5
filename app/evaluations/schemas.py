"""Evaluations as clients send and see them."""

from datetime import datetime
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from app.evaluations.tables import EvaluationKind
from app.naming import Body


def _no_fraction(value: float) -> float:
    if 0 < value <= 1:
        raise ValueError(
            f"must be in percent, 0 to 100; {value:g} looks like a fraction, which is {100 * value:g} %"
        )
    return value


Percent = Annotated[
    float, Field(ge=0, le=100, description="Percent; fractions are refused."), AfterValidator(_no_fraction)
]


class EvaluationIn(Body):
    """A result that was measured elsewhere."""

    dataset_id: str
    test_accuracy: Percent
    test_top5: Percent | None = None
    recipe: str | None = Field(None, max_length=200)
    seed: int | None = Field(None, ge=0, le=2**63 - 1)
    parameters: int | None = Field(None, ge=0, le=2**62)


class EvaluationOut(BaseModel):
    """One result of a genotype on a data set."""

    model_config = ConfigDict(from_attributes=True)

    id: str
    genotype_id: str | None
    reference: str | None = Field(description="A network of torchvision's, where there is no genotype.")
    dataset_id: str
    kind: EvaluationKind = Field(
        description="`trained` here, `reported` by someone else, `search`: the supernet's own accuracy, or "
        "`brief`: a training that a campaign kept short."
    )
    training_id: str | None
    recipe: str | None
    settings: dict[str, Any] | None
    seed: int | None
    arm: str | None
    test_accuracy: float = Field(description="Percent, of the best epoch.")
    test_top5: float | None
    last_test_accuracy: float | None = Field(description="Percent, of the last epoch.")
    validation_accuracy: float | None = Field(
        description="Percent, the best on images held out of the training split."
    )
    selected_test_accuracy: float | None = Field(
        description="Percent on the test split, of the epoch that is best by `validation_accuracy`."
    )
    balanced_accuracy: float | None = Field(
        description="Percent, the mean of the classes' accuracies, of the last epoch."
    )
    macro_f1: float | None = Field(description="Percent, the mean of the classes' F1, of the last epoch.")
    parameters: int | None
    macs: int | None
    train_seconds: float | None
    created_at: datetime


class EvaluationFull(EvaluationOut):
    """One result with its scores by class, of the last epoch on the test split."""

    class_accuracies: dict[str, float | None] | None = Field(
        description="Percent by class; `null` for a class without a test image."
    )
    confusion: list[list[int]] | None = Field(
        description="Test images by true class (rows) and by class given (columns), in the classes' order."
    )
