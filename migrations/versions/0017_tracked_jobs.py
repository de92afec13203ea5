"""Jobs that are runs of an MLflow server."""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Adds the table, and an index by which what has ended since is found."""
    op.create_table(
        "tracked_jobs",
        sa.Column("job_id", sa.String(), sa.ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("run_id", sa.String()),
        sa.Column("events", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
    )
    op.create_index("ix_jobs_finished_at", "jobs", ["finished_at"])


def downgrade() -> None:
    """Takes them away."""
    op.drop_index("ix_jobs_finished_at", "jobs")
    op.drop_table("tracked_jobs")
