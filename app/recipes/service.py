"""All recipes with what they may be changed to, and how long they take."""

import inspect
from dataclasses import asdict
from typing import Any

from pydantic import TypeAdapter
from sqlalchemy.orm import Session

from app.datasets import service as datasets
from app.datasets.tables import Dataset
from app.jobs import lengths, queries
from app.jobs.tables import JobKind
from app.recipes.schemas import Kind, RecipeOut, RecipesOut
from models.latent_spaces.vgae import PRESETS, LatentRecipe
from models.searches.search import RECIPES as SEARCHES
from models.searches.search import SearchRecipe
from models.trainings.retrain import RECIPES as TRAININGS
from models.trainings.retrain import TrainRecipe

_KINDS: dict[Kind, tuple[type[Any], dict[str, Any], JobKind]] = {
    "training": (TrainRecipe, TRAININGS, JobKind.TRAIN),
    "search": (SearchRecipe, SEARCHES, JobKind.SEARCH),
    "latent_space": (LatentRecipe, PRESETS, JobKind.FIT),
}


def every(session: Session, dataset: Dataset) -> RecipesOut:
    """Every recipe, with the minutes that it takes on a data set."""
    items = []
    for kind, (_, recipes, job_kind) in _KINDS.items():
        pace = queries.pace(session, job_kind)
        items += [
            RecipeOut(
                kind=kind,
                name=name,
                settings=asdict(recipe),
                minutes=round(_seconds(recipe, dataset) * (pace or 1.0) / 60, 2),
                measured=pace is not None,
                pace=pace or 1.0,
            )
            for name, recipe in recipes.items()
        ]
    return RecipesOut(
        dataset=dataset.name,
        items=items,
        fields={kind: TypeAdapter(form).json_schema()["properties"] for kind, (form, _, _) in _KINDS.items()},
        about={kind: inspect.getdoc(form) or "" for kind, (form, _, _) in _KINDS.items()},
    )


def dataset_of(session: Session, dataset_id: str | None) -> Dataset:
    """A data set by id, by default CIFAR-10, of which the papers' recipes are.

    Raises:
        InvalidRequest: there is no such data set.
    """
    if dataset_id is None:
        return datasets.facts("cifar10")
    return datasets.get(session, dataset_id, "dataset_id")


def _seconds(recipe: Any, dataset: Dataset) -> float:
    if isinstance(recipe, LatentRecipe):
        return lengths.of_fit(recipe.max_epochs)
    images = min(dataset.train_count, recipe.train_images or dataset.train_count)
    return lengths.of_network(recipe.epochs, images, dataset.image_size, recipe.channels, recipe.cells)
