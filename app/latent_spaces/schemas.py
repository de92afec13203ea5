"""Latent spaces as clients send and see them."""

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from app.genotypes.schemas import Chosen
from app.genotypes.tables import Origin
from app.jobs.schemas import Seed
from app.naming import Labels, LabelsOut

Form = Literal["discrete", "continuous"]


class LatentSpaceIn(Labels, Chosen):
    """A latent space to train on chosen genotypes."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"members": {"origin": "published"}, "preset": "default"}]},
    )

    genotype_ids: list[str] = Field(
        [], description="The members by id or name; at least two, all of one search space."
    )
    preset: str = Field("default", description="`default`, `paper` or `paper-gcn`.")
    overrides: dict[str, Any] = Field({}, description="Fields of the preset to replace.")
    form: Form = Field(
        "discrete",
        description="`continuous` takes genotypes as their search left them, where they have that.",
    )
    seed: Seed = 2024


class LatentSpaceOut(LabelsOut):
    """A latent space; ready once its job has succeeded."""

    model_config = ConfigDict(from_attributes=True)

    id: str
    job_id: str | None = Field(description="The job that trained it; `null` for a space that ships.")
    shipped: bool = Field(
        description="Whether it came with the service; its members are then all searched, published and "
        "registered genotypes of its search space."
    )
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


class EncodeIn(Chosen):
    """Genotypes to encode, at most a thousand."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"genotypes": ["DARTS-V2"]}]})


class LatentOut(BaseModel):
    """The latent of one genotype."""

    genotype_id: str
    mu: list[list[float]] = Field(description="Nodes x latent dimension.")
    exact: bool = Field(description="Whether it decodes to the genotype itself.")


class LatentsOut(BaseModel):
    """Latents in the order of the request."""

    items: list[LatentOut]


class MapPoint(BaseModel):
    """One genotype on the map."""

    genotype_id: str
    name: str | None
    origin: Origin
    dataset: str | None = Field(description="On which it was searched.")
    x: float
    y: float
    parameters: int = Field(description="Of the network of 36 channels and 20 cells for CIFAR-10.")
    accuracy: float | None = Field(description="Percent, the best trained or reported on `accuracy_dataset`.")
    best_on: list[str] = Field(description="Data sets whose best point it is.")
    start_genotype_id: str | None = Field(description="The genotype near which it was generated.")
    operations: dict[str, float] = Field(description="The share of each operation among the edges.")


class DirectionOut(BaseModel):
    """One principal direction of a space, and what goes with it."""

    model_config = ConfigDict(from_attributes=True)

    explained_variance: float
    correlations: dict[str, float | None] = Field(
        description="Pearson's, with parameters, depth, the count of each operation, and accuracies."
    )


class MeaningOut(BaseModel):
    """The principal directions of a space and the properties that they go with."""

    members: int
    items: list[DirectionOut]


class MapOut(BaseModel):
    """The latents in two dimensions."""

    method: Literal["pca", "tsne"]
    explained_variance: list[float] | None = Field(description="The share of each axis, for `pca`.")
    silhouette: float | None = Field(
        description="Of the latents by data set, -1 to 1; `null` unless two have two points each."
    )
    accuracy_dataset: str | None = Field(description="The data set that accuracies are of, by name.")
    warnings: list[str] = Field([], description="How points were chosen where there are too many.")
    items: list[MapPoint]
