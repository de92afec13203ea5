"""The job kind `search`."""

import time
from typing import Any

from sqlalchemy.orm import Session

from app.datasets import service as datasets
from app.searches import service as searches
from models.genotype import Genotype
from models.search import METHODS, Search, SearchRecipe
from models.search_space import SEARCH_SPACES
from worker.runner import Finish, Run

SKIP_WARNING = 0.5
"""Share of a cell's edges that are skip connections above which the result warns."""


def run(run: Run) -> Finish:
    """Searches epoch by epoch with a checkpoint after each."""
    search, search_id = _build(run)
    history: list[dict[str, Any]] = []
    seconds = 0.0
    state = run.load_checkpoint()
    if state is not None:
        search.load_state_dict(state["search"])
        history, seconds = state["history"], state["seconds"]
    while search.epoch < search.epochs:
        began = time.monotonic()
        epoch = search.run_epoch(run.check)
        seconds += time.monotonic() - began
        history.append({**epoch.as_dict(), "alphas": _alphas(search)})
        run.report(
            epoch.epoch / search.epochs,
            f"epoch {epoch.epoch} of {search.epochs}",
            epoch.as_dict(),
            {"search": search.state_dict(), "history": history, "seconds": seconds},
        )
    genotype, continuous = search.genotype(), search.continuous()
    result = {
        "epochs": history,
        "search_hours": seconds / 3600,
        "device": str(run.device),
        "skip_connections": genotype.count("skip_connect"),
        "warnings": _warnings(genotype, search),
    }
    accuracy = None if continuous is None else history[-1]["search_accuracy"]

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
    edges = search.space.intermediates * search.space.predecessors
    return [
        f"{skips} of the {edges} edges of the {cell} cell are skip connections; the search may have collapsed"
        for cell, skips in genotype.count("skip_connect").items()
        if skips / edges > SKIP_WARNING
    ]
