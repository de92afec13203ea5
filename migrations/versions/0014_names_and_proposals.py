"""Names, notes and tags; proposals; what a job was given by default; keys."""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

LABELLED = ("datasets", "genotypes", "latent_spaces", "experiments", "campaigns", "devices")
NAMED = ("latent_spaces", "experiments", "campaigns")
HELD = sa.text("labels IS NOT NULL")


def upgrade() -> None:
    """Adds them."""
    for table in LABELLED:
        op.add_column(table, sa.Column("note", sa.String()))
        op.add_column(table, sa.Column("labels", sa.JSON(none_as_null=True)))
    for table in NAMED:
        op.add_column(table, sa.Column("name", sa.String()))
        op.create_index(f"ix_{table}_name", table, ["name"], unique=True)
    op.create_index(
        "ix_genotypes_labelled", "genotypes", ["id"], postgresql_where=HELD, sqlite_where=HELD
    )
    op.create_table(
        "proposals",
        sa.Column("id", sa.String(), primary_key=True),
        sa.Column("name", sa.String()),
        sa.Column("note", sa.String()),
        sa.Column("labels", sa.JSON(none_as_null=True)),
        sa.Column("dataset_id", sa.String(), sa.ForeignKey("datasets.id"), nullable=False),
        sa.Column("latent_space_id", sa.String(), sa.ForeignKey("latent_spaces.id"), nullable=False),
        sa.Column("recipe", sa.String(), nullable=False),
        sa.Column("settings", sa.JSON(), nullable=False),
        sa.Column("limits", sa.JSON(none_as_null=True)),
        sa.Column("answer", sa.JSON(), nullable=False),
        sa.Column("warnings", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
    )
    op.create_index("ix_proposals_name", "proposals", ["name"], unique=True)
    op.create_index("ix_proposals_dataset_id", "proposals", ["dataset_id"])
    op.create_table(
        "proposal_items",
        sa.Column(
            "proposal_id", sa.String(), sa.ForeignKey("proposals.id", ondelete="CASCADE"), primary_key=True
        ),
        sa.Column("position", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("genotype_id", sa.String(), sa.ForeignKey("genotypes.id"), nullable=False),
    )
    op.create_index("ix_proposal_items_genotype_id", "proposal_items", ["genotype_id"])
    with op.batch_alter_table("campaigns") as campaigns:
        campaigns.add_column(sa.Column("proposal_id", sa.String()))
        campaigns.create_foreign_key("fk_campaigns_proposal_id_proposals", "proposals", ["proposal_id"], ["id"])
    op.add_column("jobs", sa.Column("warnings", sa.JSON(none_as_null=True)))


    op.create_table(
        "keys",
        sa.Column("id", sa.String(), primary_key=True),
        sa.Column("name", sa.String(), nullable=False, unique=True),
        sa.Column("scope", sa.String(), nullable=False),
        sa.Column("digest", sa.String(), nullable=False, unique=True),
        sa.Column("rate", sa.String()),
        sa.Column("quota", sa.String()),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_used_at", sa.DateTime(timezone=True)),
        sa.Column("revoked_at", sa.DateTime(timezone=True)),
    )


def downgrade() -> None:
    """Takes them away."""
    op.drop_table("keys")
    op.drop_column("jobs", "warnings")
    with op.batch_alter_table("campaigns") as campaigns:
        campaigns.drop_constraint("fk_campaigns_proposal_id_proposals", type_="foreignkey")
        campaigns.drop_column("proposal_id")
    op.drop_table("proposal_items")
    op.drop_table("proposals")
    op.drop_index("ix_genotypes_labelled", "genotypes")
    for table in NAMED:
        op.drop_index(f"ix_{table}_name", table)
        op.drop_column(table, "name")
    for table in LABELLED:
        op.drop_column(table, "labels")
        op.drop_column(table, "note")
