"""Migrations, the check that the schema is at head, and ids."""

from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from fastapi.testclient import TestClient
from sqlalchemy import inspect

from app.database import Base, Database, SchemaError, alembic_config, new_id
from app.main import create_app
from app.settings import Settings


def test_the_migrations_build_exactly_the_tables_of_the_code(database: Database) -> None:
    with database.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, Base.metadata) == []
    assert "jobs" in inspect(database.engine).get_table_names()


def test_the_migrations_go_down_and_up_again(database_url: str, database: Database) -> None:
    config = alembic_config(database_url)
    command.downgrade(config, "base")
    assert inspect(database.engine).get_table_names() == ["alembic_version"]
    command.upgrade(config, "head")
    database.require_head()


def test_the_server_refuses_a_schema_that_is_not_at_head(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    with pytest.raises(SchemaError, match="vgae-nas migrate"), TestClient(create_app(settings)):
        pass
    command.upgrade(alembic_config(settings.database_url), "head")
    with TestClient(create_app(settings)) as client:
        assert client.get("/readyz").json() == {"status": "ok"}


def test_ids_of_one_process_are_strictly_increasing() -> None:
    ids = [new_id("gen") for _ in range(2_000)]
    assert ids == sorted(set(ids))
    assert all(len(i) == 30 for i in ids)
