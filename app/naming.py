"""Names: what has an id can have a name, a note and tags, and the name stands wherever the id may."""

import json
import re
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from fastapi import Query
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator
from sqlalchemy import Select, String, cast, select
from sqlalchemy.orm import InstrumentedAttribute, Mapped, Session

from app import owners
from app.database import Base
from app.problems import Conflict, InvalidRequest

TABLES = {
    "dataset_id": "datasets",
    "dataset_ids": "datasets",
    "for_dataset": "datasets",
    "source_dataset_id": "datasets",
    "genotype_id": "genotypes",
    "genotype_ids": "genotypes",
    "latent_space_id": "latent_spaces",
    "experiment_id": "experiments",
    "campaign_id": "campaigns",
    "proposal_id": "proposals",
    "device_id": "devices",
    "beside": "genotypes",
}
"""What is named by a field, or by a parameter of a path or a query."""

SHORT = {
    "dataset": "dataset_id",
    "datasets": "dataset_ids",
    "source_dataset": "source_dataset_id",
    "genotype": "genotype_id",
    "genotypes": "genotype_ids",
    "latent_space": "latent_space_id",
    "space": "latent_space_id",
    "experiment": "experiment_id",
    "campaign": "campaign_id",
    "proposal": "proposal_id",
}
"""Other names of such fields, for people, who have no ids at hand."""

SOURCES = ("latent_spaces", "proposals")
"""What things are made from that are not shared with them."""

_ID = re.compile(r"[a-z]+_[0-9A-HJKMNP-TV-Z]{26}")

TagFilter = Annotated[str | None, Query(description="With this tag.", max_length=50)]

_AT_ONCE = 1_000
"""Names that one query looks up."""


def _no_id(name: str) -> str:
    if _ID.fullmatch(name):
        raise ValueError("must not look like an id")
    return name


Name = Annotated[
    str,
    Field(
        min_length=1,
        max_length=100,
        pattern=r"^[^\x00-\x1f\x7f/?#]+$",
        description="Stands wherever the id may; no control characters, '/', '?' or '#'.",
    ),
    AfterValidator(_no_id),
]
Note = Annotated[str, Field(max_length=2_000, description="For people.")]
Tag = Annotated[str, Field(pattern=r"^[\w.:@+-]{1,50}$", description="Letters, digits and `_.:@+-`.")]
Tags = Annotated[list[Tag], Field(max_length=20, description="Lists are filtered by them.")]


class Body(BaseModel):
    """The body of a request: unknown fields are refused, and ids may be given under their short names."""

    model_config = ConfigDict(extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _long(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        return {long_name(key, cls.model_fields, data): value for key, value in data.items()}


class Labels(Body):
    """What people call a thing."""

    name: Name | None = None
    note: Note | None = None
    tags: Tags = []


class Share(Body):
    """New labels, and whether it is shared; what is left out stays, and `null` takes it away."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"note": "the first try", "tags": ["tried"]}]})

    name: Name | None = None
    note: Note | None = None
    tags: Tags | None = None
    shared: Literal[True] | None = Field(
        None,
        description="Lets every key see it, for good, with what it consists of: a genotype's evaluations, a "
        "space's members, a proposal's data set and architectures, and an experiment's or campaign's "
        "trainings, once it is over, with their data sets and architectures.",
    )


class LabelsOut(BaseModel):
    """What people call a thing, and whether it is anybody's own."""

    name: str | None = None
    note: str | None = None
    tags: list[str] = []
    shared: bool = Field(True, description="Whether every key sees it, or its owner alone.")


class Labelled:
    """The columns of a table whose rows people can write on; `name` is the table's own."""

    note: Mapped[str | None]
    labels: Mapped[list[Any] | None]
    """The tags; null for none, so that an index holds what has some."""

    @property
    def tags(self) -> list[str]:
        """The tags, in the order given."""
        return list(self.labels or [])

    @property
    def shared(self) -> bool:
        """Whether every key sees it."""
        owner: str | None = self.owner  # type: ignore[attr-defined]
        return owner is None


def long_name(key: str, known: Any, given: Any) -> str:
    """The name of a field or parameter that was given under a short one, where that is not known itself."""
    full = SHORT.get(key)
    if key in known or full is None or full not in known or full in given:
        return key
    return full


def labelled(session: Session, kind: type[Base], request: Labels) -> dict[str, Any]:
    """The columns of a new row that hold what people call it.

    Raises:
        Conflict: another row of the table has the name.
    """
    _require_free(session, kind, request.name)
    return {"name": request.name, "note": request.note, "labels": request.tags or None}


def relabel(session: Session, row: Any, request: BaseModel) -> None:
    """Changes name, note and tags to what a request says of them, committed.

    Raises:
        Conflict: another row of the table has the name.
    """
    for field in request.model_fields_set - {"shared"}:
        value = getattr(request, field) or None
        if field == "name" and value != row.name:
            _require_free(session, type(row), value)
        setattr(row, "labels" if field == "tags" else field, value)
    if getattr(request, "shared", None):
        row.owner = None
    session.commit()


def require_shared(session: Session, row: Base) -> None:
    """Raises `Conflict` where only its owner sees the latent space or proposal that a row was made from."""
    for key in row.__table__.foreign_keys:
        table, source = key.column.table, getattr(row, key.parent.name)
        if table.name not in SOURCES or source is None:
            continue
        if session.scalar(select(table.c.owner).where(table.c.id == source)) is not None:
            raise Conflict(f"{source} of the {table.name.replace('_', ' ')} is your own; share it first")


def _require_free(session: Session, kind: type[Base], name: str | None) -> None:
    columns = kind.__table__.c
    if name is None or not columns.name.unique:
        return
    taken = session.scalar(select(columns.id).where(columns.name == name).limit(1))  # of any owner
    if taken is not None:
        raise Conflict(f"the name {name!r} is taken by {taken}; choose another")


def tagged(
    query: Select[*tuple[Any, ...]], labels: InstrumentedAttribute[Any], tag: str | None
) -> Select[*tuple[Any, ...]]:
    """The rows of a query that have a tag; all without one."""
    if tag is None:
        return query
    held = cast(labels, String).contains(json.dumps(tag, ensure_ascii=False), autoescape=True)
    return query.where(labels.is_not(None), held)


@dataclass(frozen=True)
class _Place:
    """Where a value stands that may be a name.

    Args:
        value: that stands there.
        table: of what it names.
        field: of the request, in words.
        put: writes the id in its place.
    """

    value: str
    table: str
    field: str
    put: Callable[[str], None]


def resolve(
    arguments: MutableMapping[str, Any], session: Callable[[], AbstractContextManager[Session]]
) -> None:
    """Puts ids in the place of names, in parameters and in the bodies of requests.

    What is no name of anything stays as it is: whoever looks for it as an id says that there is none.

    Args:
        arguments: of an endpoint, by parameter.
        session: opens one; called only where there are names.

    Raises:
        InvalidRequest: a name that several things have.
    """
    places = [place for place in _places(arguments) if not _ID.fullmatch(place.value)]
    if not places:
        return
    with session() as opened:
        for table in sorted({place.table for place in places}):
            _put(opened, table, [place for place in places if place.table == table])


def _put(session: Session, table: str, places: list[_Place]) -> None:
    columns = Base.metadata.tables[table].c
    names, key_id = sorted({place.value for place in places}), session.info.get(owners.SEES)
    found: dict[str, list[str]] = {}
    for start in range(0, len(names), _AT_ONCE):
        query = select(columns.name, columns.id).where(columns.name.in_(names[start : start + _AT_ONCE]))
        if key_id is not None:
            query = query.where(owners.is_seen(columns.owner, key_id))
        for name, row_id in session.execute(query.order_by(columns.id)):
            found.setdefault(name, []).append(row_id)
    for place in places:
        ids = found.get(place.value, [])
        if len(ids) > 1:
            shown = ", ".join(ids[:3])
            raise InvalidRequest.of(
                place.field, f"{len(ids)} have the name {place.value!r}; give an id, as one of {shown}"
            )
        if ids:
            place.put(ids[0])


def _places(values: MutableMapping[str, Any]) -> Iterator[_Place]:
    """Everything in a mapping, and in the models that it holds, that may be a name."""
    for key, value in values.items():
        yield from _at(key, value, key, values.__setitem__)


def _at(key: str, value: Any, field: str, put: Callable[[str, Any], None]) -> Iterator[_Place]:
    if isinstance(value, str):
        if key in TABLES:
            yield _Place(value, TABLES[key], field, lambda found: put(key, found))
    elif isinstance(value, Body):
        for name in value.model_fields_set:
            place = name if field == "body" else f"{field}.{name}"
            yield from _at(name, getattr(value, name), place, _setter(value))
    elif isinstance(value, list):
        for position, item in enumerate(value):
            if isinstance(item, str) and key not in TABLES:
                return  # a list of words
            yield from _at(key, item, f"{field}[{position}]", _writer(value, position))


def _setter(model: BaseModel) -> Callable[[str, Any], None]:
    return lambda name, found: setattr(model, name, found)


def _writer(items: list[Any], position: int) -> Callable[[str, Any], None]:
    return lambda _name, found: items.__setitem__(position, found)
