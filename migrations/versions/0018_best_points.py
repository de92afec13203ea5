"""The best of many equal evaluations by the index alone."""

from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

COLUMNS = ["search_space", "dataset_id", "kind"]
BEFORE, AFTER = "ix_evaluations_search_space_dataset_id_kind_test_accuracy", "ix_evaluations_best"


def upgrade() -> None:
    """Puts an index with an order among equals into the place of one without."""
    op.create_index(AFTER, "evaluations", [*COLUMNS, "test_accuracy", "id"])
    op.drop_index(BEFORE, "evaluations")


def downgrade() -> None:
    """Takes the one before back."""
    op.create_index(BEFORE, "evaluations", [*COLUMNS, "test_accuracy"])
    op.drop_index(AFTER, "evaluations")
