"""Owners: what is made with a key is its own, and nobody else's, until it is shared.

A row without an owner is shared: what ships, what is published, and what was made without a key or with an
admin's. Every session that is opened while a key asks sees its own rows and the shared ones alone, whatever
it asks for.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from sqlalchemy import ColumnElement, event, or_
from sqlalchemy.orm import Mapped, ORMExecuteState, Session, mapped_column, with_loader_criteria

_caller: ContextVar[str | None] = ContextVar("the key that asks", default=None)

SEES = "caller"
"""Where a session keeps the key whose rows it sees."""


def caller() -> str | None:
    """The id of the key that asks; `None` for whoever sees everything."""
    return _caller.get()


@contextmanager
def acting(key_id: str | None) -> Iterator[None]:
    """What is done in the context is done for a key; `None` sees everything, and what it makes is shared."""
    token = _caller.set(key_id)
    try:
        yield
    finally:
        _caller.reset(token)


class Owned:
    """The column of a table whose rows have owners."""

    owner: Mapped[str | None] = mapped_column(default=caller, index=True)
    """The id of the key that made it; null for what is shared."""


def is_seen(owner: Any, key_id: str) -> ColumnElement[bool]:
    """The condition of rows that a key sees, of their column."""
    return or_(owner.is_(None), owner == key_id)


@event.listens_for(Session, "do_orm_execute")
def _see(state: ORMExecuteState) -> None:
    key_id = state.session.info.get(SEES)
    if key_id is not None and not state.is_column_load and not state.is_relationship_load:
        state.statement = state.statement.options(
            with_loader_criteria(Owned, lambda table: is_seen(table.owner, key_id), include_aliases=True)
        )
