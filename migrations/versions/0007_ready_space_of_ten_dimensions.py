"""The ready space of more dimensions, in which neighbours are near.

What was generated from the former one keeps its genotype; its latent becomes the mean of that genotype in the
space of today, as the former network is gone.
"""

from importlib.metadata import version

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

READY_SPACE_ID = "lat_00000000000000000000000001"

AT_ONCE = 1_000
"""Genotypes that are encoded together."""


def upgrade() -> None:
    """Describes the space that ships now, and encodes what was generated from the one before."""
    from models.genotypes.search_space import DARTS
    from models.latent_spaces import ready

    described = ready.described(DARTS)
    spaces = sa.table(
        "latent_spaces",
        *(sa.column(name) for name in ("id", "code_version")),
        sa.column("settings", sa.JSON),
        sa.column("losses", sa.JSON),
        sa.column("epochs", sa.BigInteger),
        sa.column("members_exact", sa.Float),
    )
    op.execute(
        spaces.update()
        .where(spaces.c.id == READY_SPACE_ID)
        .values(
            settings=described["recipe"],
            code_version=version("vgae-nas"),
            epochs=described["figures"]["epochs"],
            losses=described["figures"]["losses"],
            members_exact=described["figures"]["exact"],
        )
    )
    _encode_generated()


def downgrade() -> None:
    """Leaves all as it is: the former network does not ship any more."""


def _encode_generated() -> None:
    from models.genotypes.genotype import from_dict, to_tensor
    from models.genotypes.graph import from_tensor
    from models.genotypes.search_space import DARTS
    from models.latent_spaces import ready
    from models.latent_spaces.vgae import encode

    rows = sa.table(
        "genotypes",
        sa.column("id"),
        sa.column("latent_space_id"),
        sa.column("genotype", sa.JSON),
        sa.column("latent", sa.LargeBinary),
    )
    query = sa.select(rows.c.id, rows.c.genotype).where(rows.c.latent_space_id == READY_SPACE_ID)
    generated = op.get_bind().execute(query.order_by(rows.c.id)).all()
    for first in range(0, len(generated), AT_ONCE):
        part = generated[first : first + AT_ONCE]
        genotypes = to_tensor([from_dict(genotype, DARTS) for _, genotype in part], DARTS)
        latents = encode(ready.load(DARTS), from_tensor(genotypes, DARTS)).numpy()
        for (genotype_id, _), latent in zip(part, latents, strict=True):
            op.execute(rows.update().where(rows.c.id == genotype_id).values(latent=latent.tobytes()))
