"""Registering and finding genotypes."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session

from app.database import new_id, now
from app.datasets import service as datasets
from app.genotypes.schemas import GenotypeIn, Library, LibrarySearch
from app.genotypes.tables import Genotype
from app.latent_spaces.tables import LatentMember
from app.problems import Conflict, InvalidRequest, NotFound
from app.searches.tables import Search
from app.trainings.tables import Evaluation, Training
from models import genotype as forms
from models.published import PUBLISHED
from models.search_space import SEARCH_SPACES, SearchSpace
from models.size import count_macs, count_parameters
from models.sources import KNOWN_DATASETS

PREFIX, EVALUATION_PREFIX = "gen", "ev"


def space_of(name: str, field: str = "search_space") -> SearchSpace:
    """A search space by name.

    Raises:
        InvalidRequest: there is none.
    """
    if name not in SEARCH_SPACES:
        raise InvalidRequest.of(
            field, f"unknown search space {name!r}; must be one of {', '.join(SEARCH_SPACES)}"
        )
    return SEARCH_SPACES[name]


def get(session: Session, genotype_id: str, field: str | None = None) -> Genotype:
    """A genotype by id.

    Raises:
        NotFound: there is none, and the id stands in the path (`field` is `None`).
        InvalidRequest: there is none, and the id stands in that field of the body.
    """
    row = session.get(Genotype, genotype_id)
    if row is None:
        text = f"there is no genotype {genotype_id!r}"
        raise NotFound(text) if field is None else InvalidRequest.of(field, text)
    return row


def get_many(session: Session, ids: Sequence[str], field: str) -> list[Genotype]:
    """Genotypes by id, in the order of the ids.

    Raises:
        InvalidRequest: one is missing or named twice, with its place.
    """
    found: dict[str, Genotype] = {}
    for first in range(0, len(ids), 1_000):
        part = ids[first : first + 1_000]
        found.update((row.id, row) for row in session.scalars(select(Genotype).where(Genotype.id.in_(part))))
    seen = set()
    for position, genotype_id in enumerate(ids):
        if genotype_id not in found:
            raise InvalidRequest.of(f"{field}[{position}]", f"there is no genotype {genotype_id!r}")
        if genotype_id in seen:
            raise InvalidRequest.of(f"{field}[{position}]", f"repeats genotype {genotype_id!r}")
        seen.add(genotype_id)
    return [found[genotype_id] for genotype_id in ids]


def discrete(row: Genotype) -> forms.Genotype:
    """A row's genotype in the form that `models` works on."""
    return forms.from_dict(row.genotype, SEARCH_SPACES[row.search_space])


def register(session: Session, requests: Sequence[GenotypeIn], batch: bool) -> list[Genotype]:
    """Registers genotypes and their evaluations, all or none.

    Raises:
        InvalidRequest: naming the first field at fault.
    """
    rows = []
    for position, request in enumerate(requests):
        prefix = f"items[{position}]." if batch else ""
        rows.append(_register(session, request, prefix))
    session.commit()
    return rows


def register_published(session: Session) -> list[Genotype]:
    """All published genotypes with what their papers report; those already there stay as they are."""
    there = {row.name: row for row in session.scalars(select(Genotype).where(Genotype.origin == "published"))}
    rows = []
    for published in PUBLISHED:
        if published.name not in there:
            there[published.name] = row = build(
                published.genotype,
                SEARCH_SPACES["darts"],
                origin="published",
                name=published.name,
                dataset_id=datasets.ensure_facts(session, published.searched_on).id,
                source={"paper": published.paper},
            )
            session.add(row)
            session.flush()
            for reported in published.reported:
                evaluation = Evaluation(
                    id=new_id(EVALUATION_PREFIX),
                    genotype_id=row.id,
                    dataset_id=datasets.ensure_facts(session, reported.dataset).id,
                    kind="reported",
                    recipe="paper",
                    test_accuracy=reported.test_accuracy,
                    test_top5=reported.test_top5,
                    parameters=round(reported.parameters * 1e6),
                    created_at=now(),
                )
                session.add(evaluation)
        rows.append(there[published.name])
    session.commit()
    return rows


def register_library(session: Session, library: Library) -> list[Genotype]:
    """The genotypes of a seed library with their search accuracies; those already there stay as they are.

    Raises:
        InvalidRequest: naming the first field at fault.
    """
    rows = []
    for position, entry in enumerate(library.searches):
        field = f"searches[{position}]"
        name = f"{entry.dataset}-{library.recipe}-{library.device}-{entry.seed}"
        query = select(Genotype).where(Genotype.origin == "searched", Genotype.name == name)
        row = session.scalars(query).one_or_none()
        if row is None:
            row = _from_library(session, library, entry, name, field)
        rows.append(row)
    session.commit()
    return rows


def _from_library(
    session: Session, library: Library, entry: LibrarySearch, name: str, field: str
) -> Genotype:
    space = space_of(entry.search_space, f"{field}.search_space")
    if entry.dataset not in KNOWN_DATASETS:
        raise InvalidRequest.of(f"{field}.dataset", f"must be one of {', '.join(KNOWN_DATASETS)}")
    dataset_id = datasets.ensure_facts(session, entry.dataset).id
    form = GenotypeIn(genotype=entry.genotype)
    genotype, _ = _parse(form, space, f"{field}.")
    weights = entry.continuous
    row = build(
        genotype,
        space,
        origin="searched",
        name=name,
        dataset_id=dataset_id,
        continuous=forms.continuous_from_dict(weights, space) if weights is not None else None,
        source={
            "library": f"{library.recipe} on {library.device}, {library.date}",
            "recipe": library.recipe,
            "settings": library.settings,
            "seed": entry.seed,
            "search_hours": entry.search_hours,
        },
    )
    session.add(row)
    session.flush()
    session.add(
        Evaluation(
            id=new_id(EVALUATION_PREFIX),
            genotype_id=row.id,
            dataset_id=dataset_id,
            kind="search",
            recipe=library.recipe,
            settings=library.settings,
            seed=entry.seed,
            test_accuracy=entry.search_accuracy,
            train_seconds=3600 * entry.search_hours,
            created_at=now(),
        )
    )
    return row


def build(
    genotype: forms.Genotype,
    space: SearchSpace,
    *,
    origin: str,
    source: dict[str, Any],
    name: str | None = None,
    dataset_id: str | None = None,
    continuous: forms.ContinuousGenotype | None = None,
) -> Genotype:
    """A row for a genotype, not yet added to a session."""
    tensor = forms.to_tensor([genotype], space)
    return Genotype(
        id=new_id(PREFIX),
        search_space=space.name,
        origin=origin,
        name=name,
        dataset_id=dataset_id,
        genotype=genotype.as_dict(),
        continuous=continuous.as_dict() if continuous is not None else None,
        digest=genotype.digest(),
        parameters=int(count_parameters(tensor, space)),
        macs=int(count_macs(tensor, space)),
        source=source,
        created_at=now(),
    )


def evaluations(session: Session, genotype_id: str) -> Sequence[Evaluation]:
    """A genotype's evaluations, newest first."""
    query = select(Evaluation).where(Evaluation.genotype_id == genotype_id)
    return session.scalars(query.order_by(Evaluation.id.desc())).all()


def listing(
    search_space: str | None,
    dataset_id: str | None,
    origin: str | None,
    min_accuracy: float | None,
    min_parameters: int | None,
    max_parameters: int | None,
) -> Select[*tuple[Any, ...]]:
    """Genotypes by where they came from, their size and their best accuracy.

    With a data set, those searched or evaluated on it; `min_accuracy` is then of that data set.
    """
    query = select(Genotype)
    evaluated = select(Evaluation.genotype_id).where(Evaluation.kind != "search")
    if search_space is not None:
        query = query.where(Genotype.search_space == search_space)
    if dataset_id is not None:
        evaluated = evaluated.where(Evaluation.dataset_id == dataset_id)
        query = query.where((Genotype.dataset_id == dataset_id) | Genotype.id.in_(evaluated))
    if origin is not None:
        query = query.where(Genotype.origin == origin)
    if min_accuracy is not None:
        best = evaluated.group_by(Evaluation.genotype_id).having(
            func.max(Evaluation.test_accuracy) >= min_accuracy
        )
        query = query.where(Genotype.id.in_(best))
    if min_parameters is not None:
        query = query.where(Genotype.parameters >= min_parameters)
    if max_parameters is not None:
        query = query.where(Genotype.parameters <= max_parameters)
    return query


def delete(session: Session, genotype_id: str) -> None:
    """Removes a genotype with its reported evaluations.

    Raises:
        NotFound: there is none.
        Conflict: a latent space, a search or a training needs it.
    """
    row = get(session, genotype_id)
    users = (
        (LatentMember.latent_space_id, LatentMember.genotype_id, "latent space"),
        (Search.id, Search.genotype_id, "search"),
        (Training.id, Training.genotype_id, "training"),
    )
    for user, key, what in users:
        needed_by = session.scalars(select(user).where(key == genotype_id).limit(1)).one_or_none()
        if needed_by is not None:
            raise Conflict(f"genotype {genotype_id} is needed by {what} {needed_by}")
    for evaluation in evaluations(session, genotype_id):
        session.delete(evaluation)
    session.flush()
    session.delete(row)
    session.commit()


def _register(session: Session, request: GenotypeIn, prefix: str) -> Genotype:
    space = space_of(request.search_space, f"{prefix}search_space")
    genotype, continuous = _parse(request, space, prefix)
    if request.dataset_id is not None:
        datasets.get(session, request.dataset_id, f"{prefix}dataset_id")
    row = build(
        genotype,
        space,
        origin="registered",
        source={},
        name=request.name,
        dataset_id=request.dataset_id,
        continuous=continuous,
    )
    session.add(row)
    if request.evaluation is not None:
        datasets.get(session, request.evaluation.dataset_id, f"{prefix}evaluation.dataset_id")
        session.flush()
        session.add(
            Evaluation(
                id=new_id(EVALUATION_PREFIX),
                genotype_id=row.id,
                kind="reported",
                created_at=now(),
                **request.evaluation.model_dump(),
            )
        )
    return row


def _parse(
    request: GenotypeIn, space: SearchSpace, prefix: str
) -> tuple[forms.Genotype, forms.ContinuousGenotype | None]:
    try:
        if request.text is not None:
            return forms.from_text(request.text, space), None
        if request.genotype is not None:
            return forms.from_dict(request.genotype, space), None
        assert request.continuous is not None
        continuous = forms.continuous_from_dict(request.continuous, space)
        return forms.discretise(continuous, space), continuous
    except forms.GenotypeError as error:
        form = next(name for name in ("text", "genotype", "continuous") if getattr(request, name) is not None)
        field = form if error.field == form else f"{form}.{error.field}"
        raise InvalidRequest.of(prefix + field, error.detail) from None
