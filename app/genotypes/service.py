"""Registering and finding genotypes."""

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Select, or_, select, update
from sqlalchemy.orm import Session

from app import database, naming, owners
from app.database import new_id, now, one_at_a_time
from app.datasets import service as datasets
from app.evaluations import service as evaluations
from app.evaluations.tables import Evaluation, EvaluationKind
from app.genotypes import ranking
from app.genotypes.schemas import Chosen, GenotypeIn, GenotypeOut, Library, LibrarySearch, Members
from app.genotypes.tables import Genotype, Origin
from app.naming import Share
from app.problems import InvalidRequest, NotFound
from models.datasets.sources import KNOWN_DATASETS
from models.genotypes import genotype as forms
from models.genotypes.published import PUBLISHED
from models.genotypes.search_space import SEARCH_SPACES, SearchSpace
from models.genotypes.size import count_macs, count_parameters
from models.genotypes.text import from_text

PREFIX = "gen"


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
    rows: dict[str, Genotype] = {}
    for start in range(0, len(ids), 1_000):
        part = ids[start : start + 1_000]
        rows.update((row.id, row) for row in session.scalars(select(Genotype).where(Genotype.id.in_(part))))
    seen = set()
    for position, genotype_id in enumerate(ids):
        if genotype_id not in rows:
            raise InvalidRequest.of(f"{field}[{position}]", f"there is no genotype {genotype_id!r}")
        if genotype_id in seen:
            raise InvalidRequest.of(f"{field}[{position}]", f"repeats genotype {genotype_id!r}")
        seen.add(genotype_id)
    return [rows[genotype_id] for genotype_id in ids]


def shown(session: Session, ids: Iterable[str | None]) -> dict[str, GenotypeOut]:
    """Genotypes by id as clients see them; an id that is not there, or not theirs to see, is left out."""
    query = select(Genotype).where(Genotype.id.in_({genotype_id for genotype_id in ids if genotype_id}))
    return {row.id: GenotypeOut.model_validate(row) for row in session.scalars(query)}


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
    """Registers all published genotypes with their papers' results, for everyone; what is there stays."""
    with owners.acting(None):
        return _register_published(session)


def _register_published(session: Session) -> list[Genotype]:
    one_at_a_time(session, "published genotypes")
    query = select(Genotype).where(Genotype.origin == Origin.PUBLISHED)
    registered = {row.name: row for row in session.scalars(query)}
    rows = []
    for published in PUBLISHED:
        if published.name not in registered:
            registered[published.name] = row = build(
                published.genotype,
                origin=Origin.PUBLISHED,
                name=published.name,
                dataset_id=datasets.ensure_facts(session, published.searched_on).id,
                source={"paper": published.paper},
            )
            session.add(row)
            session.flush()
            for reported in published.reported:
                evaluations.record(
                    session,
                    EvaluationKind.REPORTED,
                    datasets.ensure_facts(session, reported.dataset).id,
                    reported.test_accuracy,
                    search_space=row.search_space,
                    genotype_id=row.id,
                    recipe="paper",
                    test_top5=reported.test_top5,
                    parameters=round(reported.parameters * 1e6),
                )
        rows.append(registered[published.name])
    session.commit()
    return rows


def register_library(session: Session, library: Library) -> list[Genotype]:
    """The genotypes of a seed library with their search accuracies; those already there stay as they are.

    Raises:
        InvalidRequest: naming the first field at fault.
    """
    one_at_a_time(session, "seed library")
    rows = []
    for position, entry in enumerate(library.searches):
        field = f"searches[{position}]"
        name = f"{entry.dataset}-{library.recipe}-{library.device}-{entry.seed}"
        query = select(Genotype).where(Genotype.origin == Origin.SEARCHED, Genotype.name == name)
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
        origin=Origin.SEARCHED,
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
    evaluations.record(
        session,
        EvaluationKind.SEARCH,
        dataset_id,
        entry.search_accuracy,
        search_space=row.search_space,
        genotype_id=row.id,
        recipe=library.recipe,
        settings=library.settings,
        seed=entry.seed,
        train_seconds=3600 * entry.search_hours,
    )
    return row


def build(
    genotype: forms.Genotype,
    *,
    origin: Origin,
    source: dict[str, Any],
    name: str | None = None,
    dataset_id: str | None = None,
    continuous: forms.ContinuousGenotype | None = None,
) -> Genotype:
    """A row for a genotype, not yet added to a session."""
    space = genotype.space
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


def listing(wanted: Members) -> list[Select[*tuple[Any, ...]]]:
    """Genotypes by where they came from, their size, labels and best accuracy.

    With a data set, those searched or evaluated on it; `min_accuracy` is then of that data set.

    Returns:
        One query or several, each of which an index has in order; what is in any is in the list.
    """
    query = _described(wanted)
    if wanted.min_accuracy is not None:
        return [query.where(ranking.is_evaluated(wanted.dataset_id, wanted.min_accuracy))]
    if wanted.dataset_id is not None:
        searched = query.where(Genotype.dataset_id == wanted.dataset_id)
        return [searched, query.where(ranking.is_evaluated(wanted.dataset_id))]
    return [query]


def _described(wanted: Members) -> Select[*tuple[Any, ...]]:
    """The query for genotypes of a description, but for what was measured of them."""
    equal = {"search_space": wanted.search_space, "origin": wanted.origin, "name": wanted.name}
    query: Select[*tuple[Any, ...]] = select(Genotype).where(
        *(getattr(Genotype, name) == value for name, value in equal.items() if value is not None)
    )
    if wanted.min_parameters is not None:
        query = query.where(Genotype.parameters >= wanted.min_parameters)
    if wanted.max_parameters is not None:
        query = query.where(Genotype.parameters <= wanted.max_parameters)
    return naming.tagged(query, Genotype.labels, wanted.tag)


def chosen(session: Session, request: Chosen, most: int | None = None) -> list[Genotype]:
    """The genotypes that a request names or describes.

    Args:
        session: where to look.
        request: names ids, or describes members.
        most: so many at most.

    Raises:
        InvalidRequest: one is missing or named twice, none fits, or there are more.
    """
    if request.members is None and not request.genotype_ids:
        raise InvalidRequest.of("genotype_ids", "must be at least one, or members in their place")
    if request.members is None:
        rows = get_many(session, request.genotype_ids, "genotype_ids")
    else:
        rows = _members(session, request.members, most)
    if most is not None and len(rows) > most:
        field = "genotype_ids" if request.members is None else "members"
        raise InvalidRequest.of(field, f"must be at most {most}")
    return rows


def _members(session: Session, wanted: Members, most: int | None) -> list[Genotype]:
    query = _described(wanted)
    order: list[ColumnElement[Any]] = [Genotype.id.desc()]
    evaluated = ranking.is_evaluated(wanted.dataset_id, wanted.min_accuracy)
    if wanted.dataset_id is not None:
        datasets.get(session, wanted.dataset_id, "members.dataset_id")
        accuracy = ranking.accuracies_on(wanted.dataset_id)
        query = query.outerjoin(accuracy, accuracy.c.genotype_id == Genotype.id)
        order = [accuracy.c.accuracy.is_(None), accuracy.c.accuracy.desc(), *order]
        if wanted.min_accuracy is None:
            query = query.where(or_(Genotype.dataset_id == wanted.dataset_id, evaluated))
    if wanted.min_accuracy is not None:
        query = query.where(evaluated)
    limit = wanted.top or (None if most is None else most + 1)
    rows = list(session.scalars(query.order_by(*order).limit(limit)))
    if not rows:
        raise InvalidRequest.of("members", "no genotype is of this description")
    return rows


def share(session: Session, ids: Sequence[str]) -> None:
    """Lets every key see genotypes of the caller with their evaluations, not yet committed."""
    for table, column in ((Genotype, Genotype.id), (Evaluation, Evaluation.genotype_id)):
        session.execute(update(table).where(column.in_(ids)).values(owner=None))


def relabel(session: Session, genotype_id: str, request: Share) -> Genotype:
    """Changes name, note and tags, and who sees it: with its evaluations.

    Raises:
        NotFound: there is none.
    """
    row = get(session, genotype_id)
    if request.shared:
        share(session, [row.id])
    naming.relabel(session, row, request)
    return row


def delete(session: Session, genotype_id: str) -> None:
    """Removes a genotype with its reported evaluations.

    Raises:
        NotFound: there is none.
        Conflict: something needs it; the message says what.
    """
    row = get(session, genotype_id)
    for evaluation in evaluations.of_genotype(session, genotype_id):
        session.delete(evaluation)
    database.delete(session, row)
    session.commit()


def _register(session: Session, request: GenotypeIn, prefix: str) -> Genotype:
    space = space_of(request.search_space, f"{prefix}search_space")
    genotype, continuous = _parse(request, space, prefix)
    if request.dataset_id is not None:
        datasets.get(session, request.dataset_id, f"{prefix}dataset_id")
    row = build(
        genotype,
        origin=Origin.REGISTERED,
        source={},
        dataset_id=request.dataset_id,
        continuous=continuous,
    )
    row.name, row.note, row.labels = request.name, request.note, request.tags or None
    session.add(row)
    if request.evaluation is not None:
        datasets.get(session, request.evaluation.dataset_id, f"{prefix}evaluation.dataset_id")
        session.flush()
        evaluations.record(
            session,
            EvaluationKind.REPORTED,
            search_space=row.search_space,
            genotype_id=row.id,
            **request.evaluation.model_dump(),
        )
    return row


def _parse(
    request: GenotypeIn, space: SearchSpace, prefix: str
) -> tuple[forms.Genotype, forms.ContinuousGenotype | None]:
    try:
        if request.text is not None:
            return from_text(request.text, space), None
        if request.genotype is not None:
            return forms.from_dict(request.genotype, space), None
        assert request.continuous is not None
        continuous = forms.continuous_from_dict(request.continuous, space)
        return forms.discretise(continuous), continuous
    except forms.GenotypeError as error:
        form = next(name for name in ("text", "genotype", "continuous") if getattr(request, name) is not None)
        field = form if error.field == form else f"{form}.{error.field}"
        raise InvalidRequest.of(prefix + field, error.detail) from None
