"""Webhooks, and a mark on the ends of jobs that they are to be told of."""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

UNTOLD = sa.text("told IS FALSE")


def upgrade() -> None:
    """Adds them; what ended before is told to nobody."""
    op.add_column("job_events", sa.Column("told", sa.Boolean()))
    op.create_index(
        "ix_job_events_untold", "job_events", ["at"], postgresql_where=UNTOLD, sqlite_where=UNTOLD
    )
    op.create_table(
        "webhooks",
        sa.Column("id", sa.String(), primary_key=True),
        sa.Column("url", sa.String(), nullable=False),
        sa.Column("secret", sa.String(), nullable=False),
        sa.Column("statuses", sa.JSON(), nullable=False),
        sa.Column("kinds", sa.JSON(none_as_null=True)),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
    )
    op.create_table(
        "deliveries",
        sa.Column("id", sa.String(), primary_key=True),
        sa.Column(
            "webhook_id", sa.String(), sa.ForeignKey("webhooks.id", ondelete="CASCADE"), nullable=False
        ),
        sa.Column("job_id", sa.String(), nullable=False),
        sa.Column("type", sa.String(), nullable=False),
        sa.Column("body", sa.String(), nullable=False),
        sa.Column("attempts", sa.BigInteger(), nullable=False),
        sa.Column("next_at", sa.DateTime(timezone=True)),
        sa.Column("status", sa.BigInteger()),
        sa.Column("error", sa.String()),
        sa.Column("delivered_at", sa.DateTime(timezone=True)),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
    )
    op.create_index("ix_deliveries_webhook_id", "deliveries", ["webhook_id"])
    op.create_index("ix_deliveries_next_at", "deliveries", ["next_at"])


def downgrade() -> None:
    """Takes them away."""
    op.drop_table("deliveries")
    op.drop_table("webhooks")
    op.drop_index("ix_job_events_untold", "job_events")
    op.drop_column("job_events", "told")
