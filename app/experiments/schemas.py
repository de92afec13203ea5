"""Experiments as clients send and see them."""

from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any, ClassVar, Literal, Protocol, TypeVar

from pydantic import BaseModel, ConfigDict, Field, model_validator

from app.experiments.verdicts import VerdictOut
from app.generation.schemas import BetweenIn, DrawIn, GenerateIn, NearIn, StartOut, StepIn
from app.genotypes.schemas import Chosen
from app.jobs.schemas import Seeds
from app.jobs.tables import JobStatus
from app.naming import Body, Labels, LabelsOut
from models.trainings.reference import REFERENCES

Count = Annotated[int, Field(ge=1, le=1_000, description="Architectures of the arm.")]

DatasetName = Callable[[str, str], str]
"""The name of a data set, from its id and the field of the arm that holds it."""

T = TypeVar("T", covariant=True)


class Planner(Protocol[T]):
    """Makes architectures of what an arm asks for; an arm calls the method that suits it."""

    def generated(self, asked: GenerateIn) -> T:
        """Architectures from the latent space."""

    def given(self, asked: Chosen) -> T:
        """Genotypes that are there already."""

    def proposed(self, asked: "ProposalArm") -> T:
        """The architectures of a proposal."""

    def reference(self, asked: "ReferenceArm") -> T:
        """A network of torchvision's."""


class _Arm(Body):
    needs_latent_space: ClassVar[bool] = False

    name: str | None = Field(
        None, min_length=1, max_length=100, description="By default told from what the arm is."
    )

    @property
    def size(self) -> int:
        """The number of architectures of the arm, or at least so many where only the store knows."""
        raise NotImplementedError

    def default_name(self, dataset_name: DatasetName) -> str:
        """The name of the arm if the request gives none."""
        raise NotImplementedError

    def plan(self, planner: Planner[T]) -> T:
        """The arm's architectures, made by the planner."""
        raise NotImplementedError


class _Generated(_Arm, DrawIn):
    needs_latent_space = True

    count: Count = 5

    @property
    def size(self) -> int:
        return self.count

    def asked(self, **start: Any) -> GenerateIn:
        """The arm's request to the latent space, with the given start."""
        shared = {name: getattr(self, name) for name in ("count", *DrawIn.model_fields)}
        return GenerateIn(**start, **shared)

    def _shown(self) -> str:
        """The end of the arm's name: the order, if there is one."""
        return "" if self.rank is None else f" ranked by {self.rank.by}"


class _Stepping(_Generated, StepIn):
    def asked(self, **start: Any) -> GenerateIn:
        return super().asked(gamma=self.gamma, deviations=self.deviations, **start)

    def _shown(self) -> str:
        """The end of the arm's name: how far it draws, if that was given, and the order, if there is one."""
        gamma = "" if self.gamma is None else f" {self.gamma:g}"
        deviations = "" if self.deviations is None else f" by {self.deviations:g} deviations"
        return f"{gamma}{deviations}{super()._shown()}"


class RandomArm(_Generated):
    """An arm of architectures drawn uniformly from the box of the latent space."""

    kind: Literal["random"]

    def default_name(self, dataset_name: DatasetName) -> str:
        return f"{self.kind}{self._shown()}"

    def plan(self, planner: Planner[T]) -> T:
        return planner.generated(self.asked(random="uniform"))


class NearArm(_Stepping):
    """An arm of architectures near the best point of a data set."""

    kind: Literal["near"]
    dataset_id: str

    def default_name(self, dataset_name: DatasetName) -> str:
        return f"near {dataset_name(self.dataset_id, 'dataset_id')}{self._shown()}"

    def plan(self, planner: Planner[T]) -> T:
        return planner.generated(self.asked(near=NearIn(dataset_id=self.dataset_id)))


class BetweenArm(_Stepping):
    """An arm of architectures between the best points of data sets, at weights or in steps."""

    kind: Literal["between"]
    dataset_ids: list[str] = Field(min_length=2, max_length=10)
    weights: list[float] | None = None
    steps: int | None = None

    def default_name(self, dataset_name: DatasetName) -> str:
        names = [dataset_name(value, f"dataset_ids[{i}]") for i, value in enumerate(self.dataset_ids)]
        return f"between {' and '.join(names)}{self._shown()}"

    def plan(self, planner: Planner[T]) -> T:
        between = BetweenIn(dataset_ids=self.dataset_ids, weights=self.weights, steps=self.steps)
        return planner.generated(self.asked(between=between))


class GenotypesArm(_Arm, Chosen):
    """An arm of genotypes that are registered already, for example published ones."""

    kind: Literal["genotypes"]

    @property
    def size(self) -> int:
        return len(self.genotype_ids) if self.members is None else self.members.top or 1

    def default_name(self, dataset_name: DatasetName) -> str:
        return self.kind

    def plan(self, planner: Planner[T]) -> T:
        return planner.given(self)


class ProposalArm(_Arm):
    """An arm of the architectures of a proposal, in networks as it told their sizes."""

    kind: Literal["proposal"]
    proposal_id: str

    @property
    def size(self) -> int:
        return 1

    def default_name(self, dataset_name: DatasetName) -> str:
        return self.kind

    def plan(self, planner: Planner[T]) -> T:
        return planner.proposed(self)


class ReferenceArm(_Arm):
    """An arm of one network of torchvision's, at the size of the data set, from scratch or fine-tuned."""

    kind: Literal["reference"]
    model: Literal[REFERENCES]  # type: ignore[valid-type]
    pretrained: bool = Field(False, description="Starts from weights for another data set, as ImageNet.")
    weights: str | None = Field(
        None, max_length=500, description="Their file below the data root: a state dict, or safetensors."
    )
    download: bool = Field(False, description="Lets torchvision fetch its weights for ImageNet.")
    recipe: str | None = Field(
        None, description="By default that of the experiment, or `fine-tune` for a pretrained network."
    )
    overrides: dict[str, Any] = Field({}, description="Fields of the arm's own recipe to replace.")

    @model_validator(mode="after")
    def _one_source(self) -> "ReferenceArm":
        if self.pretrained and (self.weights is None) != self.download:
            raise ValueError("a pretrained network needs weights (a file) or download, one of both")
        if not self.pretrained and (self.weights is not None or self.download):
            raise ValueError("weights and download go with pretrained")
        if self.overrides and self.own_recipe is None:
            raise ValueError("overrides of an arm go with its recipe")
        return self

    @property
    def own_recipe(self) -> str | None:
        """The name of the arm's own recipe, if it has one."""
        return self.recipe or ("fine-tune" if self.pretrained else None)

    @property
    def source(self) -> dict[str, Any] | None:
        """The source of the weights, if it is pretrained."""
        if not self.pretrained:
            return None
        return {"download": True} if self.weights is None else {"weights": self.weights}

    @property
    def size(self) -> int:
        return 1

    def default_name(self, dataset_name: DatasetName) -> str:
        return f"{self.model} pretrained" if self.pretrained else str(self.model)

    def plan(self, planner: Planner[T]) -> T:
        return planner.reference(self)


Arm = Annotated[
    RandomArm | NearArm | BetweenArm | GenotypesArm | ProposalArm | ReferenceArm, Field(discriminator="kind")
]


class ExperimentIn(Labels):
    """Arms to compare on one data set, or on several for their trade-off."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "datasets": ["digits"],
                    "recipe": "quick",
                    "arms": [
                        {"kind": "random", "count": 5},
                        {"kind": "near", "dataset": "cifar10", "gamma": 0.1, "count": 5},
                        {"kind": "reference", "model": "resnet18"},
                    ],
                }
            ]
        },
    )

    dataset_ids: list[str] = Field(
        [], max_length=4, description="All arms are trained on each; by default that of the proposal."
    )
    proposal_id: str | None = Field(
        None, description="Its architectures are the first arm, and its data set and recipe the default."
    )
    latent_space_id: str | None = Field(
        None,
        description="Of arms that are generated; by default the newest trained one, else the ready space.",
    )
    recipe: str | None = Field(
        None,
        description="`quick`, `paper-small`, `paper-imagenet` or `fine-tune`; by default `paper-small` where "
        "a worker has a GPU, else `quick`.",
    )
    overrides: dict[str, Any] = Field({}, description="Fields of the recipe to replace.")
    seeds: Seeds = [2024]
    arms: list[Arm] = Field([], max_length=50)


class ArmOut(BaseModel):
    """An arm as it was asked for, and what it came to."""

    name: str
    request: dict[str, Any]
    start: StartOut | None = None
    genotype_ids: list[str]
    reference: str | None
    pretrained: dict[str, Any] | None = Field(
        None, description="The source of the weights that the reference starts from."
    )
    recipe: str | None = Field(None, description="The arm's own recipe, where it is not the experiment's.")
    search_hours: float | None = Field(
        description="Of the arm's own search: 0 for what is generated; `null` if it is not known."
    )
    note: str | None = None


class ExperimentOut(LabelsOut):
    """An experiment; `status` is that of its job."""

    model_config = ConfigDict(from_attributes=True)

    id: str
    job_id: str
    status: JobStatus
    progress: float
    dataset_ids: list[str]
    latent_space_id: str | None
    recipe: str
    settings: dict[str, Any] = Field(description="Every field of the recipe, as used.")
    seeds: list[int]
    arms: list[ArmOut]
    warnings: list[str] = Field(description="What was chosen or assumed for this request.")
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
    verdicts: str = Field("", description="The arm beside each of those before it, in words.")


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
    status: JobStatus
    items: list[TableRow]
    verdicts: list[VerdictOut] = Field(description="Every pair of arms on every data set.")
    failures: list[dict[str, Any]] = Field(description="Trainings that failed, with their problems.")
    front: list[FrontPoint] | None = Field(
        description="With two data sets: accuracy on one against the other."
    )
