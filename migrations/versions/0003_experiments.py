"""experiments"""

import sqlalchemy as sa
from alembic import op

revision = '0003'
down_revision = '0002'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table('experiments',
    sa.Column('id', sa.String(), nullable=False),
    sa.Column('job_id', sa.String(), nullable=False),
    sa.Column('latent_space_id', sa.String(), nullable=True),
    sa.Column('dataset_ids', sa.JSON, nullable=False),
    sa.Column('recipe', sa.String(), nullable=False),
    sa.Column('settings', sa.JSON, nullable=False),
    sa.Column('seeds', sa.JSON, nullable=False),
    sa.Column('arms', sa.JSON, nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
    sa.ForeignKeyConstraint(['job_id'], ['jobs.id'], name=op.f('fk_experiments_job_id_jobs')),
    sa.ForeignKeyConstraint(['latent_space_id'], ['latent_spaces.id'], name=op.f('fk_experiments_latent_space_id_latent_spaces')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_experiments')),
    sa.UniqueConstraint('job_id', name=op.f('uq_experiments_job_id'))
    )
    with op.batch_alter_table('evaluations', schema=None) as batch_op:
        batch_op.add_column(sa.Column('reference', sa.String(), nullable=True))
        batch_op.add_column(sa.Column('validation_accuracy', sa.Double(), nullable=True))
        batch_op.add_column(sa.Column('selected_test_accuracy', sa.Double(), nullable=True))
        batch_op.alter_column('genotype_id',
               existing_type=sa.VARCHAR(),
               nullable=True)

    with op.batch_alter_table('jobs', schema=None) as batch_op:
        batch_op.add_column(sa.Column('parent_id', sa.String(), nullable=True))
        batch_op.create_index(batch_op.f('ix_jobs_parent_id'), ['parent_id'], unique=False)
        batch_op.create_foreign_key(batch_op.f('fk_jobs_parent_id_jobs'), 'jobs', ['parent_id'], ['id'])

    with op.batch_alter_table('trainings', schema=None) as batch_op:
        batch_op.add_column(sa.Column('reference', sa.String(), nullable=True))
        batch_op.add_column(sa.Column('experiment_id', sa.String(), nullable=True))
        batch_op.alter_column('genotype_id',
               existing_type=sa.VARCHAR(),
               nullable=True)
        batch_op.create_index(batch_op.f('ix_trainings_experiment_id'), ['experiment_id'], unique=False)
        batch_op.create_foreign_key(batch_op.f('fk_trainings_experiment_id_experiments'), 'experiments', ['experiment_id'], ['id'])



def downgrade() -> None:
    with op.batch_alter_table('trainings', schema=None) as batch_op:
        batch_op.drop_constraint(batch_op.f('fk_trainings_experiment_id_experiments'), type_='foreignkey')
        batch_op.drop_index(batch_op.f('ix_trainings_experiment_id'))
        batch_op.alter_column('genotype_id',
               existing_type=sa.VARCHAR(),
               nullable=False)
        batch_op.drop_column('experiment_id')
        batch_op.drop_column('reference')

    with op.batch_alter_table('jobs', schema=None) as batch_op:
        batch_op.drop_constraint(batch_op.f('fk_jobs_parent_id_jobs'), type_='foreignkey')
        batch_op.drop_index(batch_op.f('ix_jobs_parent_id'))
        batch_op.drop_column('parent_id')

    with op.batch_alter_table('evaluations', schema=None) as batch_op:
        batch_op.alter_column('genotype_id',
               existing_type=sa.VARCHAR(),
               nullable=False)
        batch_op.drop_column('selected_test_accuracy')
        batch_op.drop_column('validation_accuracy')
        batch_op.drop_column('reference')

    op.drop_table('experiments')
