"""`vgae-nas check`: whether all holds that must hold between jobs, their results, their events and files."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal, get_args

from sqlalchemy import ColumnElement, Select, exists, func, or_, select
from sqlalchemy.orm import aliased

from app.artifacts import Artifacts
from app.database import Database, now
from app.evaluations.tables import Evaluation
from app.genotypes.tables import Genotype
from app.jobs.tables import FINAL, Job, JobEvent, JobKind, JobStatus
from app.latent_spaces.tables import LatentSpace
from app.searches.tables import Search
from app.trainings.tables import Training
from app.upkeep import files

Trouble = Literal["lost", "applied_twice", "stuck", "events", "orphans"]
"""Kinds of findings: a succeeded job without its result or file, or with two; a job or parent that nothing
will end; events that do not tell what happened; files that nothing refers to."""

TROUBLES = get_args(Trouble)

LATE = 10
"""Leases after which a job is stuck that no sweeper has put back."""


@dataclass(frozen=True)
class Finding:
    """Something that must not be."""

    trouble: Trouble
    subject: str
    detail: str


def findings(
    database: Database, artifacts: Artifacts, lease_seconds: float, age: timedelta
) -> Iterator[Finding]:
    """All that is wrong.

    Args:
        database, artifacts: of the service.
        lease_seconds: of its workers.
        age: of a file that no row refers to, below which its writer may still be at work.
    """
    with database.session(reads_only=True) as session:
        for trouble, detail, query in _queries(lease_seconds):
            for subject in session.scalars(query):
                yield Finding(trouble, subject, detail)
        required = files.required(session)
    for key in sorted(required - {key for key, _ in artifacts.files()}):
        yield Finding("lost", key, "a row refers to this file, and it is not there")
    for key in files.orphans(database, artifacts, age):
        yield Finding("orphans", key, "nothing refers to this file")


def _queries(lease_seconds: float) -> Iterator[tuple[Trouble, str, Select[*tuple[Any, ...]]]]:
    """What to look for in the database: queries of ids, each with what is wrong with them."""

    def succeeded(kind: JobKind) -> ColumnElement[bool]:
        return (Job.status == JobStatus.SUCCEEDED) & (Job.kind == kind)

    found = select(Search.id).join(Job, Job.id == Search.job_id).where(succeeded(JobKind.SEARCH))
    yield "lost", "the search succeeded without a genotype", found.where(Search.genotype_id.is_(None))
    evaluated = exists().where(Evaluation.training_id == Training.id)
    trained = select(Training.id).join(Job, Job.id == Training.job_id).where(succeeded(JobKind.TRAIN))
    yield "lost", "the training succeeded without an evaluation", trained.where(~evaluated)
    fitted = select(LatentSpace.id).join(Job, Job.id == LatentSpace.job_id).where(succeeded(JobKind.FIT))
    yield (
        "lost",
        "the latent space's job succeeded, and it is not ready",
        fitted.where(LatentSpace.artifact_key.is_(None)),
    )
    search_id = Genotype.source["search_id"].as_string()
    twice = select(search_id).where(search_id.is_not(None)).group_by(search_id).having(func.count() > 1)
    yield "applied_twice", "the search has kept several genotypes", twice
    ends = func.count().filter(JobEvent.type == JobStatus.SUCCEEDED)
    retries = func.count().filter(JobEvent.type == "retried")
    ended = select(JobEvent.job_id).join(Job, Job.id == JobEvent.job_id)
    parts = aliased(Job)
    is_parent = exists().where(parts.parent_id == Job.id)
    yield (
        "applied_twice",
        "the job has succeeded several times",
        ended.where(~is_parent).group_by(JobEvent.job_id).having(ends > 1 + retries),
    )
    overdue = now() - timedelta(seconds=LATE * lease_seconds)
    running = select(Job.id).where(Job.status == JobStatus.RUNNING)
    yield (
        "stuck",
        "its lease ran out, and no sweeper has put it back",
        running.where(Job.lease_expires_at < overdue),
    )
    goes_on = exists().where(parts.parent_id == Job.id, parts.status.not_in(FINAL))
    yield (
        "stuck",
        "it is running without a worker or a part that is not over",
        running.where(Job.lease_token.is_(None), ~goes_on),
    )
    yield "stuck", "it is over, and a part of it is not", select(Job.id).where(Job.status.in_(FINAL), goes_on)
    numbered = select(Job.id).outerjoin(JobEvent, JobEvent.job_id == Job.id).group_by(Job.id, Job.event_count)
    yield (
        "events",
        "its events have gaps",
        numbered.having(
            or_(func.count(JobEvent.number) != Job.event_count, func.max(JobEvent.number) != Job.event_count)
        ),
    )
    last = select(Job.id).join(JobEvent, (JobEvent.job_id == Job.id) & (JobEvent.number == Job.event_count))
    yield (
        "events",
        "its last event is not what it ended in",
        last.where(Job.status.in_(FINAL), JobEvent.type != Job.status),
    )
