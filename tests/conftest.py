"""Fixtures: databases on SQLite and PostgreSQL, a service with its client, and image data.

PostgreSQL and Redis are found by `VGAE_NAS_TEST_POSTGRES_URL` and `VGAE_NAS_TEST_REDIS_URL`. Without
them the tests that need them are skipped, or fail if `REQUIRE_SERVICES=1`.
"""

import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Any
from uuid import uuid4
from zlib import crc32

import psycopg
import pytest
import redis
import torch
from alembic import command
from fastapi.testclient import TestClient
from hypothesis import settings as hypothesis_settings
from psycopg.types.json import Json
from sqlalchemy.engine import make_url

from app.artifacts import Artifacts
from app.database import Database, alembic_config
from app.datasets import neighbors
from app.jobs import service as jobs
from app.jobs.tables import Job, JobKind
from app.main import create_app
from app.settings import Settings
from worker.main import KINDS
from worker.runner import Kind, execute

POSTGRES_URL = os.environ.get(
    "VGAE_NAS_TEST_POSTGRES_URL", "postgresql+psycopg://postgres@127.0.0.1:5432/postgres"
)
REDIS_URL = os.environ.get("VGAE_NAS_TEST_REDIS_URL", "redis://127.0.0.1:6379")

hypothesis_settings.register_profile("repository", deadline=None, derandomize=True, print_blob=False)
hypothesis_settings.load_profile("repository")


ONE_DATABASE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
"""For tests that take long and whose outcome no database can change."""

LONG = pytest.mark.long
"""For variants of tests that `make test-long` runs, since their like is run each time."""


BOTH = (
    "tests/app/jobs/",
    "tests/app/keys/",
    "tests/app/test_database.py",
    "tests/app/test_pages.py",
    "tests/worker/",
)
"""Where each test runs on both databases each time, as what it tests is what they do."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Runs each test on one database, by its name; `make test-long` runs it on the other."""
    for item in items:
        params = getattr(item, "callspec", None)
        if params is None or item.nodeid.startswith(BOTH) or params.params.get("database_url") not in _KINDS:
            continue
        if any(mark.args and mark.args[0] == "database_url" for mark in item.iter_markers("parametrize")):
            continue  # it names its database itself
        name = item.nodeid.replace("sqlite", "").replace("postgres", "")
        if params.params["database_url"] != _KINDS[crc32(name.encode()) % len(_KINDS)]:
            item.add_marker(LONG)


_KINDS = ("sqlite", "postgres")


def pytest_configure() -> None:
    """One thread a process: the tests run side by side."""
    torch.set_num_threads(1)


def without_service(reason: str) -> None:
    """Skips a test, or fails it where services are required."""
    if os.environ.get("REQUIRE_SERVICES") == "1":
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def data_root() -> Path:
    """The folder of MNIST and USPS, `VGAE_NAS_DATA_ROOT` or one beside the repository."""
    beside = Path(__file__).parents[2] / "shared" / "data"
    return Path(os.environ.get("VGAE_NAS_DATA_ROOT", beside))


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty SQLite database at head."""
    path = tmp_path_factory.mktemp("template") / "template.db"
    command.upgrade(alembic_config(f"sqlite:///{path}"), "head")
    return path


def execute_on_postgres(*statements: str) -> None:
    """Runs statements in the server's own database, or skips where there is no server."""
    url = make_url(POSTGRES_URL).set(drivername="postgresql").render_as_string(hide_password=False)
    try:
        with psycopg.connect(url, autocommit=True, connect_timeout=3) as connection:
            for statement in statements:
                connection.execute(statement)  # type: ignore[call-overload]
    except psycopg.OperationalError as error:
        without_service(f"PostgreSQL does not answer: {error}")


@pytest.fixture(scope="session")
def postgres_template() -> Iterator[str]:
    """The name of an empty PostgreSQL database at head."""
    name = f"vgae_nas_test_{uuid4().hex[:12]}"
    execute_on_postgres(f"CREATE DATABASE {name}")
    url = make_url(POSTGRES_URL).set(database=name).render_as_string(hide_password=False)
    command.upgrade(alembic_config(url), "head")
    yield name
    execute_on_postgres(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def sqlite_url(tmp_path: Path, sqlite_template: Path) -> str:
    """A SQLite database of the test's own, at head."""
    path = tmp_path / "test.db"
    shutil.copy(sqlite_template, path)
    return f"sqlite:///{path}"


class Emptied:
    """A PostgreSQL database that every test of a process gets as the migrations left it.

    Making one for each test takes longer than most tests do.
    """

    def __init__(self, template: str) -> None:
        self.template, self.name = template, f"vgae_nas_test_{uuid4().hex[:12]}"
        self.url = make_url(POSTGRES_URL).set(database=self.name)
        execute_on_postgres(f"CREATE DATABASE {self.name} TEMPLATE {self.template}")
        with self._connect() as connection:
            self.tables = self._tables(connection)
            self.rows = {
                table: connection.execute(f"SELECT * FROM {table}").fetchall() for table in self.tables
            }

    def empty(self) -> None:
        """Puts the rows of the migrations in the place of all others."""
        execute_on_postgres(
            f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{self.name}'"
        )
        with self._connect() as connection:
            if self._tables(connection) == self.tables:
                connection.execute("SET session_replication_role = replica")  # references in any order
                for table, rows in self.rows.items():
                    connection.execute(f"DELETE FROM {table}")
                    for row in rows:
                        values = [Json(value) if isinstance(value, dict | list) else value for value in row]
                        places = ", ".join(["%s"] * len(row))
                        connection.execute(f"INSERT INTO {table} VALUES ({places})", values)
                return
        self.drop()  # the test has changed its schema
        execute_on_postgres(f"CREATE DATABASE {self.name} TEMPLATE {self.template}")

    def drop(self) -> None:
        """Removes it."""
        execute_on_postgres(f"DROP DATABASE IF EXISTS {self.name} WITH (FORCE)")

    def _connect(self) -> psycopg.Connection[Any]:
        url = self.url.set(drivername="postgresql").render_as_string(hide_password=False)
        return psycopg.connect(url)

    @staticmethod
    def _tables(connection: psycopg.Connection[Any]) -> dict[str, list[str]]:
        """The columns of each table, in their order."""
        found: dict[str, list[str]] = {}
        columns = "SELECT table_name, column_name FROM information_schema.columns"
        order = "WHERE table_schema = 'public' ORDER BY table_name, ordinal_position"
        for table, column in connection.execute(f"{columns} {order}"):
            found.setdefault(table, []).append(column)
        return found


@pytest.fixture(scope="session")
def emptied(postgres_template: str) -> Iterator[Emptied]:
    """The database of this process."""
    database = Emptied(postgres_template)
    yield database
    database.drop()


@pytest.fixture
def postgres_url(emptied: Emptied) -> Iterator[str]:
    """A PostgreSQL database of the test's own, at head."""
    yield emptied.url.render_as_string(hide_password=False)
    emptied.empty()


@pytest.fixture
def redis_url() -> Iterator[str]:
    """A Redis database that no other test uses at the time, empty."""
    worker = os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")
    url = f"{REDIS_URL}/{1 + int(worker) % 15}"
    try:
        server = redis.Redis.from_url(url, socket_connect_timeout=3)
        server.flushdb()
    except redis.ConnectionError as error:
        without_service(f"Redis does not answer: {error}")
    yield url
    server.flushdb()


@pytest.fixture(params=["sqlite", "postgres"])
def database_url(request: pytest.FixtureRequest) -> str:
    """A database at head, once of each kind."""
    url: str = request.getfixturevalue(f"{request.param}_url")
    return url


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """An open database at head, once of each kind."""
    opened = Database(database_url)
    yield opened
    opened.close()


@dataclass
class Service:
    """A service in this process: its client, and its jobs run on demand by the worker's own code."""

    client: TestClient
    settings: Settings
    database: Database
    artifacts: Artifacts

    def get(self, path: str, **params: Any) -> Any:
        """The JSON of a GET that must succeed."""
        answer = self.client.get(path, params=params)
        assert answer.is_success, answer.text
        return answer.json()

    def post(self, path: str, body: Any = None) -> Any:
        """The JSON of a POST that must succeed."""
        answer = self.client.post(path, json=body)
        assert answer.is_success, answer.text
        return answer.json()

    def refused(self, path: str, body: Any, status: int = 422) -> list[str]:
        """The fields that a POST is refused for."""
        answer = self.client.post(path, json=body)
        assert answer.status_code == status, answer.text
        assert answer.headers["content-type"] == "application/problem+json"
        return [error["field"] for error in answer.json()["errors"]]

    def exported(self, path: str, **params: Any) -> bytes:
        """The content of a file that a job makes, which the first GET starts."""
        answer = self.client.get(path, params=params)
        assert answer.status_code == 202, answer.text
        assert answer.headers["location"] == f"/v1/jobs/{answer.json()['id']}"
        (job,) = self.run_jobs()
        assert job["status"] == "succeeded", job
        made = self.client.get(job["links"]["file"])
        assert made.status_code == 200
        assert len(made.content) == job["result"]["bytes"]
        return made.content

    def run_jobs(self) -> list[Any]:
        """Runs every queued job, oldest first; the jobs as clients see them."""
        with self.database.session(reads_only=True) as session:
            queued = [job.id for job in session.query(Job).filter_by(status="queued").order_by(Job.id)]
        for job_id in queued:
            self.run_job(job_id)
        return [self.get(f"/v1/jobs/{job_id}") for job_id in queued]

    def run_job(
        self, job_id: str, kinds: Mapping[JobKind, Kind] = KINDS, stopping: Event | None = None
    ) -> None:
        """Runs one job if it is queued."""
        with self.database.session() as session:
            job = jobs.claim(session, job_id, self.settings.lease_seconds)
        if job is not None:
            execute(job, kinds, self.database, self.artifacts, self.settings, stopping or Event())


@pytest.fixture
def settings(tmp_path: Path, database_url: str, data_root: Path) -> Settings:
    """Settings of a service in the test's own folder, once on each database."""
    return Settings(home=tmp_path, database_url=database_url, data_root=data_root, heartbeat_seconds=0.05)


@pytest.fixture(scope="session", autouse=True)
def patient() -> Iterator[None]:
    """Distances are measured in the request however slow the machine is, but where a test says otherwise."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(neighbors, "AT_ONCE_SECONDS", 3600.0)
        yield


@pytest.fixture
def service(settings: Settings) -> Iterator[Service]:
    """A service, once on each database."""
    app = create_app(settings)
    with TestClient(app, base_url="http://localhost", raise_server_exceptions=False) as client:
        yield Service(client, settings, app.state.database, app.state.artifacts)


@pytest.fixture
def digits(service: Service) -> str:
    """The id of the digits."""
    dataset_id: str = service.post("/v1/datasets", {"name": "digits"})["id"]
    return dataset_id


@pytest.fixture
def published(service: Service) -> list[str]:
    """The ids of the published genotypes."""
    return [row["id"] for row in service.post("/v1/genotypes/published")["items"]]


@pytest.fixture
def latent_space(service: Service, published: list[str]) -> str:
    """The path of a latent space trained on six published genotypes, briefly."""
    overrides = {"max_epochs": 100, "random_genotypes": 0}
    body = {"genotype_ids": published[:6], "overrides": overrides}
    path: str = service.post("/v1/latent-spaces", body)["links"]["latent_space"]
    (job,) = service.run_jobs()
    assert job["status"] == "succeeded", job
    return path
