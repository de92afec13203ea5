"""Starting searches and keeping what they find."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from app import database
from app.database import new_id, now
from app.datasets import service as datasets
from app.evaluations import service as evaluations
from app.evaluations.tables import EvaluationKind
from app.genotypes import service as genotypes
from app.genotypes.tables import Origin
from app.jobs import lengths, parents, workers
from app.jobs import service as jobs
from app.jobs.tables import Job, JobKind
from app.overrides import choose
from app.problems import InvalidRequest, NotFound
from app.searches.schemas import SearchIn, SearchOut
from app.searches.tables import Search
from app.settings import Settings
from models.datasets.data import DataError
from models.genotypes.genotype import ContinuousGenotype, Genotype
from models.searches.limits import LimitError
from models.searches.search import RECIPES, require_searchable

PREFIX = "se"


def start(session: Session, request: SearchIn, settings: Settings) -> list[Job]:
    """One search and one job for each seed.

    Raises:
        InvalidRequest: an unknown data set, space or recipe, or a data set that does not suit.
    """
    dataset = datasets.get(session, request.dataset_id, "dataset_id")
    space = genotypes.space_of(request.search_space)
    choice = choose(RECIPES, request, workers.has_gpu(session, settings))
    recipe, warnings = choice.recipe, list(choice.warnings)
    if request.method != "random" and recipe.epochs <= recipe.warmup_epochs:
        warnings.append(
            f"all {recipe.epochs} epochs are warm-up, in which no operation is chosen: what it finds is as "
            f"good as random; take more than {recipe.warmup_epochs} epochs"
        )
    try:
        recipe.limits.require_possible(space)
    except LimitError as error:
        raise InvalidRequest.of("overrides.max_params", str(error)) from None
    if request.method != "random":
        datasets.require_images(dataset, "dataset_id")
        try:
            require_searchable(dataset.image_size, dataset.classes, dataset.train_count, recipe)
        except DataError as error:
            raise InvalidRequest.of("dataset_id", f"{dataset.name!r} {error}") from None
    seconds = 0.0
    if request.method != "random":
        images = min(dataset.train_count, recipe.train_images or dataset.train_count)
        size = dataset.image_size
        seconds = lengths.of_network(recipe.epochs, images, size, recipe.channels, recipe.cells)
    started = []
    for seed in request.seeds:
        search_id = new_id(PREFIX)
        links = {"search": f"/v1/searches/{search_id}"}
        job = jobs.create(
            session, JobKind.SEARCH, {"search_id": search_id}, links, seconds=seconds, warnings=warnings
        )
        session.add(
            Search(
                id=search_id,
                job_id=job.id,
                dataset_id=dataset.id,
                search_space=space.name,
                method=request.method,
                recipe=choice.name,
                settings=asdict(recipe),
                seed=seed,
                created_at=now(),
            )
        )
        started.append(job)
    session.commit()
    return started


def get(session: Session, search_id: str) -> Search:
    """A search by id.

    Raises:
        NotFound: there is none.
    """
    search = session.get(Search, search_id)
    if search is None:
        raise NotFound(f"there is no search {search_id!r}")
    return search


def delete(session: Session, search_id: str) -> None:
    """Removes a search that is over, with its job; the genotype that it found stays.

    Raises:
        NotFound: there is none.
        Conflict: it is not over.
    """
    search = get(session, search_id)
    database.delete(session, search)
    parents.remove(session, search.job_id)
    session.commit()


def shown(session: Session, rows: Sequence[Search], expand: str) -> list[SearchOut]:
    """Searches as clients see them, with the genotype beside its id if `expand` names it."""
    found = genotypes.shown(session, [row.genotype_id for row in rows]) if expand else {}
    names = [name for name in SearchOut.model_fields if name != "genotype"]
    return [
        SearchOut(**{name: getattr(row, name) for name in names}, genotype=found.get(row.genotype_id or ""))
        for row in rows
    ]


def listing(dataset_id: str | None) -> Select[*tuple[Any, ...]]:
    """Searches, of one data set or all."""
    query = select(Search)
    return query if dataset_id is None else query.where(Search.dataset_id == dataset_id)


def finish(
    session: Session,
    search_id: str,
    genotype: Genotype,
    continuous: ContinuousGenotype | None,
    result: dict[str, Any],
    accuracy: float | None,
) -> str:
    """Keeps a finished search's genotype, not yet committed.

    Args:
        session: of the transaction that ends the job.
        search_id: the search.
        genotype, continuous: what it found.
        result: its curve and circumstances.
        accuracy: of the supernet on the architecture half, percent; `None` without a supernet.

    Returns:
        The new genotype's id.
    """
    search = get(session, search_id)
    row = genotypes.build(
        genotype,
        origin=Origin.RANDOM if search.method == "random" else Origin.SEARCHED,
        source={"search_id": search.id, "seed": search.seed, "recipe": search.recipe},
        dataset_id=search.dataset_id,
        continuous=continuous,
    )
    session.add(row)
    session.flush()
    search.genotype_id, search.result = row.id, result
    if accuracy is not None:
        evaluations.record(
            session,
            EvaluationKind.SEARCH,
            search.dataset_id,
            accuracy,
            search_space=row.search_space,
            genotype_id=row.id,
            recipe=search.recipe,
            settings=search.settings,
            seed=search.seed,
            train_seconds=3600 * result["search_hours"],
        )
    return row.id
