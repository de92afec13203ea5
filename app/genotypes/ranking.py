"""Genotypes by their evaluations: a data set's best point and leaderboard, and best accuracies."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from sqlalchemy import ColumnElement, Select, Subquery, bindparam, exists, func, select, union_all
from sqlalchemy.orm import Session, aliased

from app.datasets import service as datasets
from app.datasets.tables import Dataset
from app.evaluations.tables import COMPARABLE, Evaluation, EvaluationKind
from app.genotypes.tables import Genotype


def best_point(session: Session, search_space: str, dataset_id: str) -> tuple[Genotype, Evaluation] | None:
    """The genotype with the highest evaluation on a data set, if it has any.

    A retrained or reported accuracy comes before a supernet's and a brief training's, which count only while
    there is no other.
    """
    others = tuple(kind for kind in EvaluationKind if kind not in COMPARABLE)
    at = {"search_space": search_space, "dataset_id": dataset_id}
    found = session.execute(_best(COMPARABLE), at).all() or session.execute(_best(others), at).all()
    if not found:
        return None
    genotype, evaluation = min(found, key=lambda row: (-row[1].test_accuracy, row[1].id))
    return genotype, evaluation


@cache
def _best(kinds: tuple[EvaluationKind, ...]) -> Select[Genotype, Evaluation]:
    """The highest evaluation of each of some kinds with its genotype, the first of equal ones.

    The parameters are `search_space` and `dataset_id`. Each kind is asked for alone, by an index that has the
    highest accuracy at its end, and under it the ids in order: however many are equal, one is read.
    """
    highest = []
    for kind in kinds:
        those = (
            Evaluation.search_space == bindparam("search_space"),
            Evaluation.dataset_id == bindparam("dataset_id"),
            Evaluation.kind == kind,
        )
        accuracy = select(func.max(Evaluation.test_accuracy)).where(*those).scalar_subquery()
        first = select(Evaluation.id).where(*those, Evaluation.test_accuracy == accuracy)
        highest.append(first.order_by(Evaluation.id).limit(1).subquery())
    ids = union_all(*(select(one.c.id) for one in highest))
    joined = select(Genotype, Evaluation).join(Evaluation, Evaluation.genotype_id == Genotype.id)
    return joined.where(Evaluation.id.in_(ids))


def datasets_with_points(session: Session, search_space: str) -> dict[str, bool]:
    """The data sets that have a best point in a search space, by id.

    Returns:
        for each whether it has a trained or reported accuracy; otherwise it has supernets' or brief ones.
    """

    def there(*conditions: ColumnElement[bool]) -> ColumnElement[bool]:
        return exists().where(
            Evaluation.search_space == search_space, Evaluation.dataset_id == Dataset.id, *conditions
        )

    trusted = there(Evaluation.kind.in_(COMPARABLE))
    query = select(Dataset.id, trusted).where(there()).order_by(Dataset.id)
    return {dataset_id: bool(has) for dataset_id, has in session.execute(query)}


def best_points(session: Session, search_space: str) -> dict[str, tuple[Genotype, Evaluation]]:
    """The best point of every data set that has one, by its id."""
    found = {
        each: best_point(session, search_space, each) for each in datasets_with_points(session, search_space)
    }
    return {dataset_id: best for dataset_id, best in found.items() if best is not None}


def shared_accuracies(
    session: Session, search_space: str, dataset_id: str, other_id: str
) -> list[tuple[float, float]]:
    """The best trained or reported accuracies of genotypes that were evaluated on both of two data sets."""

    def best(of: str) -> Any:
        return (
            select(Genotype.digest, func.max(Evaluation.test_accuracy).label("accuracy"))
            .join(Evaluation, Evaluation.genotype_id == Genotype.id)
            .where(*_comparable(search_space, of))
            .group_by(Genotype.digest)
            .subquery()
        )

    here, there = best(dataset_id), best(other_id)
    query = select(here.c.accuracy, there.c.accuracy).join(there, there.c.digest == here.c.digest)
    return [(ours, theirs) for ours, theirs in session.execute(query)]


def accuracies_on(dataset_id: str) -> Subquery:
    """The best trained or reported accuracy of each genotype on a data set, as `genotype_id, accuracy`."""
    return (
        select(Evaluation.genotype_id, func.max(Evaluation.test_accuracy).label("accuracy"))
        .where(Evaluation.dataset_id == dataset_id, Evaluation.kind.in_(COMPARABLE))
        .group_by(Evaluation.genotype_id)
        .subquery()
    )


@dataclass(frozen=True)
class Label:
    """A genotype with its accuracy on a data set, in percent, as a mean of its trainings and reports."""

    genotype_id: str
    accuracy: float


def labels(session: Session, search_space: str, dataset_id: str) -> list[Label]:
    """The genotypes with a trained or reported accuracy on a data set, each once."""
    query = (
        select(func.min(Genotype.id), func.avg(Evaluation.test_accuracy))
        .join(Evaluation, Evaluation.genotype_id == Genotype.id)
        .where(*_comparable(search_space, dataset_id))
        .group_by(Genotype.digest)
    )
    return [Label(genotype_id, float(accuracy)) for genotype_id, accuracy in session.execute(query)]


def accuracies(session: Session, ids: Sequence[str]) -> dict[str, dict[str, float]]:
    """The mean trained or reported accuracies of genotypes, by the data set's and the genotype's id."""
    query = (
        select(Evaluation.dataset_id, Evaluation.genotype_id, func.avg(Evaluation.test_accuracy))
        .where(Evaluation.kind.in_(COMPARABLE), Evaluation.genotype_id.in_(ids))
        .group_by(Evaluation.dataset_id, Evaluation.genotype_id)
        .order_by(Evaluation.dataset_id, Evaluation.genotype_id)
    )
    found: dict[str, dict[str, float]] = {}
    for dataset_id, genotype_id, accuracy in session.execute(query):
        found.setdefault(dataset_id, {})[str(genotype_id)] = float(accuracy)
    return found


def recipes(session: Session, search_space: str, dataset_id: str) -> Sequence[str | None]:
    """The recipes of the trained and reported accuracies on a data set, the most used first."""
    query = (
        select(Evaluation.recipe)
        .join(Genotype, Genotype.id == Evaluation.genotype_id)
        .where(*_comparable(search_space, dataset_id))
        .group_by(Evaluation.recipe)
        .order_by(func.count().desc(), Evaluation.recipe)
    )
    return session.scalars(query).all()


def version(session: Session, dataset_id: str) -> tuple[int, str | None]:
    """Differs when the evaluations on a data set do."""
    query = select(func.count(Evaluation.id), func.max(Evaluation.id))
    count, newest = session.execute(query.where(Evaluation.dataset_id == dataset_id)).one()
    return count, newest


def forms(session: Session, ids: Sequence[str]) -> dict[str, dict[str, Any]]:
    """The JSON forms of genotypes, by id."""
    query = select(Genotype.id, Genotype.genotype).where(Genotype.id.in_(ids))
    return dict(session.execute(query).all())


def _comparable(search_space: str, dataset_id: str) -> list[Any]:
    """The conditions of evaluations that say how accurate genotypes are: not those of supernets, nor of brief
    trainings."""
    return [
        Genotype.search_space == search_space,
        Evaluation.dataset_id == dataset_id,
        Evaluation.kind.in_(COMPARABLE),
    ]


def leaderboard(
    session: Session, dataset_id: str, origin: str | None, arm: str | None, recipe: str | None
) -> Select[*tuple[Any, ...]]:
    """A data set's evaluations with their genotypes; a supernet's own accuracies are not among them.

    The last column tells which are on the Pareto front of the selection: no other is at least as
    accurate and as small, and better in one of both.

    Raises:
        NotFound: there is no such data set.
    """
    datasets.get(session, dataset_id)
    query = (
        select(Evaluation, Genotype.name, Genotype.origin)
        .outerjoin(Genotype, Genotype.id == Evaluation.genotype_id)
        .where(Evaluation.dataset_id == dataset_id, Evaluation.kind.in_(COMPARABLE))
    )
    if origin is not None:
        query = query.where(
            Evaluation.reference.is_not(None) if origin == "reference" else Genotype.origin == origin
        )
    if arm is not None:
        query = query.where(Evaluation.arm == arm)
    if recipe is not None:
        query = query.where(Evaluation.recipe == recipe)
    ids = query.with_only_columns(Evaluation.id, Evaluation.test_accuracy, Evaluation.parameters).subquery()
    better = aliased(ids)
    beaten = exists().where(
        better.c.test_accuracy >= Evaluation.test_accuracy,
        better.c.parameters <= Evaluation.parameters,
        (better.c.test_accuracy > Evaluation.test_accuracy) | (better.c.parameters < Evaluation.parameters),
    )
    return query.add_columns((Evaluation.parameters.is_not(None) & ~beaten).label("pareto"))


SORTS: dict[str, tuple[Any, bool]] = {
    "accuracy": (Evaluation.test_accuracy, True),
    "top5": (func.coalesce(Evaluation.test_top5, 0.0), True),
    "selected": (func.coalesce(Evaluation.selected_test_accuracy, 0.0), True),
    "balanced_accuracy": (func.coalesce(Evaluation.balanced_accuracy, 0.0), True),
    "macro_f1": (func.coalesce(Evaluation.macro_f1, 0.0), True),
    "parameters": (func.coalesce(Evaluation.parameters, 2**62), False),
    "macs": (func.coalesce(Evaluation.macs, 2**62), False),
    "train_seconds": (func.coalesce(Evaluation.train_seconds, 1e18), False),
}
"""The orders of a leaderboard: a column, and whether its largest value comes first; unknowns come last."""


def is_evaluated(dataset_id: str | None, min_accuracy: float | None = None) -> ColumnElement[bool]:
    """The condition of genotypes with a trained or reported evaluation.

    Args:
        dataset_id: on which data set; `None` for any.
        min_accuracy: the least that the best of these evaluations must have, in percent.
    """
    conditions = [Evaluation.genotype_id == Genotype.id, Evaluation.kind.in_(COMPARABLE)]
    if dataset_id is not None:
        conditions.append(Evaluation.dataset_id == dataset_id)
    if min_accuracy is not None:
        conditions.append(Evaluation.test_accuracy >= min_accuracy)
    return exists().where(*conditions)


def accuracies_by_dataset(session: Session, ids: Sequence[str]) -> dict[str, dict[str, float]]:
    """The best trained or reported accuracy of genotypes, by the data set's name and the genotype's id."""
    query = (
        select(Dataset.name, Evaluation.genotype_id, func.max(Evaluation.test_accuracy))
        .join(Dataset, Dataset.id == Evaluation.dataset_id)
        .where(Evaluation.kind.in_(COMPARABLE), Evaluation.genotype_id.in_(ids))
        .group_by(Dataset.name, Evaluation.genotype_id)
    )
    best: dict[str, dict[str, float]] = {}
    for dataset, genotype_id, accuracy in session.execute(query):
        best.setdefault(dataset, {})[str(genotype_id)] = accuracy
    return best
