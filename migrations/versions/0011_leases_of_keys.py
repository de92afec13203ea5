"""Leases of idempotency keys."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Adds them; keys that are open now are free at once."""
    op.add_column("idempotency_keys", sa.Column("lease_expires_at", sa.DateTime(timezone=True)))
    op.execute("DELETE FROM idempotency_keys WHERE status IS NULL")


def downgrade() -> None:
    """Takes them away."""
    op.drop_column("idempotency_keys", "lease_expires_at")
