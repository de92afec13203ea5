"""Figures that were drawn before: with many members, drawing them anew takes seconds."""

from collections.abc import Callable
from threading import Lock
from typing import Any, TypeVar

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app import owners
from app.evaluations.tables import Evaluation
from app.genotypes.tables import Genotype
from app.latent_spaces.opened import OpenSpace

KEPT = 8
"""The number of figures that are held in memory, the last used ones; a map can have megabytes."""

T = TypeVar("T")

_figures: dict[tuple[Any, ...], Any] = {}  # the last used last
_lock = Lock()


def remembered(session: Session, space: OpenSpace, what: tuple[Any, ...], make: Callable[[], T]) -> T:
    """A figure of a space, made anew only where it, its genotypes or any evaluation changed since.

    Args:
        session: reads what changed.
        space: of which the figure is.
        what: the figure and its parameters.
        make: makes it.
    """
    generated = select(func.count(), func.max(Genotype.id)).where(Genotype.latent_space_id == space.row.id)
    evaluated = select(func.count(Evaluation.id), func.max(Evaluation.id))
    versions = (tuple(session.execute(query).one()) for query in (generated, evaluated))
    key = (space.row.id, space.version, session.info.get(owners.SEES), *versions, *what)
    with _lock:
        figure = _figures.pop(key, None)
    figure = make() if figure is None else figure
    with _lock:
        _figures[key] = figure
        while len(_figures) > KEPT:
            del _figures[next(iter(_figures))]
    return figure
