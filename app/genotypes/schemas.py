"""Genotypes as clients send and see them."""

from dataclasses import fields, replace
from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, model_validator

from app.evaluations.schemas import EvaluationIn, EvaluationOut, Percent
from app.genotypes.tables import Origin
from app.naming import Body, Labels, LabelsOut
from models.genotypes.network import StemChoice
from models.genotypes.search_space import DEFAULT_SPACE, SearchSpace
from models.genotypes.size import NetworkShape, standard_network

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
    "name": "my-cells",
}  # fmt: skip


class GenotypeIn(Labels):
    """A genotype in one of three forms, with an optional evaluation."""

    model_config = ConfigDict(json_schema_extra={"examples": [EXAMPLE]})

    search_space: str = DEFAULT_SPACE
    genotype: dict[str, Any] | None = Field(
        None, description="Each cell by its name, as [operation, node]: `normal` and `reduce` for darts."
    )
    text: str | None = Field(
        None,
        max_length=10_000,
        description="What its paper's code prints: `Genotype(normal=[…], …)` for darts, pasted from a log, a "
        "module or JSON; `|nor_conv_3x3~0|+|…|` or six digits for nas-bench-201.",
    )
    continuous: dict[str, Any] | None = Field(
        None,
        description="Weights of a search: each cell by edge and operation, and the edges', as `normal` and "
        "`normal_edges`. Operations are in the order of `GET /v1/search-spaces` (`none` first for darts), "
        "or in that of `operations`, their names, given beside.",
    )
    dataset_id: str | None = Field(None, description="The data set on which it was searched.")
    evaluation: EvaluationIn | None = None

    @model_validator(mode="after")
    def _one_form(self) -> "GenotypeIn":
        given = [name for name in ("genotype", "text", "continuous") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"give exactly one of genotype, text and continuous, not {len(given)}")
        return self


class Members(Body):
    """A choice of genotypes by what they are, in the place of a list of their ids."""

    search_space: str | None = None
    dataset_id: str | None = Field(None, description="Searched or evaluated on it.")
    origin: Origin | None = None
    min_accuracy: Percent | None = Field(None, description="Of the data set, if one is given.")
    min_parameters: int | None = Field(None, ge=0, le=2**62)
    max_parameters: int | None = Field(None, ge=0, le=2**62)
    name: str | None = Field(None, max_length=100)
    tag: str | None = Field(None, max_length=50)
    top: int | None = Field(
        None,
        ge=1,
        le=50_000,
        description="So many: with a data set the most accurate on it, else the newest. All by default.",
    )


class Chosen(Body):
    """Genotypes by their ids or names, or by what they are."""

    genotype_ids: list[str] = Field([], description="Ids or names.")
    members: Members | None = Field(None, description="A choice of genotypes, in the place of their ids.")

    @model_validator(mode="after")
    def _one_choice(self) -> "Chosen":
        if self.genotype_ids and self.members is not None:
            raise ValueError("give genotype_ids or members, not both")
        return self


class GenotypesIn(Body):
    """Several genotypes, registered together or not at all."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"items": [EXAMPLE]}]})

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


class GenotypeOut(LabelsOut):
    """A genotype and where it came from."""

    model_config = ConfigDict(from_attributes=True)

    id: str
    search_space: str
    origin: Origin
    dataset_id: str | None
    genotype: dict[str, Any]
    digest: str = Field(description="Equal exactly for equal genotypes.")
    parameters: int = Field(
        description="Of the network at which its search space's paper reports sizes, for CIFAR-10: "
        "36 channels and 20 cells for darts."
    )
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


class LeaderboardRow(EvaluationOut):
    """An evaluation with its genotype's name and origin."""

    genotype_name: str | None
    origin: Origin | Literal["reference"]
    pareto: bool = Field(
        description="Whether no other row of the selection is as accurate and as small, and better in one."
    )


class NetworkIn(Body):
    """The shape of a network; by default that at which its search space's paper reports sizes on CIFAR-10."""

    channels: int | None = Field(None, ge=2, le=512, description="36 for darts, 16 for nas-bench-201.")
    cells: int | None = Field(None, ge=1, le=40, description="20 for darts, 15 for nas-bench-201.")
    classes: int = Field(10, ge=2, le=100_000)
    image_channels: int = Field(3, ge=1, le=64)
    image_size: int = Field(32, ge=2, le=1024)
    stem: StemChoice = Field(
        "auto", description="Of the papers for small or for large images; `auto`: large from 96 pixels on."
    )

    def shape(self, space: SearchSpace) -> NetworkShape:
        """The shape for genotypes of a search space."""
        standard = standard_network(space)
        given = self.model_dump(include={field.name for field in fields(NetworkShape)})
        return replace(standard, **{name: value for name, value in given.items() if value is not None})


class SearchSpaceOut(BaseModel):
    """The operations and cell shape that genotypes are drawn from."""

    name: str
    operations: list[str]
    cells: list[str]
    inputs: int
    intermediates: int
    predecessors: int | Literal["all"] = Field(description="Edges kept into each node.")
    nodes: int
    edges_per_cell: int
    none: bool = Field(description="Whether `none` can be chosen.")
    join: str = Field(description="Whether the output concatenates nodes or sums edges.")
    output: str = Field(description="Whether the output is a node apart or the last that has edges.")
    network: str
    text: str = Field(description="How a genotype is written in a line.")
    gamma: float = Field(description="Of requests that name none.")


class SearchSpacesOut(BaseModel):
    """All search spaces."""

    items: list[SearchSpaceOut]
