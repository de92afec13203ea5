"""Proposals as clients send and see them."""

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from app.generation.schemas import ConstraintsIn, NearestOut, PointOut, RankedOut, RankIn, StepIn
from app.jobs.schemas import Seed
from app.naming import Labels, LabelsOut
from models.genotypes.search_space import DEFAULT_SPACE


class ProposalIn(Labels, StepIn):
    """A data set for which architectures are wanted; all else has a default, which the answer names."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"dataset": "digits", "count": 5, "limits": {"parameters": {"max": 500_000}}}]
        },
    )

    dataset_id: str = Field(description="Its id or name; `dataset` is the same.")
    count: int = Field(5, ge=1, le=100)
    limits: ConstraintsIn | None = Field(
        None,
        description="On sizes of the network for this data set's images, with the recipe's channels and "
        "cells, or with a budget of `network` the largest that fit.",
    )
    search_space: str = Field(DEFAULT_SPACE, description="Of the space, if none is named.")
    latent_space_id: str | None = Field(
        None, description="By default the newest trained one, or the ready space; `space` is the same."
    )
    rank: RankIn | None = None
    recipe: str | None = Field(
        None,
        description="Whose channels and cells networks have: `quick`, `paper-small` or `paper-imagenet`. By "
        "default `paper-small` where a worker has a GPU, else `quick`.",
    )
    overrides: dict[str, Any] = Field({}, description="Fields of the recipe to replace.")
    seed: Seed = 0


class NetworkOut(BaseModel):
    """A network with its exact size."""

    channels: int
    cells: int
    classes: int
    image_channels: int
    image_size: int
    stem: str
    parameters: int
    macs: int = Field(description="Multiply-accumulates of one image.")
    latency_ms: float | None = Field(None, description="Of one image, on the device of the limits.")


class StandardOut(BaseModel):
    """The size of the network at which papers report."""

    parameters: int
    macs: int | None


class ProposedOut(BaseModel):
    """One proposed architecture."""

    genotype_id: str
    genotype: dict[str, Any]
    digest: str
    network: NetworkOut = Field(description="For the images of the data set, with the recipe.")
    standard: StandardOut = Field(
        description="At its search space's standard: 36 channels, 20 cells for darts."
    )
    edits: int | None = Field(description="Edges in which it differs from the start.")
    predicted_accuracy: float | None = Field(description="Percent, where it was asked for and may be told.")
    predicted_deviation: float | None
    estimated_seconds: float = Field(description="Of its training with the recipe, roughly, on two cores.")
    links: dict[str, str] = Field(description="Its picture, module and ONNX file, for this data set.")


class ChosenStartOut(BaseModel):
    """Where the architectures come from, and why."""

    kind: Literal["own", "nearest"] = Field(
        description="Whether the best point is of the data set itself, or of the nearest known one."
    )
    reason: str
    point: PointOut = Field(description="The best point.")
    genotype_name: str | None
    dataset: str = Field(description="Of the best point, by name.")
    nearest: NearestOut | None = Field(None, description="The nearest known data set, with its distance.")


class ProposalOut(LabelsOut):
    """Architectures for a data set, and everything that was chosen to come to them."""

    id: str
    dataset_id: str
    dataset: str
    latent_space_id: str
    search_space: str
    recipe: str
    settings: dict[str, Any] = Field(description="Every field of the recipe, as used.")
    limits: dict[str, Any] | None
    gamma: float | None
    deviations: float | None
    seed: int
    start: ChosenStartOut
    ranked: RankedOut | None
    warnings: list[str] = Field(description="What was chosen, assumed or doubted.")
    items: list[ProposedOut]
    links: dict[str, str]
    created_at: datetime
