"""What clients ask of a latent space, and the architectures that they get."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from app.evaluations.tables import EvaluationKind
from app.genotypes.schemas import GenotypeOut, NetworkIn
from app.jobs.schemas import Seed
from app.naming import Body


class NearIn(Body):
    """A point to start from: a data set's best point, or a genotype."""

    dataset_id: str | None = None
    genotype_id: str | None = None

    @model_validator(mode="after")
    def _one(self) -> "NearIn":
        if (self.dataset_id is None) == (self.genotype_id is None):
            raise ValueError("give exactly one of dataset_id and genotype_id")
        return self


class BetweenIn(Body):
    """Points between the best points of data sets: at given weights, or in steps from one to the other."""

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


class RangeIn(Body):
    """A range of whole numbers from `min` to `max`, both included; either may be left out."""

    min: int | None = Field(None, ge=0, le=2**62)
    max: int | None = Field(None, ge=0, le=2**62)


class MostIn(Body):
    """The most of something."""

    max: int = Field(ge=1, le=2**62)


class LatencyIn(Body):
    """A range of milliseconds on a device, whose table `vgae-nas profile` measures."""

    device: str = Field(max_length=100)
    min: float | None = Field(None, ge=0, le=1e7, allow_inf_nan=False)
    max: float | None = Field(None, ge=0, le=1e7, allow_inf_nan=False)


class MostLatencyIn(Body):
    """The most milliseconds on a device."""

    device: str = Field(max_length=100)
    max: float = Field(gt=0, le=1e7, allow_inf_nan=False)


class BudgetedNetworkIn(NetworkIn):
    """The shape of a network; with a budget its channels or cells or both are chosen for each architecture.

    They are the largest that fit, and stand in each item's `source.network` with their exact counts.
    """

    parameters: MostIn | None = None
    macs: MostIn | None = Field(None, description="Multiply-accumulates of one image.")
    latency_ms: MostLatencyIn | None = Field(
        None, description="Of one image; channels and cells are within what was measured on the device."
    )
    dataset_id: str | None = Field(
        None,
        description="Takes image size, channels and classes of this data set; with a budget by default of "
        "`for_dataset`.",
    )

    @property
    def budgeted(self) -> bool:
        """Whether there is a budget."""
        return any(most is not None for most in (self.parameters, self.macs, self.latency_ms))

    @property
    def images(self) -> set[str]:
        """What was said of the images themselves, by the names of the fields."""
        return {"classes", "image_channels", "image_size"} & self.model_fields_set

    @model_validator(mode="after")
    def _free(self) -> "BudgetedNetworkIn":
        if self.budgeted and self.channels is not None and self.cells is not None:
            raise ValueError(
                "a budget chooses channels or cells, and both are given; leave one out, or limit parameters "
                "and macs in constraints"
            )
        if self.dataset_id is not None and self.images:
            raise ValueError(f"give dataset_id or {', '.join(sorted(self.images))}, not both")
        return self


class ConstraintsIn(Body):
    """Limits that generated architectures must keep."""

    parameters: RangeIn = RangeIn()
    macs: RangeIn = Field(RangeIn(), description="Multiply-accumulates of one image.")
    depth: RangeIn = Field(RangeIn(), description="Operations on the longest path through a cell.")
    operations: dict[str, RangeIn] = Field(
        {}, description="By operation: how many edges of both cells have it."
    )
    latency_ms: LatencyIn | None = Field(None, description="Of one image through the network, on a device.")
    edits: RangeIn = Field(
        RangeIn(), description="Edges that differ from the start's genotype; needs a start that has one."
    )
    network: BudgetedNetworkIn = BudgetedNetworkIn()

    @model_validator(mode="after")
    def _one_limit(self) -> "ConstraintsIn":
        if self.network.budgeted and (self.parameters, self.macs) != (RangeIn(), RangeIn()):
            raise ValueError("limit parameters and macs here or by a budget of the network, not both")
        if self.network.budgeted and self.latency_ms is not None:
            raise ValueError("limit latency_ms in the budget of the network, which chooses its shape")
        return self


class StepIn(Body):
    """How far from its start a request draws: by `gamma` or by `deviations`."""

    gamma: float | None = Field(
        None,
        ge=0,
        le=1,
        description="How far from the point, as a share of the space's box; by default that of the search "
        "space, 0.1 for darts.",
    )
    deviations: float | None = Field(
        None,
        gt=0,
        le=10,
        description="In place of gamma: how far in standard deviations of the point's own latent, which "
        "changes all edges alike. What is ranked by accuracy is drawn by 2.5 of them if neither is given.",
    )

    @model_validator(mode="after")
    def _one_step(self) -> "StepIn":
        if self.gamma is not None and self.deviations is not None:
            raise ValueError("give gamma or deviations, not both")
        return self


class RankIn(Body):
    """An order: more architectures are drawn than asked for, and the best of them returned."""

    by: Literal["accuracy", "parameters", "macs", "latency", "naswot", "synflow"] = Field(
        description="`accuracy` as a model predicts it that is fitted to evaluated genotypes, a size, or a "
        "score of untrained networks on images of the data set, which alone may be no order at all."
    )
    draw: int = Field(500, ge=1, description="Different architectures to choose from.")
    order: Literal["smallest", "largest"] | None = Field(
        None, description="Of sizes, which come first; by default the smallest."
    )
    dataset_id: str | None = Field(
        None,
        description="For `accuracy`: on which data set; for `naswot` and `synflow`: on whose images. By "
        "default the one that architectures are for, or for `accuracy`, if too little is known there, the "
        "one whose best point they start from.",
    )
    device: str | None = Field(None, max_length=100, description="For `latency`: on which device.")
    training_free: bool = Field(
        False,
        description="For `accuracy`: takes `naswot` and `synflow` as features too, if that lowers the error.",
    )
    apart: int = Field(
        2, ge=0, description="Edits in which any two items must differ at least; 0 for the best as they are."
    )

    @model_validator(mode="after")
    def _consistent(self) -> "RankIn":
        sized = self.by in ("parameters", "macs", "latency")
        if (self.by == "latency") != (self.device is not None):
            raise ValueError("latency needs a device, and nothing else has one")
        if not sized and self.order is not None:
            raise ValueError("order goes with sizes; of accuracies and scores the largest come first")
        if sized and self.dataset_id is not None:
            raise ValueError("dataset_id goes with accuracy and scores; sizes depend on no data set")
        if self.by != "accuracy" and self.training_free:
            raise ValueError("training_free goes with accuracy")
        return self


class DrawIn(Body):
    """The fields that all requests for generated architectures share."""

    seed: Seed = 0
    unique: bool = Field(
        False,
        description="Leaves out what repeats an earlier item or a member; ranked items never repeat another.",
    )
    constraints: ConstraintsIn | None = None
    rank: RankIn | None = None


class GenerateIn(DrawIn, StepIn):
    """A request for new architectures: near a point, between points, at random, or for a data set."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"near": {"dataset": "cifar10"}, "gamma": 0.1, "count": 3, "seed": 1}]
        },
    )

    near: NearIn | None = None
    between: BetweenIn | None = None
    random: Literal["uniform", "prior"] | None = Field(
        None, description="Uniform over the box of the space, or standard normal."
    )
    for_dataset: str | None = Field(
        None, description="A data set; the start is the best point of the nearest one that has any."
    )
    count: int = Field(1, ge=1)

    @model_validator(mode="after")
    def _one_start(self) -> "GenerateIn":
        starts = (self.near, self.between, self.random, self.for_dataset)
        if sum(start is not None for start in starts) != 1:
            raise ValueError("give exactly one of near, between, random and for_dataset")
        for step in StepIn.model_fields:
            if self.random is not None and step in self.model_fields_set:
                raise ValueError(f"{step} does not go with random")
        limits = self.constraints.edits if self.constraints is not None else RangeIn()
        if self.random is not None and limits != RangeIn():
            raise ValueError("edits do not go with random, which has no start")
        return self


class PointOut(BaseModel):
    """A start point: the latent of a genotype."""

    dataset_id: str | None = Field(None, description="Whose best point it is.")
    genotype_id: str
    test_accuracy: float | None = Field(None, description="Percent, of the best point on its data set.")
    evaluation_kind: EvaluationKind | None = Field(None, description="How that was measured.")
    member: bool = Field(description="Whether it is a member of the space.")


class AgreementOut(BaseModel):
    """How far two lists rank the same genotypes alike."""

    genotypes: int = Field(description="That were compared.")
    spearman: float
    low: float = Field(description="Of the 95 % interval.")
    high: float


class NearestOut(BaseModel):
    """The data set that was chosen as the nearest of another, with the reason."""

    for_dataset: str
    dataset_id: str
    name: str
    distance: float
    agreement: AgreementOut | None = Field(
        None, description="Of the accuracies on both, where at least 8 genotypes have some."
    )
    confidence: Literal["high", "low", "unknown"] = Field(
        description="Whether its best point is a good start: `high` where ranks are known to agree, `low` "
        "where they are known not to, or where it is farther than noise; else `unknown`."
    )
    reason: str


class StartOut(BaseModel):
    """The start that a request for new architectures came to."""

    kind: Literal["near", "between", "uniform", "prior"]
    points: list[PointOut] = Field([], description="None for a random start.")
    weights: list[list[float]] | None = Field(
        None, description="For `between`: of the points, a row for each place between them."
    )
    nearest: NearestOut | None = None


class EditsOut(BaseModel):
    """How near generated architectures are to their start, in edges that differ."""

    mean: float
    min: int
    max: int
    counts: dict[int, int] = Field(description="Architectures by the number of their edits.")


class RankedOut(BaseModel):
    """The order by which items were chosen; predicted accuracies stand in each item's `source`."""

    by: Literal["accuracy", "parameters", "macs", "latency", "naswot", "synflow"]
    device: str | None = Field(None, description="On which latency is told.")
    order: Literal["smallest", "largest"] | None = Field(None, description="Of sizes, which come first.")
    dataset_id: str | None = Field(
        None, description="On which accuracy is predicted, or on whose images scores are."
    )
    model: str | None = Field(None, description="The model of the smallest error in cross-validation.")
    agreement: AgreementOut | None = Field(
        None,
        description="Of the accuracies of evaluated genotypes with what was predicted of them unseen, or "
        "with the score.",
    )
    drawn: int = Field(0, description="Different architectures that were ranked.")


class GenerateOut(BaseModel):
    """New architectures."""

    latent_space_id: str
    start: StartOut
    gamma: float | None
    deviations: float | None
    seed: int
    sampled: int = Field(description="Latents drawn.")
    duplicates: int = Field(
        description="Of those within the limits, how many repeat an earlier one or a member."
    )
    rejected_by_constraints: int
    repaired: int = Field(description="Whose scores were no legal genotype as they stood.")
    edits: EditsOut | None = Field(
        description="How near the items are to their start; each item's `source` has its own number."
    )
    ranked: RankedOut | None = Field(None, description="For a request with `rank`.")
    seconds: float
    note: str | None = Field(None, description="Why there are fewer items than asked for, if there are.")
    warnings: list[str] = Field(description="What was chosen or assumed for this request.")
    items: list[GenotypeOut]
