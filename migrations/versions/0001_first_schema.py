"""first schema"""

import sqlalchemy as sa
from alembic import op

revision = '0001'
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:

    op.create_table('datasets',
    sa.Column('id', sa.String(), nullable=False),
    sa.Column('name', sa.String(), nullable=False),
    sa.Column('source', sa.String(), nullable=False),
    sa.Column('channels', sa.BigInteger(), nullable=False),
    sa.Column('image_size', sa.BigInteger(), nullable=False),
    sa.Column('classes', sa.BigInteger(), nullable=False),
    sa.Column('class_names', sa.JSON, nullable=False),
    sa.Column('train_count', sa.BigInteger(), nullable=False),
    sa.Column('test_count', sa.BigInteger(), nullable=False),
    sa.Column('artifact_key', sa.String(), nullable=True),
    sa.Column('folder', sa.String(), nullable=True),
    sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_datasets')),
    sa.UniqueConstraint('name', name=op.f('uq_datasets_name'))
    )
    op.create_table('idempotency_keys',
    sa.Column('key', sa.String(), nullable=False),
    sa.Column('fingerprint', sa.String(), nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('status', sa.BigInteger(), nullable=True),
    sa.Column('headers', sa.JSON, nullable=True),
    sa.Column('body', sa.String(), nullable=True),
    sa.PrimaryKeyConstraint('key', name=op.f('pk_idempotency_keys'))
    )
    with op.batch_alter_table('idempotency_keys', schema=None) as batch_op:
        batch_op.create_index(batch_op.f('ix_idempotency_keys_created_at'), ['created_at'], unique=False)

    op.create_table('jobs',
    sa.Column('id', sa.String(), nullable=False),
    sa.Column('kind', sa.String(), nullable=False),
    sa.Column('status', sa.String(), nullable=False),
    sa.Column('params', sa.JSON, nullable=False),
    sa.Column('links', sa.JSON, nullable=False),
    sa.Column('progress', sa.Double(), nullable=False),
    sa.Column('step', sa.String(), nullable=False),
    sa.Column('attempt', sa.BigInteger(), nullable=False),
    sa.Column('result', sa.JSON, nullable=True),
    sa.Column('error', sa.JSON, nullable=True),
    sa.Column('cancel_requested', sa.Boolean(), nullable=False),
    sa.Column('checkpoint_key', sa.String(), nullable=True),
    sa.Column('event_count', sa.BigInteger(), nullable=False),
    sa.Column('lease_token', sa.String(), nullable=True),
    sa.Column('lease_expires_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('queued_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('started_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('finished_at', sa.DateTime(timezone=True), nullable=True),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_jobs'))
    )
    with op.batch_alter_table('jobs', schema=None) as batch_op:
        batch_op.create_index(batch_op.f('ix_jobs_kind'), ['kind'], unique=False)
        batch_op.create_index(batch_op.f('ix_jobs_lease_expires_at'), ['lease_expires_at'], unique=False)
        batch_op.create_index('ix_jobs_status_queued_at', ['status', 'queued_at'], unique=False)

    op.create_table('job_events',
    sa.Column('job_id', sa.String(), nullable=False),
    sa.Column('number', sa.BigInteger(), nullable=False),
    sa.Column('at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('type', sa.String(), nullable=False),
    sa.Column('data', sa.JSON, nullable=False),
    sa.ForeignKeyConstraint(['job_id'], ['jobs.id'], name=op.f('fk_job_events_job_id_jobs'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('job_id', 'number', name=op.f('pk_job_events'))
    )
    op.create_table('latent_spaces',
    sa.Column('id', sa.String(), nullable=False),
    sa.Column('job_id', sa.String(), nullable=False),
    sa.Column('search_space', sa.String(), nullable=False),
    sa.Column('preset', sa.String(), nullable=False),
    sa.Column('form', sa.String(), nullable=False),
    sa.Column('settings', sa.JSON, nullable=False),
    sa.Column('seed', sa.BigInteger(), nullable=False),
    sa.Column('code_version', sa.String(), nullable=False),
    sa.Column('member_count', sa.BigInteger(), nullable=False),
    sa.Column('epochs', sa.BigInteger(), nullable=True),
    sa.Column('losses', sa.JSON, nullable=True),
    sa.Column('members_exact', sa.Double(), nullable=True),
    sa.Column('artifact_key', sa.String(), nullable=True),
    sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
    sa.ForeignKeyConstraint(['job_id'], ['jobs.id'], name=op.f('fk_latent_spaces_job_id_jobs')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_latent_spaces')),
    sa.UniqueConstraint('job_id', name=op.f('uq_latent_spaces_job_id'))
    )
    op.create_table('genotypes',
    sa.Column('id', sa.String(), nullable=False),
    sa.Column('search_space', sa.String(), nullable=False),
    sa.Column('origin', sa.String(), nullable=False),
    sa.Column('name', sa.String(), nullable=True),
    sa.Column('dataset_id', sa.String(), nullable=True),
    sa.Column('genotype', sa.JSON, nullable=False),
    sa.Column('continuous', sa.JSON, nullable=True),
    sa.Column('digest', sa.String(), nullable=False),
    sa.Column('parameters', sa.BigInteger(), nullable=False),
    sa.Column('source', sa.JSON, nullable=False),
    sa.Column('latent_space_id', sa.String(), nullable=True),
    sa.Column('latent', sa.LargeBinary(), nullable=True),
    sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
    sa.ForeignKeyConstraint(['dataset_id'], ['datasets.id'], name=op.f('fk_genotypes_dataset_id_datasets')),
    sa.ForeignKeyConstraint(['latent_space_id'], ['latent_spaces.id'], name=op.f('fk_genotypes_latent_space_id_latent_spaces')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_genotypes'))
    )
    with op.batch_alter_table('genotypes', schema=None) as batch_op:
        batch_op.create_index(batch_op.f('ix_genotypes_dataset_id'), ['dataset_id'], unique=False)
        batch_op.create_index(batch_op.f('ix_genotypes_latent_space_id'), ['latent_space_id'], unique=False)
        batch_op.create_index(batch_op.f('ix_genotypes_name'), ['name'], unique=False)
        batch_op.create_index(batch_op.f('ix_genotypes_origin'), ['origin'], unique=False)
        batch_op.create_index('ix_genotypes_search_space_digest', ['search_space', 'digest'], unique=False)

    op.create_table('latent_members',
    sa.Column('latent_space_id', sa.String(), nullable=False),
    sa.Column('position', sa.BigInteger(), nullable=False),
    sa.Column('genotype_id', sa.String(), nullable=False),
    sa.Column('mu', sa.LargeBinary(), nullable=True),
    sa.Column('logstd', sa.LargeBinary(), nullable=True),
    sa.ForeignKeyConstraint(['genotype_id'], ['genotypes.id'], name=op.f('fk_latent_members_genotype_id_genotypes')),
    sa.ForeignKeyConstraint(['latent_space_id'], ['latent_spaces.id'], name=op.f('fk_latent_members_latent_space_id_latent_spaces'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('latent_space_id', 'position', name=op.f('pk_latent_members'))
    )
    with op.batch_alter_table('latent_members', schema=None) as batch_op:
        batch_op.create_index(batch_op.f('ix_latent_members_genotype_id'), ['genotype_id'], unique=False)

    op.create_table('searches',
    sa.Column('id', sa.String(), nullable=False),
    sa.Column('job_id', sa.String(), nullable=False),
    sa.Column('dataset_id', sa.String(), nullable=False),
    sa.Column('search_space', sa.String(), nullable=False),
    sa.Column('method', sa.String(), nullable=False),
    sa.Column('recipe', sa.String(), nullable=False),
    sa.Column('settings', sa.JSON, nullable=False),
    sa.Column('seed', sa.BigInteger(), nullable=False),
    sa.Column('genotype_id', sa.String(), nullable=True),
    sa.Column('result', sa.JSON, nullable=True),
    sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
    sa.ForeignKeyConstraint(['dataset_id'], ['datasets.id'], name=op.f('fk_searches_dataset_id_datasets')),
    sa.ForeignKeyConstraint(['genotype_id'], ['genotypes.id'], name=op.f('fk_searches_genotype_id_genotypes')),
    sa.ForeignKeyConstraint(['job_id'], ['jobs.id'], name=op.f('fk_searches_job_id_jobs')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_searches')),
    sa.UniqueConstraint('job_id', name=op.f('uq_searches_job_id'))
    )
    with op.batch_alter_table('searches', schema=None) as batch_op:
        batch_op.create_index(batch_op.f('ix_searches_dataset_id'), ['dataset_id'], unique=False)

    op.create_table('trainings',
    sa.Column('id', sa.String(), nullable=False),
    sa.Column('job_id', sa.String(), nullable=False),
    sa.Column('genotype_id', sa.String(), nullable=False),
    sa.Column('dataset_id', sa.String(), nullable=False),
    sa.Column('recipe', sa.String(), nullable=False),
    sa.Column('settings', sa.JSON, nullable=False),
    sa.Column('seed', sa.BigInteger(), nullable=False),
    sa.Column('arm', sa.String(), nullable=True),
    sa.Column('history', sa.JSON, nullable=True),
    sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
    sa.ForeignKeyConstraint(['dataset_id'], ['datasets.id'], name=op.f('fk_trainings_dataset_id_datasets')),
    sa.ForeignKeyConstraint(['genotype_id'], ['genotypes.id'], name=op.f('fk_trainings_genotype_id_genotypes')),
    sa.ForeignKeyConstraint(['job_id'], ['jobs.id'], name=op.f('fk_trainings_job_id_jobs')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_trainings')),
    sa.UniqueConstraint('job_id', name=op.f('uq_trainings_job_id'))
    )
    with op.batch_alter_table('trainings', schema=None) as batch_op:
        batch_op.create_index(batch_op.f('ix_trainings_dataset_id'), ['dataset_id'], unique=False)
        batch_op.create_index(batch_op.f('ix_trainings_genotype_id'), ['genotype_id'], unique=False)

    op.create_table('evaluations',
    sa.Column('id', sa.String(), nullable=False),
    sa.Column('genotype_id', sa.String(), nullable=False),
    sa.Column('dataset_id', sa.String(), nullable=False),
    sa.Column('kind', sa.String(), nullable=False),
    sa.Column('training_id', sa.String(), nullable=True),
    sa.Column('recipe', sa.String(), nullable=True),
    sa.Column('settings', sa.JSON, nullable=True),
    sa.Column('seed', sa.BigInteger(), nullable=True),
    sa.Column('arm', sa.String(), nullable=True),
    sa.Column('test_accuracy', sa.Double(), nullable=False),
    sa.Column('test_top5', sa.Double(), nullable=True),
    sa.Column('last_test_accuracy', sa.Double(), nullable=True),
    sa.Column('parameters', sa.BigInteger(), nullable=True),
    sa.Column('macs', sa.BigInteger(), nullable=True),
    sa.Column('train_seconds', sa.Double(), nullable=True),
    sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
    sa.ForeignKeyConstraint(['dataset_id'], ['datasets.id'], name=op.f('fk_evaluations_dataset_id_datasets')),
    sa.ForeignKeyConstraint(['genotype_id'], ['genotypes.id'], name=op.f('fk_evaluations_genotype_id_genotypes')),
    sa.ForeignKeyConstraint(['training_id'], ['trainings.id'], name=op.f('fk_evaluations_training_id_trainings')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_evaluations')),
    sa.UniqueConstraint('training_id', name=op.f('uq_evaluations_training_id'))
    )
    with op.batch_alter_table('evaluations', schema=None) as batch_op:
        batch_op.create_index('ix_evaluations_dataset_id_test_accuracy', ['dataset_id', 'test_accuracy'], unique=False)
        batch_op.create_index(batch_op.f('ix_evaluations_genotype_id'), ['genotype_id'], unique=False)




def downgrade() -> None:

    with op.batch_alter_table('evaluations', schema=None) as batch_op:
        batch_op.drop_index(batch_op.f('ix_evaluations_genotype_id'))
        batch_op.drop_index('ix_evaluations_dataset_id_test_accuracy')

    op.drop_table('evaluations')
    with op.batch_alter_table('trainings', schema=None) as batch_op:
        batch_op.drop_index(batch_op.f('ix_trainings_genotype_id'))
        batch_op.drop_index(batch_op.f('ix_trainings_dataset_id'))

    op.drop_table('trainings')
    with op.batch_alter_table('searches', schema=None) as batch_op:
        batch_op.drop_index(batch_op.f('ix_searches_dataset_id'))

    op.drop_table('searches')
    with op.batch_alter_table('latent_members', schema=None) as batch_op:
        batch_op.drop_index(batch_op.f('ix_latent_members_genotype_id'))

    op.drop_table('latent_members')
    with op.batch_alter_table('genotypes', schema=None) as batch_op:
        batch_op.drop_index('ix_genotypes_search_space_digest')
        batch_op.drop_index(batch_op.f('ix_genotypes_origin'))
        batch_op.drop_index(batch_op.f('ix_genotypes_name'))
        batch_op.drop_index(batch_op.f('ix_genotypes_latent_space_id'))
        batch_op.drop_index(batch_op.f('ix_genotypes_dataset_id'))

    op.drop_table('genotypes')
    op.drop_table('latent_spaces')
    op.drop_table('job_events')
    with op.batch_alter_table('jobs', schema=None) as batch_op:
        batch_op.drop_index('ix_jobs_status_queued_at')
        batch_op.drop_index(batch_op.f('ix_jobs_lease_expires_at'))
        batch_op.drop_index(batch_op.f('ix_jobs_kind'))

    op.drop_table('jobs')
    with op.batch_alter_table('idempotency_keys', schema=None) as batch_op:
        batch_op.drop_index(batch_op.f('ix_idempotency_keys_created_at'))

    op.drop_table('idempotency_keys')
    op.drop_table('datasets')

