"""Owners: what a key makes is its own; all that is there now is shared."""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

OWNED = (
    "datasets",
    "genotypes",
    "latent_spaces",
    "experiments",
    "campaigns",
    "proposals",
    "devices",
    "searches",
    "trainings",
    "evaluations",
    "jobs",
    "webhooks",
)


def upgrade() -> None:
    """Adds them."""
    for table in OWNED:
        op.add_column(table, sa.Column("owner", sa.String()))
        op.create_index(f"ix_{table}_owner", table, ["owner"])


def downgrade() -> None:
    """Takes them away."""
    for table in OWNED:
        op.drop_index(f"ix_{table}_owner", table)
        op.drop_column(table, "owner")
