"""Tables of devices."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Adds them."""
    op.create_table(
        "devices",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("search_space", sa.String(), nullable=False),
        sa.Column("image_size", sa.BigInteger(), nullable=False),
        sa.Column("runtime", sa.JSON(), nullable=False),
        sa.Column("operations", sa.JSON(), nullable=False),
        sa.Column("networks", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_devices")),
        sa.UniqueConstraint(
            "name", "search_space", "image_size", name=op.f("uq_devices_name_search_space_image_size")
        ),
    )


def downgrade() -> None:
    """Takes them away."""
    op.drop_table("devices")
