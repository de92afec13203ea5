"""Migrations, the check that the schema is at head, ids, and rows that are added at once."""

from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from fastapi.testclient import TestClient
from sqlalchemy import inspect, select, text
from sqlalchemy.exc import IntegrityError

from app.database import Base, Database, SchemaError, alembic_config, new_id, now
from app.main import create_app
from app.settings import Settings
from app.webhooks.tables import Webhook


def test_the_migrations_build_exactly_the_tables_of_the_code(database: Database) -> None:
    with database.reading.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, Base.metadata) == []
    assert "jobs" in inspect(database.reading).get_table_names()


def test_the_migrations_go_down_and_up_again(database_url: str, database: Database) -> None:
    config = alembic_config(database_url)
    command.downgrade(config, "base")
    assert inspect(database.reading).get_table_names() == ["alembic_version"]
    command.upgrade(config, "head")
    database.require_head()


def test_the_server_refuses_a_schema_that_is_not_at_head(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    with (
        pytest.raises(SchemaError, match="vgae-nas migrate"),
        TestClient(create_app(settings), base_url="http://localhost"),
    ):
        pass
    command.upgrade(alembic_config(settings.database_url), "head")
    with TestClient(create_app(settings), base_url="http://localhost") as client:
        assert client.get("/readyz").json()["status"] == "ok"


def test_ids_of_one_process_are_strictly_increasing() -> None:
    ids = [new_id("gen") for _ in range(2_000)]
    assert ids == sorted(set(ids))
    assert all(len(i) == 30 for i in ids)


def test_rows_are_added_all_or_none_whether_one_or_many(database: Database) -> None:
    def hook(name: str) -> dict[str, Any]:
        url = f"https://example.org/{name}"
        return {"id": name, "url": url, "secret": "s", "statuses": ["failed"], "created_at": now()}

    def stored() -> list[str]:
        with database.session(reads_only=True) as session:
            return list(session.scalars(select(Webhook.id).order_by(Webhook.id)))

    database.add(Webhook, [hook("wh_1")])
    assert stored() == ["wh_1"]
    for rows in ([hook("wh_1")], [hook("wh_2"), hook("wh_1")]):
        with pytest.raises(IntegrityError):
            database.add(Webhook, rows)
        assert stored() == ["wh_1"]
    database.add(Webhook, [hook("wh_2"), hook("wh_3")])
    assert stored() == ["wh_1", "wh_2", "wh_3"]


def test_a_migration_keeps_every_row(database_url: str, database: Database) -> None:
    command.downgrade(alembic_config(database_url), "0001")
    moment = now()
    rows = {
        "datasets": {"id": "ds_1", "name": "d", "source": "facts", "channels": 1, "image_size": 8,
                     "classes": 2, "class_names": "[]", "train_count": 1, "test_count": 1,
                     "created_at": moment},
        "genotypes": {"id": "gen_1", "search_space": "darts", "origin": "registered", "genotype": "{}",
                      "digest": "0", "parameters": 1, "source": "{}", "created_at": moment},
        "jobs": {"id": "job_1", "kind": "train", "status": "succeeded", "params": "{}", "links": "{}",
                 "progress": 1, "step": "", "attempt": 1, "cancel_requested": False, "event_count": 0,
                 "created_at": moment, "queued_at": moment},
        "job_events": {"job_id": "job_1", "number": 1, "at": moment, "type": "queued", "data": "{}"},
        "trainings": {"id": "tr_1", "job_id": "job_1", "genotype_id": "gen_1", "dataset_id": "ds_1",
                      "recipe": "quick", "settings": "{}", "seed": 1, "created_at": moment},
        "evaluations": {"id": "ev_1", "genotype_id": "gen_1", "dataset_id": "ds_1", "kind": "trained",
                        "training_id": "tr_1", "test_accuracy": 1.0, "created_at": moment},
    }  # fmt: skip
    with database.writing.begin() as connection:
        for table, row in rows.items():
            names, values = ", ".join(row), ", ".join(f":{name}" for name in row)
            connection.execute(text(f"INSERT INTO {table} ({names}) VALUES ({values})"), row)
    command.upgrade(alembic_config(database_url), "head")
    with database.reading.connect() as connection:
        for table in rows:
            assert connection.execute(text(f"SELECT count(*) FROM {table}")).scalar_one() == 1, table
        # networks of before there were stems keep theirs
        assert "small" in str(connection.execute(text("SELECT settings FROM trainings")).scalar_one())
