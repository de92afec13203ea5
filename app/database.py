"""Engine, sessions, the declarative base, and the check that the schema is at head."""

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from enum import StrEnum
from importlib.resources import files
from pathlib import Path
from typing import Any, Generic, TypeVar

import psycopg
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from pydantic_core import from_json, to_json
from sqlalchemy import (
    JSON,
    BigInteger,
    DateTime,
    Dialect,
    Engine,
    MetaData,
    String,
    create_engine,
    event,
    func,
    insert,
    select,
)
from sqlalchemy.engine import make_url
from sqlalchemy.exc import IntegrityError, InvalidatePoolError
from sqlalchemy.orm import DeclarativeBase, Session
from sqlalchemy.sql import FromClause
from sqlalchemy.types import TypeDecorator
from ulid import ULID

from app import owners
from app.problems import Conflict

MEND = "vgae-nas migrate"
"""The command that brings a schema to head."""


CONNECT_SECONDS = 5
"""Time in which a database server must take a connection."""

SPARE_SECONDS = 2.0
"""Further time after which a server that should have given up by itself is taken for hung."""

REST_SECONDS = 1.0
"""Time after which a connection that rested is asked whether it still lives, before it is used."""

POOL: dict[str, int] = {"pool_size": 10, "max_overflow": 10, "pool_timeout": 15}
"""Connections of a process: kept, more at once, and seconds that a request waits for one."""


class SchemaError(RuntimeError):
    """The database's schema is not the one that this code needs."""


class UTCDateTime(TypeDecorator[datetime]):
    """A time with its zone, also where the database keeps none."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return value.astimezone(UTC) if value is not None else None

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


E = TypeVar("E", bound=StrEnum)


class OneOf(TypeDecorator[E], Generic[E]):
    """A column that holds a member of a closed set, kept as its text.

    Args:
        members: the set.
    """

    impl = String
    cache_ok = True

    def __init__(self, members: type[E]) -> None:
        super().__init__()
        self.members = members

    def process_bind_param(self, value: E | str | None, dialect: Dialect) -> str | None:
        return None if value is None else self.members(value).value

    def process_result_value(self, value: str | None, dialect: Dialect) -> E | None:
        return None if value is None else self.members(value)


class Base(DeclarativeBase):
    """Base class of all tables: names of constraints, and the column types of Python's types."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {
        datetime: UTCDateTime,
        dict[str, Any]: JSON(none_as_null=True),
        list[Any]: JSON(none_as_null=True),
        str: String,
        int: BigInteger,
    }


def now() -> datetime:
    """The present, in UTC."""
    return datetime.now(UTC)


_id_lock = threading.Lock()
_last_id = 0


def new_id(prefix: str) -> str:
    """A prefixed id that sorts by time, `gen_01J…`; ids of one process are strictly increasing."""
    return new_ids(prefix, 1)[0]


def new_ids(prefix: str, count: int) -> list[str]:
    """Makes several prefixed ids at once; each is larger than all that this process made before."""
    global _last_id
    with _id_lock:
        first = max(int(ULID()), _last_id + 1)
        _last_id = first + count - 1
    return [f"{prefix}_{ULID.from_int(first + i)}" for i in range(count)]


def one_at_a_time(session: Session, name: str) -> None:
    """Holds a lock of this name until the transaction ends; on SQLite writers wait for each other anyway."""
    if session.get_bind().dialect.name == "postgresql":
        session.execute(select(func.pg_advisory_xact_lock(func.hashtext(name))))


def delete(session: Session, row: Base) -> None:
    """Removes a row that no other row refers to, not yet committed.

    Raises:
        Conflict: a row refers to it; the message names that row. The transaction is rolled back.
    """
    table, key = row.__table__, row.id  # type: ignore[attr-defined]
    session.delete(row)
    try:
        session.flush()
    except IntegrityError:
        session.rollback()
        needed_by = _referring(session, table, key)
        raise Conflict(f"{key} stays, since it is needed by {needed_by}") from None


class Database:
    """One database and its sessions.

    Args:
        url: a SQLAlchemy URL. On SQLite, sessions that may write take the write lock when they
            begin, since one that reads first and writes later can fail without waiting.
        answer_seconds: time in which a server must have executed a statement; any time by default.

    Attributes:
        reading: the engine of sessions that only read; each statement is a transaction of its own.
        writing: that of all others, with the same connections.
    """

    def __init__(self, url: str, answer_seconds: float | None = None) -> None:
        if url.startswith("sqlite"):
            self.reading = _sqlite(url)
            self.writing = self.reading.execution_options(writes=True)
        else:
            self.reading = _server(url, answer_seconds)
            self.writing = self.reading.execution_options(isolation_level="READ COMMITTED")

    @contextmanager
    def session(self, *, reads_only: bool = False) -> Iterator[Session]:
        """A session; what is not committed when it closes is rolled back."""
        with self.begin(reads_only=reads_only) as session:
            yield session

    def begin(self, *, reads_only: bool = False) -> Session:
        """A session that the caller closes; it takes its connection at its first query."""
        return Session(
            self.reading if reads_only else self.writing,
            expire_on_commit=False,
            info={owners.SEES: owners.caller()},
        )

    def add(self, table: type[Base], rows: Sequence[Mapping[str, Any]]) -> None:
        """Adds rows to a table, all or none, committed; a single one takes one round trip."""
        engine = self.reading if len(rows) == 1 else self.writing
        with engine.begin() as connection:
            connection.execute(insert(table), rows)

    def require_head(self) -> None:
        """Raises `SchemaError` if the schema is not at head, saying which command mends it."""
        head = ScriptDirectory.from_config(alembic_config()).get_current_head()
        with self.reading.connect() as connection:
            current = MigrationContext.configure(connection).get_current_revision()
        if current != head:
            raise SchemaError(
                f"the database's schema is at {current or 'nothing'} and this server needs {head}; "
                f"run `{MEND}` first"
            )

    def close(self) -> None:
        """Closes every connection."""
        self.reading.dispose()


def alembic_config(url: str | None = None) -> Config:
    """Alembic's configuration, found from the package so that any working directory will do."""
    config = Config()
    config.set_main_option("script_location", str(files("migrations")))
    config.attributes["url"] = url
    return config


def _referring(session: Session, table: FromClause, key: str) -> str:
    """Names a row that refers to the given one, by its id and table."""
    for other in Base.metadata.sorted_tables:
        for reference in other.foreign_keys:
            if reference.column.table is not table or reference.ondelete is not None:
                continue
            key_column = next(iter(other.primary_key))
            row_id = session.scalar(select(key_column).where(reference.parent == key).limit(1))
            if row_id is not None:
                # the row of a table in between is named by what it belongs to
                owner = next((key.column.table.name for key in key_column.foreign_keys), other.name)
                return f"{row_id} of the {owner.replace('_', ' ')}"
    return "something that changed meanwhile; try again"


def _json(value: Any) -> str:
    return to_json(value).decode()


class _Connection(psycopg.Connection[Any]):
    """A connection that waits no longer than its patience for a server that hangs.

    The server gives up a statement by itself after `statement_timeout`; one that is frozen does not.
    """

    patience: float | None = None

    def wait(self, gen: Any, interval: float = 0.1, timeout: float | None = None) -> Any:
        started = time.monotonic()
        try:
            return super().wait(gen, interval, self.patience if timeout is None else timeout)
        except psycopg.OperationalError:
            if self.patience is not None and time.monotonic() - started >= self.patience:
                self.pgconn.finish()  # so that the pool takes it for lost
            raise


def _server(url: str, answer_seconds: float | None) -> Engine:
    # a query sees what was committed before it, as in a transaction that only reads, without its round trips;
    # and since this is how connections rest, a session that reads has nothing to set or to take back
    engine = create_engine(
        url,
        json_serializer=_json,
        json_deserializer=from_json,
        isolation_level="AUTOCOMMIT",
        skip_autocommit_rollback=True,
        **POOL,
    )

    @event.listens_for(engine, "do_connect")
    def connect(_dialect: Any, _record: Any, arguments: Any, options: dict[str, Any]) -> _Connection:
        options.setdefault("connect_timeout", CONNECT_SECONDS)
        connection = _Connection.connect(*arguments, **options)
        if answer_seconds is not None:
            connection.execute(f"SET statement_timeout = {round(1_000 * answer_seconds)}")
            connection.commit()
            connection.patience = answer_seconds + SPARE_SECONDS
        return connection

    @event.listens_for(engine, "checkin")
    def rest(_connection: Any, record: Any) -> None:
        record.info["rests_since"] = time.monotonic()

    @event.listens_for(engine, "checkout")
    def wake(connection: Any, record: Any, _proxy: Any) -> None:
        rests_since = record.info.get("rests_since")
        if rests_since is not None and time.monotonic() - rests_since > REST_SECONDS:
            try:
                engine.dialect.do_ping(connection)
            except psycopg.Error as error:
                raise InvalidatePoolError from error

    return engine


def _sqlite(url: str) -> Engine:
    path = make_url(url).database
    if path and path != ":memory:":
        Path(path).parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(
        url, connect_args={"timeout": 60.0}, json_serializer=_json, json_deserializer=from_json, **POOL
    )

    @event.listens_for(engine, "connect")
    def configure(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # transactions begin below, not by the driver's guess
        for pragma in ("journal_mode=WAL", "foreign_keys=ON", "synchronous=NORMAL"):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def begin(connection: Any) -> None:
        writes = connection.get_execution_options().get("writes", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine
