"""What reading the images of a data set came to, and what a training normalised them by."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Adds the columns, which stay empty for what is there already."""
    with op.batch_alter_table("datasets") as table:
        table.add_column(sa.Column("digest", sa.String(), nullable=True))
        table.add_column(sa.Column("account", sa.JSON(), nullable=True))
    with op.batch_alter_table("trainings") as table:
        table.add_column(sa.Column("normalisation", sa.JSON(), nullable=True))


def downgrade() -> None:
    """Removes the columns."""
    with op.batch_alter_table("trainings") as table:
        table.drop_column("normalisation")
    with op.batch_alter_table("datasets") as table:
        table.drop_column("account")
        table.drop_column("digest")
