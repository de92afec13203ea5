"""Alembic's entry point: the URL comes from the settings, or from who calls."""

from alembic import context

from app import idempotency
from app.database import Base, Database
from app.datasets import tables as datasets
from app.experiments import tables as experiments
from app.genotypes import tables as genotypes
from app.jobs import tables as jobs
from app.latent_spaces import tables as latent_spaces
from app.searches import tables as searches
from app.settings import get_settings
from app.trainings import tables as trainings

TABLES = (datasets, experiments, genotypes, jobs, latent_spaces, searches, trainings, idempotency)
"""Imported so that the metadata knows every table."""


def migrate() -> None:
    """Runs the migrations that were asked for, in one transaction."""
    url = context.config.attributes.get("url") or get_settings().database_url
    database = Database(url)
    with database.engine.connect() as connection:
        if connection.dialect.name == "sqlite":
            # a table is altered by making it anew, which must not touch the rows that refer to it
            driver = connection.connection.driver_connection
            assert driver is not None
            driver.execute("PRAGMA foreign_keys=OFF")
        context.configure(connection, target_metadata=Base.metadata, render_as_batch=True, compare_type=True)
        with context.begin_transaction():
            context.run_migrations()
        connection.commit()
    database.close()


migrate()
