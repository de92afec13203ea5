"""Experiments as clients send and see them."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from app.jobs.schemas import Seed, Seeds, Status
from app.latent_spaces.schemas import ConstraintsIn, StartOut
from models.reference import REFERENCES

Gamma = Annotated[float, Field(ge=0, le=1, description="How far from the point, 0 to 1.")]
Count = Annotated[int, Field(ge=1, le=1_000, description="Architectures of the arm.")]


class _Arm(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: str | None = Field(
        None, min_length=1, max_length=100, description="By default told from what the arm is."
    )


class _Generated(_Arm):
    count: Count = 5
    seed: Seed = 0
    unique: bool = Field(False, description="Leaves out what repeats an earlier one or a member.")
    constraints: ConstraintsIn | None = None


class RandomArm(_Generated):
    """Uniform over the box that the members of the latent space span."""

    kind: Literal["random"]


class NearArm(_Generated):
    """Near the best point of a data set."""

    kind: Literal["near"]
    dataset_id: str
    gamma: Gamma = 0.1


class BetweenArm(_Generated):
    """Between the best points of data sets, at weights or in steps."""

    kind: Literal["between"]
    dataset_ids: list[str] = Field(min_length=2, max_length=10)
    weights: list[float] | None = None
    steps: int | None = None
    gamma: Gamma = 0.0


class GenotypesArm(_Arm):
    """Given genotypes, for example published ones."""

    kind: Literal["genotypes"]
    genotype_ids: list[str] = Field(min_length=1, max_length=1_000)


class ReferenceArm(_Arm):
    """A network of torchvision's at the size of the data set."""

    kind: Literal["reference"]
    model: Literal[REFERENCES]  # type: ignore[valid-type]


Arm = Annotated[RandomArm | NearArm | BetweenArm | GenotypesArm | ReferenceArm, Field(discriminator="kind")]


class ExperimentIn(BaseModel):
    """Arms to compare on one data set, or on several for their trade-off."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "dataset_ids": ["ds_…"],
                    "latent_space_id": "lat_…",
                    "recipe": "quick",
                    "arms": [
                        {"kind": "random", "count": 5},
                        {"kind": "near", "dataset_id": "ds_…", "gamma": 0.1, "count": 5},
                        {"kind": "reference", "model": "resnet18"},
                    ],
                }
            ]
        },
    )

    dataset_ids: list[str] = Field(min_length=1, max_length=4, description="All arms are trained on each.")
    latent_space_id: str | None = Field(None, description="Needed by arms that are generated.")
    recipe: str = Field("paper-small", description="`paper-small`, `paper-imagenet` or `quick`.")
    overrides: dict[str, Any] = Field({}, description="Fields of the recipe to replace.")
    seeds: Seeds = [2024]
    arms: list[Arm] = Field(min_length=1, max_length=50)


class ArmOut(BaseModel):
    """An arm as it was asked for, and what it came to."""

    name: str
    request: dict[str, Any]
    start: StartOut | None = None
    genotype_ids: list[str]
    reference: str | None
    search_hours: float | None = Field(
        description="Of the arm's own search: 0 for what is generated; `null` if it is not known."
    )
    note: str | None = None


class ExperimentOut(BaseModel):
    """An experiment; `status` is that of its job."""

    model_config = ConfigDict(from_attributes=True)

    id: str
    job_id: str
    status: Status
    progress: float
    dataset_ids: list[str]
    latent_space_id: str | None
    recipe: str
    settings: dict[str, Any] = Field(description="Every field of the recipe, as used.")
    seeds: list[int]
    arms: list[ArmOut]
    created_at: datetime


class TableRow(BaseModel):
    """The figures of an arm on a data set; accuracies in percent, deviations of the sample."""

    arm: str
    dataset_id: str
    dataset: str
    n: int = Field(description="Trainings that have ended well.")
    failed: int
    open: int = Field(description="Trainings that are not over.")
    mean_params: float | None
    sd_params: float | None
    best_accuracy: float | None = Field(description="The best epoch by the test split, as the paper has it.")
    mean_accuracy: float | None
    sd_accuracy: float | None
    mean_last_accuracy: float | None = Field(description="Of the last epochs.")
    mean_selected_accuracy: float | None = Field(description="Of the epochs that are best by validation.")
    search_hours: float | None


class FrontPoint(BaseModel):
    """One architecture on two data sets; accuracies in percent, means over seeds."""

    arm: str
    genotype_id: str | None
    reference: str | None
    weights: list[float] | None = Field(description="Of an arm between data sets.")
    first_accuracy: float
    second_accuracy: float
    pareto: bool = Field(description="Whether no other is at least as good on both, and better on one.")


class TableOut(BaseModel):
    """The paper's table, so far as trainings are over."""

    experiment_id: str
    status: Status
    items: list[TableRow]
    failures: list[dict[str, Any]] = Field(description="Trainings that failed, with their problems.")
    front: list[FrontPoint] | None = Field(
        description="With two data sets: accuracy on one against the other."
    )
