"""The ready spaces of the search spaces of NAS-Bench-201 and TransNAS-Bench-101 micro."""

from datetime import UTC, datetime
from importlib.metadata import version

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

READY_SPACE_IDS = {
    "nas-bench-201": "lat_00000000000000000000000002",
    "transnas-bench-101-micro": "lat_00000000000000000000000003",
}
"""The same on every service; they sort before all ids that are made."""


def upgrade() -> None:
    """Adds them, and an index for the members of ready spaces, of which there can be many from here on."""
    op.create_index("ix_genotypes_search_space_origin_id", "genotypes", ["search_space", "origin", "id"])
    from models.genotypes.search_space import SEARCH_SPACES
    from models.latent_spaces import ready

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
    for name, space_id in READY_SPACE_IDS.items():
        described = ready.described(SEARCH_SPACES[name])
        op.execute(
            spaces.insert().values(
                id=space_id,
                search_space=name,
                preset="default",
                form="discrete",
                settings=described["recipe"],
                seed=described["seed"],
                code_version=version("vgae-nas"),
                member_count=0,
                epochs=described["figures"]["epochs"],
                losses=described["figures"]["losses"],
                members_exact=described["figures"]["exact"],
                artifact_key=ready.path(SEARCH_SPACES[name]).name,
                created_at=datetime.now(UTC),
            )
        )


def downgrade() -> None:
    """Removes them, and what was generated from them loses its link to them."""
    op.drop_index("ix_genotypes_search_space_origin_id", "genotypes")
    for space_id in READY_SPACE_IDS.values():
        op.execute(f"UPDATE genotypes SET latent_space_id = NULL WHERE latent_space_id = '{space_id}'")
        op.execute(f"UPDATE experiments SET latent_space_id = NULL WHERE latent_space_id = '{space_id}'")
        op.execute(f"DELETE FROM latent_spaces WHERE id = '{space_id}'")
