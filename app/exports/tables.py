"""The table of exports."""

from datetime import datetime

from sqlalchemy import ForeignKey
from sqlalchemy.orm import Mapped, mapped_column

from app.database import Base


class Export(Base):
    """A file that a job makes of a genotype's network, or has made."""

    __tablename__ = "exports"

    key: Mapped[str] = mapped_column(primary_key=True)
    """The key of the file in the file store."""
    genotype_id: Mapped[str] = mapped_column(ForeignKey("genotypes.id", ondelete="CASCADE"), index=True)
    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id"))
    created_at: Mapped[datetime]
