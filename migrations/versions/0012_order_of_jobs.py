"""The order of jobs and the request that started them; the kinds that a worker takes, and its GPU."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Adds them; jobs that wait now are due since they were made."""
    op.add_column("jobs", sa.Column("request_id", sa.String()))
    op.add_column("jobs", sa.Column("losses", sa.BigInteger(), nullable=False, server_default="0"))
    op.add_column("jobs", sa.Column("due_at", sa.DateTime(timezone=True)))
    op.execute("UPDATE jobs SET due_at = created_at")
    with op.batch_alter_table("jobs") as jobs:
        jobs.alter_column("due_at", nullable=False)
    op.create_index("ix_jobs_status_due_at_id", "jobs", ["status", "due_at", "id"])
    op.execute("DELETE FROM workers")
    op.add_column("workers", sa.Column("kinds", sa.JSON(), nullable=False, server_default="[]"))
    op.add_column("workers", sa.Column("gpu_memory", sa.BigInteger()))


def downgrade() -> None:
    """Takes them away."""
    op.drop_column("workers", "gpu_memory")
    op.drop_column("workers", "kinds")
    op.drop_index("ix_jobs_status_due_at_id", "jobs")
    for name in ("due_at", "losses", "request_id"):
        op.drop_column("jobs", name)
