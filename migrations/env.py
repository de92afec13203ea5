"""Alembic's entry point: the URL comes from the settings, or from who calls."""

from alembic import context

from app import tables as tables  # so that the metadata knows every table
from app.database import Base, Database
from app.settings import get_settings


def migrate() -> None:
    """Runs the migrations that were asked for, in one transaction."""
    url = context.config.attributes.get("url") or get_settings().database_url
    database = Database(url)
    with database.writing.connect() as connection:
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
