"""Searches as clients send and see them."""

from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import Query
from pydantic import BaseModel, ConfigDict, Field

from app.genotypes.schemas import GenotypeOut
from app.jobs.schemas import Seeds
from app.naming import Body
from models.genotypes.search_space import DEFAULT_SPACE


class SearchIn(Body):
    """A search on a data set, once for each seed."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"dataset": "digits", "recipe": "quick", "seeds": [1, 2]}]},
    )

    dataset_id: str
    search_space: str = DEFAULT_SPACE
    method: Literal["pc-darts", "random"] = "pc-darts"
    recipe: str | None = Field(
        None,
        description="`quick` or `paper-small`; by default `paper-small` where a worker has a GPU.",
    )
    overrides: dict[str, Any] = Field({}, description="Fields of the recipe to replace.")
    seeds: Seeds = [2024]


Expand = Annotated[
    Literal["", "genotype"], Query(description="What to answer with beside its id: `genotype`, or nothing.")
]


class SearchOut(BaseModel):
    """A search, and what it found."""

    model_config = ConfigDict(from_attributes=True)

    id: str
    job_id: str
    dataset_id: str
    search_space: str
    method: str
    recipe: str
    settings: dict[str, Any] = Field(description="Every field of the recipe, as used.")
    seed: int
    genotype_id: str | None
    result: dict[str, Any] | None = Field(
        description="Epochs, alphas by epoch, skip connections, warnings, device and hours."
    )
    created_at: datetime
    genotype: GenotypeOut | None = Field(None, description="With `expand=genotype`, once it is over.")
