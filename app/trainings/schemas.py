"""Trainings and leaderboards as clients send and see them."""

from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import Query
from pydantic import BaseModel, ConfigDict, Field

from app.evaluations.schemas import EvaluationOut
from app.genotypes.schemas import Chosen, GenotypeOut
from app.jobs.schemas import Seeds


class TrainingIn(Chosen):
    """Genotypes to retrain on a data set, each once for each seed."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"dataset": "digits", "genotypes": ["DARTS-V2"], "recipe": "quick"}]},
    )

    dataset_id: str
    recipe: str | None = Field(
        None,
        description="`quick`, `paper-small`, `paper-imagenet` or `fine-tune`; by default `paper-small` where "
        "a worker has a GPU, else `quick`.",
    )
    overrides: dict[str, Any] = Field({}, description="Fields of the recipe to replace.")
    network: Literal["recipe", "source"] = Field(
        "recipe",
        description="What channels and cells are of: the recipe, or the network in each genotype's `source`, "
        "as a budget chose them for this data set.",
    )
    seeds: Seeds = [2024]
    arm: str | None = Field(
        None, min_length=1, max_length=100, description="A label that the leaderboard keeps."
    )


Expand = Annotated[
    str,
    Query(
        pattern=r"^(genotype|evaluation)?(,(genotype|evaluation))*$",
        description="What to answer with beside the ids: `genotype`, `evaluation`, or both with a comma.",
    ),
]


class TrainingOut(BaseModel):
    """A training; its result is its evaluation."""

    model_config = ConfigDict(from_attributes=True)

    id: str
    job_id: str
    genotype_id: str | None
    reference: str | None = Field(description="A network of torchvision's, where there is no genotype.")
    pretrained: dict[str, Any] | None = Field(
        description="The source of the weights that a reference started from; `null` for one from scratch."
    )
    dataset_id: str
    experiment_id: str | None
    recipe: str
    settings: dict[str, Any] = Field(description="Every field of the recipe, as used.")
    seed: int
    arm: str | None
    brief: bool = Field(description="Whether a campaign keeps it shorter than its recipe is.")
    history: list[dict[str, Any]] | None = Field(description="One entry an epoch, once it is over.")
    created_at: datetime
    genotype: GenotypeOut | None = Field(None, description="With `expand=genotype`.")
    evaluation: EvaluationOut | None = Field(None, description="With `expand=evaluation`, once it is over.")
