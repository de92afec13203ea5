"""The table of tracked jobs."""

from datetime import datetime

from sqlalchemy import ForeignKey
from sqlalchemy.orm import Mapped, mapped_column

from app.database import Base


class TrackedJob(Base):
    """A job that is a run of the MLflow server, and how much of it is there."""

    __tablename__ = "tracked_jobs"

    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    run_id: Mapped[str | None]
    """The run; null until there is one."""
    events: Mapped[int] = mapped_column(default=0)
    """The number of the last event that was sent."""
    created_at: Mapped[datetime]
