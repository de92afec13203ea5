"""Indexes by which a store of millions answers as one of thousands; evaluations know their search space."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

EVALUATIONS = {
    "ix_evaluations_dataset_id_test_accuracy_id": ["dataset_id", "test_accuracy", "id"],
    "ix_evaluations_dataset_id_genotype_id": ["dataset_id", "genotype_id"],
    "ix_evaluations_test_accuracy": ["test_accuracy"],
    "ix_evaluations_search_space_dataset_id_kind_test_accuracy": [
        "search_space",
        "dataset_id",
        "kind",
        "test_accuracy",
    ],
}
GENOTYPES = {
    "ix_genotypes_search_space_id": ["search_space", "id"],
    "ix_genotypes_origin_id": ["origin", "id"],
    "ix_genotypes_dataset_id_id": ["dataset_id", "id"],
    "ix_genotypes_parameters": ["parameters"],
}


def upgrade() -> None:
    """Adds them."""
    op.add_column("evaluations", sa.Column("search_space", sa.String()))
    op.execute(
        "UPDATE evaluations SET search_space = "
        "(SELECT search_space FROM genotypes WHERE genotypes.id = evaluations.genotype_id)"
    )
    op.drop_index("ix_evaluations_dataset_id_test_accuracy", "evaluations")
    op.drop_index("ix_genotypes_origin", "genotypes")
    op.drop_index("ix_genotypes_dataset_id", "genotypes")
    for name, columns in EVALUATIONS.items():
        op.create_index(name, "evaluations", columns)
    for name, columns in GENOTYPES.items():
        op.create_index(name, "genotypes", columns)


def downgrade() -> None:
    """Takes them away."""
    for name in GENOTYPES:
        op.drop_index(name, "genotypes")
    for name in EVALUATIONS:
        op.drop_index(name, "evaluations")
    op.create_index("ix_genotypes_dataset_id", "genotypes", ["dataset_id"])
    op.create_index("ix_genotypes_origin", "genotypes", ["origin"])
    op.create_index("ix_evaluations_dataset_id_test_accuracy", "evaluations", ["dataset_id", "test_accuracy"])
    op.drop_column("evaluations", "search_space")
