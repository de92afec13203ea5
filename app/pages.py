"""Cursor pages: every list answers `{"items": […], "next_cursor": …}`."""

import base64
import json
from collections.abc import Sequence
from functools import lru_cache
from typing import Annotated, Any, Generic, TypeVar

from fastapi import Query
from pydantic import BaseModel, Field
from sqlalchemy import Select, and_, or_
from sqlalchemy.orm import InstrumentedAttribute, Session
from sqlalchemy.sql import ColumnElement

from app.problems import InvalidRequest

T = TypeVar("T")

Limit = Annotated[int, Query(ge=1, le=500, description="How many items at most.")]
Cursor = Annotated[str | None, Query(description="`next_cursor` of the page before.", max_length=500)]


class Page(BaseModel, Generic[T]):
    """A page of a list, with the cursor of the next page."""

    items: list[T]
    next_cursor: str | None = Field(None, description="`null` on the last page.")


def paginate(
    session: Session,
    query: Select[*tuple[Any, ...]] | Sequence[Select[*tuple[Any, ...]]],
    by: ColumnElement[Any] | InstrumentedAttribute[Any] | None,
    unique: ColumnElement[Any] | InstrumentedAttribute[Any],
    cursor: str | None,
    limit: int,
    *,
    descending: bool = True,
) -> tuple[list[Any], str | None]:
    """One page of a query's rows, and the cursor of the next.

    The cursor holds the last row's place in the order, so rows that come or go meanwhile neither
    repeat nor hide others.

    Args:
        session: where to ask.
        query: selects one entity, or an entity and more columns; of several, what is in any is in the list.
        by: what to sort by first, never null; `None` for `unique` alone.
        unique: sorts what is equal in `by`.
        cursor: of the page before, or `None`.
        limit: how many rows.
        descending: largest first.

    Raises:
        InvalidRequest: a cursor that this list did not give.
    """
    columns = [unique] if by is None else [by, unique]
    queries = [query] if isinstance(query, Select) else query
    place = None if cursor is None else _read(cursor, len(columns))
    found: dict[tuple[Any, ...], Any] = {}
    for one in queries:
        if place is not None:
            one = one.where(_after(columns, place, descending))
        rows = session.execute(_in_order(one, tuple(columns), descending, limit + 1)).all()
        found |= {tuple(row[-len(columns) :]): row for row in rows}
    rows = list(found.values())
    if len(queries) > 1:
        rows = [found[key] for key in sorted(found, reverse=descending)][: limit + 1]
    following = _write(list(rows[limit - 1][-len(columns) :])) if len(rows) > limit else None
    kept = [tuple(row[: -len(columns)]) for row in rows[:limit]]
    return [row[0] if len(row) == 1 else row for row in kept], following


@lru_cache
def _in_order(
    query: Select[*tuple[Any, ...]], columns: tuple[Any, ...], descending: bool, limit: int
) -> Select[*tuple[Any, ...]]:
    """The first rows of a query by its columns; of a query that is kept, a statement that is kept."""
    order = [column.desc() if descending else column.asc() for column in columns]
    return query.add_columns(*columns).order_by(*order).limit(limit)


def _after(columns: list[Any], values: list[Any], descending: bool) -> ColumnElement[bool]:
    first, value = columns[0], values[0]
    beyond: ColumnElement[bool] = first < value if descending else first > value
    if len(columns) == 1:
        return beyond
    return or_(beyond, and_(first == value, _after(columns[1:], values[1:], descending)))


def _write(values: list[Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(values).encode()).decode().rstrip("=")


def _read(cursor: str, count: int) -> list[Any]:
    try:
        values = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except ValueError:
        values = None
    if isinstance(values, list) and len(values) == count:
        *numbers, last = values
        # true is no number here, and a larger one is in no column
        if isinstance(last, str) and all(
            type(number) in (int, float) and abs(number) < 2**63 for number in numbers
        ):
            return values
    raise InvalidRequest.of("cursor", "must be the next_cursor of a page of this list, unchanged")
