"""Scores by class, exports as jobs, licences and test shares, pretrained weights, and the stem of recipes."""

from collections.abc import Callable
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

RECIPES = ("searches", "trainings", "experiments")
"""Tables whose `settings` hold the recipe of a network."""


def upgrade() -> None:
    """Adds them; networks of before have the small stem, whatever the size of their images."""
    with op.batch_alter_table("evaluations") as table:
        for name in ("balanced_accuracy", "macro_f1"):
            table.add_column(sa.Column(name, sa.Double(), nullable=True))
        for name in ("class_accuracies", "confusion"):
            table.add_column(sa.Column(name, sa.JSON(), nullable=True))
    with op.batch_alter_table("datasets") as table:
        table.add_column(sa.Column("licence", sa.String(), nullable=True))
        table.add_column(sa.Column("test_share", sa.Double(), nullable=False, server_default="0.2"))
        table.add_column(sa.Column("distances_job_id", sa.String(), nullable=True))
        table.create_foreign_key(
            "fk_datasets_distances_job_id_jobs", "jobs", ["distances_job_id"], ["id"]
        )
    with op.batch_alter_table("trainings") as table:
        table.add_column(sa.Column("pretrained", sa.JSON(), nullable=True))
    op.create_table(
        "exports",
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("genotype_id", sa.String(), nullable=False),
        sa.Column("job_id", sa.String(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["genotype_id"], ["genotypes.id"], name="fk_exports_genotype_id_genotypes", ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name="fk_exports_job_id_jobs"),
        sa.PrimaryKeyConstraint("key", name="pk_exports"),
    )
    op.create_index("ix_exports_genotype_id", "exports", ["genotype_id"])
    _each_recipe(lambda settings: {**settings, "stem": "small"})


def downgrade() -> None:
    """Removes them."""
    _each_recipe(lambda settings: {name: settings[name] for name in settings if name != "stem"})
    op.drop_table("exports")
    with op.batch_alter_table("trainings") as table:
        table.drop_column("pretrained")
    with op.batch_alter_table("datasets") as table:
        table.drop_constraint("fk_datasets_distances_job_id_jobs", type_="foreignkey")
        table.drop_column("distances_job_id")
        table.drop_column("test_share")
        table.drop_column("licence")
    with op.batch_alter_table("evaluations") as table:
        for name in ("confusion", "class_accuracies", "macro_f1", "balanced_accuracy"):
            table.drop_column(name)


def _each_recipe(change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    for name in RECIPES:
        table = sa.table(name, sa.column("id", sa.String), sa.column("settings", sa.JSON))
        for row_id, settings in op.get_bind().execute(sa.select(table.c.id, table.c.settings)).all():
            if settings is not None:
                op.execute(table.update().where(table.c.id == row_id).values(settings=change(settings)))
