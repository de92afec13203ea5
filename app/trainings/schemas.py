"""Trainings and leaderboards as clients send and see them."""

from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

from app.genotypes.schemas import EvaluationOut, Origin

Seed = Annotated[int, Field(ge=0, le=2**31 - 1)]


class TrainingIn(BaseModel):
    """Genotypes to retrain on a data set, each once for each seed."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [{"dataset_id": "ds_…", "genotype_ids": ["gen_…"], "recipe": "quick"}]
        },
    )

    dataset_id: str
    genotype_ids: list[str] = Field(min_length=1)
    recipe: str = Field("paper-small", description="`paper-small` or `quick`.")
    overrides: dict[str, Any] = Field({}, description="Fields of the recipe to replace.")
    seeds: list[Seed] = Field([2024], min_length=1, max_length=100)
    arm: str | None = Field(
        None, min_length=1, max_length=100, description="A label that the leaderboard keeps."
    )

    @model_validator(mode="after")
    def _distinct(self) -> "TrainingIn":
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError("seeds must all differ")
        return self


class TrainingOut(BaseModel):
    """A training; its result is its evaluation."""

    model_config = ConfigDict(from_attributes=True)

    id: str
    job_id: str
    genotype_id: str
    dataset_id: str
    recipe: str
    settings: dict[str, Any] = Field(description="Every field of the recipe, as used.")
    seed: int
    arm: str | None
    history: list[dict[str, Any]] | None = Field(description="One entry an epoch, once it is over.")
    created_at: datetime


class LeaderboardRow(EvaluationOut):
    """An evaluation with its genotype's name and origin."""

    genotype_name: str | None
    origin: Origin
