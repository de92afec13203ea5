"""Latent spaces as clients send and see them."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from app.genotypes.schemas import EvaluationKind, GenotypeOut, NetworkIn, Origin
from app.jobs.schemas import Seed

Form = Literal["discrete", "continuous"]


class LatentSpaceIn(BaseModel):
    """A latent space to train on chosen genotypes."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"genotype_ids": ["gen_…", "gen_…"], "preset": "default"}]},
    )

    genotype_ids: list[str] = Field(
        min_length=2, description="The members; at least two, all of one search space."
    )
    preset: str = Field("default", description="`default`, `paper` or `paper-gcn`.")
    overrides: dict[str, Any] = Field({}, description="Fields of the preset to replace.")
    form: Form = Field(
        "discrete",
        description="`continuous` takes genotypes as their search left them, where they have that.",
    )
    seed: Seed = 2024


class LatentSpaceOut(BaseModel):
    """A latent space; ready once its job has succeeded."""

    model_config = ConfigDict(from_attributes=True)

    id: str
    job_id: str
    search_space: str
    preset: str
    form: Form
    settings: dict[str, Any] = Field(description="Every field of the recipe, as used.")
    seed: int
    code_version: str
    ready: bool
    member_count: int
    epochs: int | None
    losses: dict[str, float] | None
    members_exact: float | None = Field(description="Share of members that decode from their mean exactly.")
    created_at: datetime


class LatentSpaceFull(LatentSpaceOut):
    """A latent space with its members."""

    genotype_ids: list[str]


class EncodeIn(BaseModel):
    """Genotypes to encode."""

    model_config = ConfigDict(extra="forbid")

    genotype_ids: list[str] = Field(min_length=1, max_length=1_000)


class LatentOut(BaseModel):
    """The latent of one genotype."""

    genotype_id: str
    mu: list[list[float]] = Field(description="Nodes x latent dimension.")
    exact: bool = Field(description="Whether it decodes to the genotype itself.")


class LatentsOut(BaseModel):
    """Latents in the order of the request."""

    items: list[LatentOut]


class NearIn(BaseModel):
    """A point to start from: a data set's best point, or a genotype."""

    model_config = ConfigDict(extra="forbid")

    dataset_id: str | None = None
    genotype_id: str | None = None

    @model_validator(mode="after")
    def _one(self) -> "NearIn":
        if (self.dataset_id is None) == (self.genotype_id is None):
            raise ValueError("give exactly one of dataset_id and genotype_id")
        return self


class BetweenIn(BaseModel):
    """Points between the best points of data sets: at given weights, or in steps from one to the other."""

    model_config = ConfigDict(extra="forbid")

    dataset_ids: list[str] = Field(min_length=2, max_length=10)
    weights: list[Annotated[float, Field(ge=0, allow_inf_nan=False)]] | None = Field(
        None, description="One for each data set, not all zero; equal by default."
    )
    steps: int | None = Field(
        None, ge=2, le=101, description="So many points from the first of two data sets to the second."
    )

    @model_validator(mode="after")
    def _consistent(self) -> "BetweenIn":
        if len(set(self.dataset_ids)) < len(self.dataset_ids):
            raise ValueError("dataset_ids must all differ")
        if self.weights is not None and self.steps is not None:
            raise ValueError("give weights or steps, not both")
        if self.weights is not None and len(self.weights) != len(self.dataset_ids):
            raise ValueError(
                f"weights must be one for each data set: {len(self.dataset_ids)}, not {len(self.weights)}"
            )
        if self.weights is not None and sum(self.weights) == 0:
            raise ValueError("weights must not all be zero")
        if self.steps is not None and len(self.dataset_ids) != 2:
            raise ValueError("steps go between two data sets")
        return self


class RangeIn(BaseModel):
    """From `min` to `max`, both included."""

    model_config = ConfigDict(extra="forbid")

    min: int | None = Field(None, ge=0, le=2**62)
    max: int | None = Field(None, ge=0, le=2**62)


class ConstraintsIn(BaseModel):
    """What generated architectures must keep to."""

    model_config = ConfigDict(extra="forbid")

    parameters: RangeIn = RangeIn()
    macs: RangeIn = Field(RangeIn(), description="Multiply-accumulates of one image.")
    depth: RangeIn = Field(RangeIn(), description="Operations on the longest path through a cell.")
    operations: dict[str, RangeIn] = Field(
        {}, description="By operation: how many edges of both cells have it."
    )
    network: NetworkIn = NetworkIn()


class GenerateIn(BaseModel):
    """What to generate: near a point, between points, at random, or for a data set."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [{"near": {"dataset_id": "ds_…"}, "gamma": 0.1, "count": 3, "seed": 1}]
        },
    )

    near: NearIn | None = None
    between: BetweenIn | None = None
    random: Literal["uniform", "prior"] | None = Field(
        None, description="Uniform over the box that the members span, or standard normal."
    )
    for_dataset: str | None = Field(
        None, description="A data set; the start is the best point of the nearest one that has any."
    )
    gamma: float | None = Field(
        None, ge=0, le=1, description="How far from the point, 0 to 1; 0.1 by default."
    )
    count: int = Field(1, ge=1)
    seed: Seed = 0
    unique: bool = Field(False, description="Leaves out what repeats an earlier item or a member.")
    constraints: ConstraintsIn | None = None

    @model_validator(mode="after")
    def _one_start(self) -> "GenerateIn":
        starts = (self.near, self.between, self.random, self.for_dataset)
        if sum(start is not None for start in starts) != 1:
            raise ValueError("give exactly one of near, between, random and for_dataset")
        if self.random is not None and self.gamma is not None:
            raise ValueError("gamma does not go with random")
        return self


class PointOut(BaseModel):
    """A start point: the latent of a genotype."""

    dataset_id: str | None = Field(None, description="Whose best point it is.")
    genotype_id: str
    test_accuracy: float | None = Field(None, description="Percent, of the best point on its data set.")
    evaluation_kind: EvaluationKind | None = Field(None, description="How that was measured.")
    member: bool = Field(description="Whether it is a member of the space.")


class NearestOut(BaseModel):
    """Which data set was picked for another, and why."""

    for_dataset: str
    dataset_id: str
    name: str
    distance: float
    reason: str


class StartOut(BaseModel):
    """Where generation started."""

    kind: Literal["near", "between", "uniform", "prior"]
    points: list[PointOut] = Field([], description="None for a random start.")
    weights: list[list[float]] | None = Field(
        None, description="For `between`: of the points, a row for each place between them."
    )
    nearest: NearestOut | None = None


class GenerateOut(BaseModel):
    """New architectures."""

    latent_space_id: str
    start: StartOut
    gamma: float | None
    seed: int
    sampled: int = Field(description="Latents drawn.")
    duplicates: int = Field(
        description="Of those within the limits, how many repeat an earlier one or a member."
    )
    rejected_by_constraints: int
    repaired: int = Field(description="Whose scores were no legal genotype as they stood.")
    seconds: float
    note: str | None = Field(None, description="Why there are fewer items than asked for, if there are.")
    items: list[GenotypeOut]


class MapPoint(BaseModel):
    """One genotype on the map."""

    genotype_id: str
    name: str | None
    origin: Origin
    dataset: str | None = Field(description="On which it was searched.")
    x: float
    y: float
    parameters: int = Field(description="Of the network of 36 channels and 20 cells for CIFAR-10.")
    accuracy: float | None = Field(description="Percent, the best trained or reported on any data set.")
    operations: dict[str, float] = Field(description="The share of each operation among the edges.")


class DirectionOut(BaseModel):
    """One principal direction of a space, and what goes with it."""

    model_config = ConfigDict(from_attributes=True)

    explained_variance: float
    correlations: dict[str, float | None] = Field(
        description="Pearson's, with parameters, depth, the count of each operation, and accuracies."
    )


class MeaningOut(BaseModel):
    """What the principal directions of a space mean."""

    members: int
    items: list[DirectionOut]


class MapOut(BaseModel):
    """The latents in two dimensions."""

    method: Literal["pca", "tsne"]
    explained_variance: list[float] | None = Field(description="The share of each axis, for `pca`.")
    silhouette: float | None = Field(
        description="Of the latents by data set, -1 to 1; `null` unless two have two points each."
    )
    items: list[MapPoint]
