"""Campaigns as clients send and see them."""

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from app.experiments.verdicts import VerdictOut
from app.generation.schemas import ConstraintsIn
from app.jobs.schemas import Seed
from app.jobs.tables import JobStatus
from app.naming import Body, Labels, LabelsOut


class BudgetIn(Body):
    """What each arm of a campaign may use: trainings, or hours."""

    trainings: int | None = Field(
        None, ge=1, le=1_000, description="Of the recipe's whole length; a third as long counts a third."
    )
    hours: float | None = Field(
        None, gt=0, le=10_000, allow_inf_nan=False, description="Of training, summed over all workers."
    )

    @model_validator(mode="after")
    def _one(self) -> "BudgetIn":
        if (self.trainings is None) == (self.hours is None):
            raise ValueError("give exactly one of trainings and hours")
        return self


class CampaignIn(Labels):
    """A request for the best architecture on a data set within a budget."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"dataset": "digits", "budget": {"trainings": 20}, "recipe": "quick", "compare": "random"}
            ]
        },
    )

    dataset_id: str | None = Field(None, description="By default that of the proposal.")
    proposal_id: str | None = Field(
        None,
        description="Its architectures are tried first; its data set, recipe, space and limits are defaults.",
    )
    budget: BudgetIn
    latent_space_id: str | None = Field(
        None, description="By default the newest trained one of the darts space, else the ready space."
    )
    recipe: str | None = Field(
        None,
        description="`quick`, `paper-small`, `paper-imagenet` or `fine-tune`; by default `paper-small` where "
        "a worker has a GPU, else `quick`.",
    )
    overrides: dict[str, Any] = Field({}, description="Fields of the recipe to replace.")
    rungs: int = Field(
        2,
        ge=1,
        le=4,
        description="Lengths of trainings: each is three times the one before, the last the recipe's epochs; "
        "of all on one the best third goes on to the next. 1 trains everything whole.",
    )
    target: float | None = Field(
        None, gt=0, le=100, description="Percent; a whole training that reaches it ends its arm."
    )
    constraints: ConstraintsIn | None = Field(
        None, description="A budget of the network is for this data set's images, and is trained with it."
    )
    compare: Literal["random"] | None = Field(
        None, description="A second arm with the same budget, whose architectures are drawn at random."
    )
    source_dataset_id: str | None = Field(
        None,
        description="Whose evaluations tell what to begin with; by default this data set's own, or those of "
        "the nearest data set that has enough.",
    )
    seed: Seed = 2024

    @model_validator(mode="after")
    def _some_data(self) -> "CampaignIn":
        if self.dataset_id is None and self.proposal_id is None:
            raise ValueError("give dataset_id, or a proposal_id, which has one")
        return self


class SourceOut(BaseModel):
    """The data set whose evaluations told what to begin with."""

    dataset_id: str
    name: str
    genotypes: int
    spearman: float = Field(description="Of their accuracies with what is predicted of them unseen.")
    low: float = Field(description="Of the 95 % interval.")
    high: float


class BestOut(BaseModel):
    """The best whole training of an arm; chosen by validation where the recipe holds images out."""

    arm: str
    genotype_id: str
    training_id: str
    evaluation_id: str
    accuracy: float = Field(description="Percent, by which it was chosen.")
    test_accuracy: float = Field(description="Percent, of the same epoch on the test split.")
    parameters: int | None


class CampaignOut(LabelsOut):
    """A campaign; `status` is that of its job."""

    model_config = ConfigDict(from_attributes=True)

    id: str
    job_id: str
    status: JobStatus
    progress: float = Field(description="Of the budget, from 0 to 1.")
    dataset_id: str
    proposal_id: str | None
    latent_space_id: str
    recipe: str
    settings: dict[str, Any] = Field(description="Every field of the recipe of whole trainings, as used.")
    epochs: list[int] = Field(description="Of a training on each rung, ascending to the whole.")
    seed: int
    budget: dict[str, Any]
    target: float | None
    constraints: dict[str, Any] | None
    arms: list[str]
    source: SourceOut | None
    ended: dict[str, str] = Field(description="Why each arm that is over has ended.")
    best: list[BestOut] = Field(description="Of each arm, so far.")
    warnings: list[str] = Field(description="What was chosen or assumed for this request.")
    created_at: datetime


class TrialOut(BaseModel):
    """One training of a campaign: what was tried, and why; accuracies in percent."""

    arm: str
    number: int = Field(description="Of the arm's trainings, in the order in which they were started.")
    genotype_id: str
    training_id: str
    job_id: str
    status: JobStatus
    epochs: int
    whole: bool = Field(description="Whether it has the recipe's whole length.")
    why: str
    predicted_accuracy: float | None = Field(description="When it was chosen, at the length of the shortest.")
    predicted_deviation: float | None
    accuracy: float | None = Field(description="By which it is compared; of validation where there is any.")
    test_accuracy: float | None = Field(description="Of the same epoch.")
    parameters: int | None
    trainings: float = Field(description="Whole trainings' worth that the arm had used when it ended.")
    hours: float = Field(description="Of training that the arm had used when it ended.")
    best_accuracy: float | None = Field(description="Of the arm's whole trainings so far.")
    best_test_accuracy: float | None = Field(description="Of that training.")


class CampaignTableOut(BaseModel):
    """All trainings of a campaign so far, by arm in the order in which they ended; what runs comes last."""

    campaign_id: str
    status: JobStatus
    dataset: str
    items: list[TrialOut]
    best: list[BestOut]
    verdicts: list[VerdictOut] = Field(
        description="Of the whole trainings of the arms, by the test accuracies of the same epochs."
    )
    failures: list[dict[str, Any]] = Field(description="Trainings that failed, with their problems.")
