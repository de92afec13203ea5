"""Genotypes as clients send and see them."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, model_validator

Origin = Literal["searched", "published", "registered", "generated", "random"]
EvaluationKind = Literal["trained", "reported", "search"]
Percent = Annotated[float, Field(ge=0, le=100, description="Percent.")]

EXAMPLE: dict[str, JsonValue] = {
    "genotype": {
        "normal": [
            ["sep_conv_3x3", 0], ["sep_conv_3x3", 1], ["sep_conv_3x3", 0], ["sep_conv_3x3", 1],
            ["sep_conv_3x3", 1], ["skip_connect", 0], ["skip_connect", 0], ["dil_conv_3x3", 2],
        ],
        "reduce": [
            ["max_pool_3x3", 0], ["max_pool_3x3", 1], ["skip_connect", 2], ["max_pool_3x3", 1],
            ["max_pool_3x3", 0], ["skip_connect", 2], ["skip_connect", 2], ["max_pool_3x3", 1],
        ],
    },
    "name": "DARTS-V2",
}  # fmt: skip


class EvaluationIn(BaseModel):
    """A result that was measured elsewhere."""

    model_config = ConfigDict(extra="forbid")

    dataset_id: str
    test_accuracy: Percent
    test_top5: Percent | None = None
    recipe: str | None = Field(None, max_length=200)
    seed: int | None = Field(None, ge=0, le=2**63 - 1)
    parameters: int | None = Field(None, ge=0, le=2**62)


class GenotypeIn(BaseModel):
    """A genotype in one of three forms, with an optional evaluation."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [EXAMPLE]})

    search_space: str = "darts"
    genotype: dict[str, Any] | None = Field(
        None, description="DARTS JSON: normal and reduce as [operation, node]."
    )
    text: str | None = Field(None, max_length=10_000, description="DARTS text: Genotype(normal=[…], …).")
    continuous: dict[str, Any] | None = Field(None, description="Operation and edge weights of a search.")
    name: str | None = Field(None, min_length=1, max_length=100)
    dataset_id: str | None = Field(None, description="The data set on which it was searched.")
    evaluation: EvaluationIn | None = None

    @model_validator(mode="after")
    def _one_form(self) -> "GenotypeIn":
        given = [name for name in ("genotype", "text", "continuous") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"give exactly one of genotype, text and continuous, not {len(given)}")
        return self


class GenotypesIn(BaseModel):
    """Several genotypes, registered together or not at all."""

    model_config = ConfigDict(extra="forbid")

    items: list[GenotypeIn] = Field(min_length=1, max_length=1_000)


class LibrarySearch(BaseModel):
    """One finished search of a seed library."""

    dataset: str = Field(description="A known data set by name.")
    seed: int
    search_space: str
    search_accuracy: Percent
    search_hours: float
    genotype: dict[str, Any]
    continuous: dict[str, Any] | None = None


class Library(BaseModel):
    """A file of finished searches, as `bench/search_library.py` writes it."""

    recipe: str
    settings: dict[str, Any]
    device: str
    date: str
    searches: list[LibrarySearch] = Field(min_length=1)


class EvaluationOut(BaseModel):
    """One result of a genotype on a data set."""

    model_config = ConfigDict(from_attributes=True)

    id: str
    genotype_id: str | None
    reference: str | None = Field(description="A network of torchvision's, where there is no genotype.")
    dataset_id: str
    kind: EvaluationKind = Field(
        description="`trained` here, `reported` by someone else, or `search`: the supernet's own accuracy."
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
    parameters: int | None
    macs: int | None
    train_seconds: float | None
    created_at: datetime


class GenotypeOut(BaseModel):
    """A genotype and where it came from."""

    model_config = ConfigDict(from_attributes=True)

    id: str
    search_space: str
    origin: Origin
    name: str | None
    dataset_id: str | None
    genotype: dict[str, Any]
    digest: str = Field(description="Equal exactly for equal genotypes.")
    parameters: int = Field(description="Of the network of 36 channels and 20 cells for CIFAR-10.")
    macs: int | None = Field(description="Multiply-accumulates of one image through the same network.")
    source: dict[str, Any]
    created_at: datetime


class GenotypeFull(GenotypeOut):
    """A genotype with its text form, its continuous form if it has one, and its evaluations."""

    text: str
    continuous: dict[str, Any] | None
    evaluations: list[EvaluationOut]


class GenotypesOut(BaseModel):
    """The genotypes of one request, in its order."""

    items: list[GenotypeOut]


class NetworkIn(BaseModel):
    """The shape of a network; that of the DARTS papers on CIFAR-10 by default."""

    model_config = ConfigDict(extra="forbid")

    channels: int = Field(36, ge=2, le=512)
    cells: int = Field(20, ge=1, le=40)
    classes: int = Field(10, ge=2, le=100_000)
    image_channels: int = Field(3, ge=1, le=64)
    image_size: int = Field(32, ge=2, le=1024)


class ExportIn(NetworkIn):
    """The network to export: by its shape, or as a training left it."""

    training_id: str | None = Field(
        None, description="Takes shape and weights of this training; without it weights are fresh, of seed 0."
    )

    @model_validator(mode="after")
    def _shape_or_training(self) -> "ExportIn":
        if self.training_id is not None and len(self.model_fields_set) > 1:
            raise ValueError("give the shape of the network or a training_id, not both")
        return self
