"""Campaigns, and trainings that they keep brief."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Adds both."""
    op.create_table(
        "campaigns",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("job_id", sa.String(), nullable=False),
        sa.Column("dataset_id", sa.String(), nullable=False),
        sa.Column("latent_space_id", sa.String(), nullable=False),
        sa.Column("recipe", sa.String(), nullable=False),
        sa.Column("settings", sa.JSON(), nullable=False),
        sa.Column("epochs", sa.JSON(), nullable=False),
        sa.Column("seed", sa.BigInteger(), nullable=False),
        sa.Column("budget", sa.JSON(), nullable=False),
        sa.Column("target", sa.Double(), nullable=True),
        sa.Column("constraints", sa.JSON(), nullable=True),
        sa.Column("arms", sa.JSON(), nullable=False),
        sa.Column("source", sa.JSON(), nullable=True),
        sa.Column("ended", sa.JSON(), nullable=False),
        sa.Column("warnings", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=op.f("fk_campaigns_job_id_jobs")),
        sa.ForeignKeyConstraint(["dataset_id"], ["datasets.id"], name=op.f("fk_campaigns_dataset_id_datasets")),
        sa.ForeignKeyConstraint(
            ["latent_space_id"], ["latent_spaces.id"], name=op.f("fk_campaigns_latent_space_id_latent_spaces")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_campaigns")),
        sa.UniqueConstraint("job_id", name=op.f("uq_campaigns_job_id")),
    )
    op.create_index(op.f("ix_campaigns_dataset_id"), "campaigns", ["dataset_id"])
    with op.batch_alter_table("trainings") as batch:
        batch.add_column(sa.Column("brief", sa.Boolean(), nullable=False, server_default=sa.false()))


def downgrade() -> None:
    """Takes both away; what brief trainings measured then counts as any other."""
    with op.batch_alter_table("trainings") as batch:
        batch.drop_column("brief")
    op.execute("UPDATE evaluations SET kind = 'trained' WHERE kind = 'brief'")
    op.drop_table("campaigns")
