"""Keeping evaluations and finding them."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.database import Base, new_id, now
from app.evaluations.tables import Evaluation, EvaluationKind
from app.problems import Conflict, NotFound

PREFIX = "ev"


def record(
    session: Session,
    kind: EvaluationKind,
    dataset_id: str,
    test_accuracy: float,
    *,
    search_space: str | None,
    **measured: Any,
) -> Evaluation:
    """Keeps one result of a genotype or of a reference network on a data set, not yet committed.

    Args:
        session: in which the genotype and the data set are written already.
        kind: how it was measured.
        dataset_id: on which data set.
        test_accuracy: percent, of the best epoch.
        search_space: of the genotype; `None` for a reference network.
        measured: other columns of `Evaluation`; what is left out is not known.
    """
    evaluation = Evaluation(
        id=new_id(PREFIX),
        kind=kind,
        dataset_id=dataset_id,
        test_accuracy=test_accuracy,
        search_space=search_space,
        created_at=now(),
        **measured,
    )
    session.add(evaluation)
    return evaluation


def get(session: Session, evaluation_id: str) -> Evaluation:
    """An evaluation by id.

    Raises:
        NotFound: there is none.
    """
    evaluation = session.get(Evaluation, evaluation_id)
    if evaluation is None:
        raise NotFound(f"there is no evaluation {evaluation_id!r}")
    return evaluation


def title(session: Session, evaluation: Evaluation) -> str:
    """What was measured, in names: the architecture, the data set and the recipe."""
    # this station knows neither of both; their names are all that is wanted of them
    genotypes, datasets = (Base.metadata.tables[name].c for name in ("genotypes", "datasets"))
    name = session.scalar(select(genotypes.name).where(genotypes.id == evaluation.genotype_id))
    dataset = session.scalar(select(datasets.name).where(datasets.id == evaluation.dataset_id))
    return f"{evaluation.reference or name or 'an architecture'} on {dataset}, recipe {evaluation.recipe!r}"


def delete(session: Session, evaluation_id: str) -> None:
    """Removes a result that was reported.

    Raises:
        NotFound: there is none.
        Conflict: it was measured here, and goes with what measured it.
    """
    evaluation = get(session, evaluation_id)
    if evaluation.kind is not EvaluationKind.REPORTED:
        owner = evaluation.training_id or evaluation.genotype_id
        raise Conflict(f"{evaluation_id} was measured here; it goes with {owner}")
    session.delete(evaluation)
    session.commit()


def of_genotype(session: Session, genotype_id: str) -> Sequence[Evaluation]:
    """A genotype's evaluations, newest first."""
    query = select(Evaluation).where(Evaluation.genotype_id == genotype_id)
    return session.scalars(query.order_by(Evaluation.id.desc())).all()


def of_training(session: Session, training_id: str) -> Evaluation | None:
    """The evaluation that a training measured; `None` if it has not ended well."""
    return session.scalars(select(Evaluation).where(Evaluation.training_id == training_id)).one_or_none()
