"""Jobs and their events. The row is the truth; the broker only carries its id."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import ForeignKey, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from app.database import Base, OneOf
from app.owners import Owned


class JobStatus(StrEnum):
    """The status of a job."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_final(self) -> bool:
        """Whether the job is over; only a retry makes it go on."""
        return self not in (JobStatus.QUEUED, JobStatus.RUNNING)


FINAL = tuple(status for status in JobStatus if status.is_final)
"""The statuses of jobs that are over."""


class JobKind(StrEnum):
    """The kind of work that a job does."""

    SEARCH = "search"
    FIT = "fit"
    TRAIN = "train"
    EXPERIMENT = "experiment"
    EXPORT = "export"
    DISTANCES = "distances"
    CAMPAIGN = "campaign"
    ROUND = "round"
    """Chooses what a campaign trains next."""


@dataclass(frozen=True)
class Message:
    """What is sent for a queued job: its id, in the queue of its kind."""

    job_id: str
    kind: JobKind


class Job(Owned, Base):
    """One piece of background work."""

    __tablename__ = "jobs"
    __table_args__ = (
        Index("ix_jobs_status_queued_at", "status", "queued_at"),
        Index("ix_jobs_status_due_at_id", "status", "due_at", "id"),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    kind: Mapped[JobKind] = mapped_column(OneOf(JobKind), index=True)
    parent_id: Mapped[str | None] = mapped_column(ForeignKey("jobs.id"), index=True)
    """The job that this one is a part of, if it is."""
    status: Mapped[JobStatus] = mapped_column(OneOf(JobStatus))
    params: Mapped[dict[str, Any]]
    links: Mapped[dict[str, Any]]
    progress: Mapped[float] = mapped_column(default=0.0)
    step: Mapped[str] = mapped_column(default="")
    attempt: Mapped[int] = mapped_column(default=0)
    losses: Mapped[int] = mapped_column(default=0)
    """How often its worker was lost since its last checkpoint."""
    result: Mapped[dict[str, Any] | None]
    error: Mapped[dict[str, Any] | None]
    cancel_requested: Mapped[bool] = mapped_column(default=False)
    checkpoint_key: Mapped[str | None]
    event_count: Mapped[int] = mapped_column(default=0)
    lease_token: Mapped[str | None]
    lease_expires_at: Mapped[datetime | None] = mapped_column(index=True)
    eta_at: Mapped[datetime | None]
    """The time at which it will be over by its pace so far; null while that is not known."""
    warnings: Mapped[list[Any] | None]
    """Sentences on what was chosen or doubted when it was made; null for none."""
    request_id: Mapped[str | None]
    """The request that it was made for."""
    created_at: Mapped[datetime]
    due_at: Mapped[datetime]
    """The time by which it would be over if it ran alone; what is due first is run first."""
    queued_at: Mapped[datetime]
    """The time at which its message was last sent."""
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None] = mapped_column(index=True)

    @property
    def message(self) -> Message:
        """What is sent for it while it is queued."""
        return Message(self.id, self.kind)


class JobEvent(Base):
    """Something that happened in a job."""

    __tablename__ = "job_events"
    __table_args__ = (
        Index(
            "ix_job_events_untold",
            "at",
            postgresql_where=text("told IS FALSE"),
            sqlite_where=text("told IS FALSE"),
        ),
    )

    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[datetime]
    type: Mapped[str]
    data: Mapped[dict[str, Any]]
    told: Mapped[bool | None]
    """Whether webhooks were told of it; null for what is none of their concern."""


class Worker(Base):
    """One worker process that lives, or lived a moment ago."""

    __tablename__ = "workers"

    id: Mapped[str] = mapped_column(primary_key=True)
    host: Mapped[str]
    pid: Mapped[int]
    kinds: Mapped[list[Any]]
    """The kinds of jobs that it takes."""
    gpu_memory: Mapped[int | None]
    """Bytes in use on its GPU, if it has one."""
    started_at: Mapped[datetime]
    seen_at: Mapped[datetime] = mapped_column(index=True)
    """The time at which it last said that it lives."""
