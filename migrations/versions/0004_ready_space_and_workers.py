"""The ready space, workers, and when a job will be over."""

from datetime import UTC, datetime
from importlib.metadata import version

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

READY_SPACE_ID = "lat_00000000000000000000000001"
"""The same on every service; it sorts before all ids that are made."""


def upgrade() -> None:
    """Adds them; every service has the ready space of `darts` from here on."""
    from models.genotypes.search_space import DARTS
    from models.latent_spaces import ready

    with op.batch_alter_table("latent_spaces") as table:
        table.alter_column("job_id", existing_type=sa.String(), nullable=True)
    with op.batch_alter_table("experiments") as table:
        table.add_column(sa.Column("warnings", sa.JSON(), nullable=False, server_default="[]"))
    with op.batch_alter_table("jobs") as table:
        table.add_column(sa.Column("eta_at", sa.DateTime(timezone=True), nullable=True))
    op.create_table(
        "workers",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("host", sa.String(), nullable=False),
        sa.Column("pid", sa.BigInteger(), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_workers"),
    )
    op.create_index("ix_workers_seen_at", "workers", ["seen_at"])
    described = ready.described(DARTS)
    spaces = sa.table(
        "latent_spaces",
        *(
            sa.column(name)
            for name in ("id", "search_space", "preset", "form", "code_version", "artifact_key")
        ),
        sa.column("settings", sa.JSON),
        sa.column("losses", sa.JSON),
        *(sa.column(name, sa.BigInteger) for name in ("seed", "member_count", "epochs")),
        sa.column("members_exact", sa.Float),
        sa.column("created_at", sa.DateTime(timezone=True)),
    )
    op.execute(
        spaces.insert().values(
            id=READY_SPACE_ID,
            search_space=DARTS.name,
            preset="default",
            form="discrete",
            settings=described["recipe"],
            seed=described["seed"],
            code_version=version("vgae-nas"),
            member_count=0,
            epochs=described["figures"]["epochs"],
            losses=described["figures"]["losses"],
            members_exact=described["figures"]["exact"],
            artifact_key=ready.path(DARTS).name,
            created_at=datetime.now(UTC),
        )
    )


def downgrade() -> None:
    """Removes them, and what was generated from the ready space loses its link to it."""
    op.execute(f"UPDATE genotypes SET latent_space_id = NULL WHERE latent_space_id = '{READY_SPACE_ID}'")
    op.execute(f"UPDATE experiments SET latent_space_id = NULL WHERE latent_space_id = '{READY_SPACE_ID}'")
    op.execute(f"DELETE FROM latent_spaces WHERE id = '{READY_SPACE_ID}'")
    op.drop_index("ix_workers_seen_at", "workers")
    op.drop_table("workers")
    with op.batch_alter_table("jobs") as table:
        table.drop_column("eta_at")
    with op.batch_alter_table("experiments") as table:
        table.drop_column("warnings")
    with op.batch_alter_table("latent_spaces") as table:
        table.alter_column("job_id", existing_type=sa.String(), nullable=False)
