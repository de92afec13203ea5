"""sizes, distances and weights"""

import sqlalchemy as sa
from alembic import op

revision = '0002'
down_revision = '0001'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table('dataset_distances',
    sa.Column('first_id', sa.String(), nullable=False),
    sa.Column('second_id', sa.String(), nullable=False),
    sa.Column('distance', sa.Double(), nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
    sa.ForeignKeyConstraint(['first_id'], ['datasets.id'], name=op.f('fk_dataset_distances_first_id_datasets'), ondelete='CASCADE'),
    sa.ForeignKeyConstraint(['second_id'], ['datasets.id'], name=op.f('fk_dataset_distances_second_id_datasets'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('first_id', 'second_id', name=op.f('pk_dataset_distances'))
    )
    with op.batch_alter_table('dataset_distances', schema=None) as batch_op:
        batch_op.create_index(batch_op.f('ix_dataset_distances_second_id'), ['second_id'], unique=False)

    with op.batch_alter_table('genotypes', schema=None) as batch_op:
        batch_op.add_column(sa.Column('macs', sa.BigInteger(), nullable=True))

    with op.batch_alter_table('trainings', schema=None) as batch_op:
        batch_op.add_column(sa.Column('weights_key', sa.String(), nullable=True))



def downgrade() -> None:
    with op.batch_alter_table('trainings', schema=None) as batch_op:
        batch_op.drop_column('weights_key')

    with op.batch_alter_table('genotypes', schema=None) as batch_op:
        batch_op.drop_column('macs')

    with op.batch_alter_table('dataset_distances', schema=None) as batch_op:
        batch_op.drop_index(batch_op.f('ix_dataset_distances_second_id'))

    op.drop_table('dataset_distances')
