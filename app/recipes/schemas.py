"""Recipes as clients see them."""

from typing import Any, Literal

from pydantic import BaseModel, Field

Kind = Literal["training", "search", "latent_space"]


class RecipeOut(BaseModel):
    """A named recipe; requests replace its fields by `overrides`."""

    kind: Kind = Field(description="What it is for.")
    name: str
    settings: dict[str, Any] = Field(description="Every field with its value.")
    minutes: float = Field(description="Rough, of one job on the data set, or of one fit.")
    measured: bool = Field(
        description="By the pace of jobs that this service has run; else minutes are those of two cores."
    )
    pace: float = Field(
        description="How many times as long as on two cores such jobs took here; it is in `minutes` already."
    )


class RecipesOut(BaseModel):
    """All recipes."""

    dataset: str = Field(description="Of whose images minutes are.")
    items: list[RecipeOut]
    fields: dict[Kind, dict[str, Any]] = Field(
        description="By kind what each field is and may be, as JSON schema; defaults are the paper's."
    )
    about: dict[Kind, str] = Field(description="By kind, what the fields mean.")
