"""The job kind `search`."""

from typing import Any

from sqlalchemy.orm import Session

from app.datasets import service as datasets
from app.searches import service as searches
from models.genotypes.genotype import Genotype
from models.genotypes.search_space import SEARCH_SPACES
from models.precision import doubts
from models.searches.search import METHODS, Search, SearchRecipe
from worker.runner import Finish, Run

SKIP_WARNING = 0.5
"""Share of a cell's edges that are skip connections above which the result warns."""


def run(run: Run) -> Finish:
    """Searches a genotype; every epoch of the result has the alphas of its end, every event its cells."""
    search, search_id = _build(run)
    trained = run.epochs(
        search,
        kept=lambda: {"alphas": _alphas(search)},
        told=lambda: {"genotype": search.genotype().as_dict()},
    )
    genotype, continuous = search.genotype(), search.continuous()
    result = {
        "epochs": trained.history,
        "search_hours": trained.seconds / 3600,
        "device": str(run.device),
        "threads": run.threads.chosen,
        "skip_connections": genotype.count("skip_connect"),
        "warnings": _warnings(genotype, search) + doubts(run.device, search.recipe.precision),
    }
    accuracy = None if continuous is None else trained.history[-1]["search_accuracy"]

    def finish(session: Session) -> tuple[dict[str, Any], dict[str, str]]:
        genotype_id = searches.finish(session, search_id, genotype, continuous, result, accuracy)
        summary = {key: value for key, value in result.items() if key != "epochs"}
        return {**summary, "genotype_id": genotype_id}, {"genotype": f"/v1/genotypes/{genotype_id}"}

    return finish


def _build(run: Run) -> tuple[Search, str]:
    with run.database.session(reads_only=True) as session:
        row = searches.get(session, run.params["search_id"])
        dataset = datasets.get(session, row.dataset_id)
    method = METHODS[row.method]
    images = datasets.load(dataset, run.settings, run.artifacts) if method.needs_images else None
    recipe = SearchRecipe(**row.settings)
    return method(images, SEARCH_SPACES[row.search_space], recipe, row.seed, run.device), row.id


def _alphas(search: Search) -> dict[str, Any] | None:
    continuous = search.continuous()
    return continuous.as_dict() if continuous is not None else None


def _warnings(genotype: Genotype, search: Search) -> list[str]:
    edges = len(search.space.kept)
    return [
        f"{skips} of the {edges} edges of the {cell} cell are skip connections; the search may have collapsed"
        for cell, skips in genotype.count("skip_connect").items()
        if skips / edges > SKIP_WARNING
    ]
