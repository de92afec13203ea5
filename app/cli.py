"""The commands of the service itself; `vgae-nas` has them beside those of the client."""

import os
import signal
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy.orm import Session

    from app.database import Database

# the rest is imported where it is used: `--help` must not wait for what it does not need

cli = typer.Typer(no_args_is_help=True, help="Runs the service.")


keys = typer.Typer(no_args_is_help=True, help="Makes, lists and revokes keys of this service.")
cli.add_typer(keys, name="keys")


@cli.command()
def migrate() -> None:
    """Brings the database's schema to head."""
    from alembic import command

    from app.database import alembic_config
    from app.settings import get_settings

    command.upgrade(alembic_config(get_settings().database_url), "head")


@cli.command()
def up(
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on.")] = None,
    workers: Annotated[int | None, typer.Option(min=0, help="Workers beside the API.")] = None,
) -> None:
    """Makes everything ready and starts it: schema, published genotypes, digits, API and workers."""
    from app.artifacts import Artifacts
    from app.datasets import service as datasets
    from app.datasets.schemas import DatasetIn
    from app.genotypes import service as genotypes
    from app.settings import get_settings

    os.environ.setdefault("VGAE_NAS_LOG_LEVEL", "WARNING")
    migrate()
    settings = get_settings()
    with _sessions() as session:
        genotypes.register_published(session)
        datasets.register(session, DatasetIn(name="digits"), settings, Artifacts(settings.artifacts_url))
    address = f"http://{host or settings.host}:{port or settings.port}"
    typer.echo(f"VGAE-NAS is at {address}, its documents at {address}/docs; Ctrl-C stops it")
    serve(host, port, workers)


@cli.command()
def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on; 0 takes a free one.")] = None,
    workers: Annotated[
        int | None,
        typer.Option(
            min=0, help="Workers beside the API; by default one a GPU, or one a core as far as memory goes."
        ),
    ] = None,
    api_workers: Annotated[int, typer.Option(min=1, help="Processes that answer requests.")] = 1,
) -> None:
    """Starts the API and its workers, and stops all together."""
    import logging
    import tempfile

    import uvicorn

    from app import logs
    from app.database import Database, SchemaError
    from app.keys.service import UnguardedError, require_guard
    from app.metrics import FOLDER
    from app.settings import get_settings
    from app.supervisor import Supervisor, default_workers, raise_file_limit

    if host is not None:
        os.environ["VGAE_NAS_HOST"] = host  # for the processes too
    settings = get_settings()
    logs.configure(settings.log_format, settings.log_level)
    raise_file_limit()
    database = Database(settings.database_url, settings.answer_seconds)
    try:
        database.require_head()
        guarded = require_guard(database, settings)
    except (SchemaError, UnguardedError) as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from None
    finally:
        database.close()
    if not guarded:
        logging.getLogger(__name__).warning("open: whoever reaches %s needs no key", settings.host)
    # uvicorn raises the signal again when it is done; the default would end us before the workers
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with (
        tempfile.TemporaryDirectory(prefix="vgae-nas-metrics-") as folder,
        Supervisor(default_workers() if workers is None else workers, {FOLDER: folder}),
    ):
        os.environ[FOLDER] = folder
        uvicorn.run(
            "app.serving:opening",
            factory=True,
            host=settings.host,
            port=settings.port if port is None else port,
            http="app.serving:Protocol",
            workers=api_workers,
            limit_concurrency=settings.max_connections,
            timeout_graceful_shutdown=5,
            log_config=None,
            access_log=False,
        )


@cli.command()
def worker(
    kinds: Annotated[
        str | None, typer.Option(help="Kinds of jobs that it takes, as search,train; by default all.")
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="So many, started again when they die; each has a GPU in turn.")
    ] = None,
) -> None:
    """Runs one worker, or several."""
    import time

    from app.supervisor import WORKER, Supervisor

    if kinds is not None:
        os.environ["VGAE_NAS_KINDS"] = kinds
    if workers is None:
        os.execv(WORKER[0], WORKER)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with Supervisor(workers):
        while True:
            time.sleep(3600)


@cli.command()
def check(
    age: Annotated[
        float,
        typer.Option(min=0, help="Seconds in which a file may wait for its row; for an idle service 0."),
    ] = 3600.0,
) -> None:
    """Tells what is wrong between jobs, results, events and files; fails if anything is."""
    import json
    from collections import Counter
    from datetime import timedelta

    from app import tables as tables  # so that the metadata knows every table
    from app.artifacts import Artifacts
    from app.database import Database, SchemaError
    from app.settings import get_settings
    from app.upkeep.check import TROUBLES, findings

    settings = get_settings()
    database = Database(settings.database_url)
    try:
        database.require_head()
        wait = timedelta(seconds=age)
        found = list(findings(database, Artifacts(settings.artifacts_url), settings.lease_seconds, wait))
    except SchemaError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from None
    finally:
        database.close()
    for finding in found:
        typer.echo(f"{finding.trouble}: {finding.subject}: {finding.detail}")
    counts = Counter(finding.trouble for finding in found)
    typer.echo(json.dumps({trouble: counts[trouble] for trouble in TROUBLES}))
    raise typer.Exit(1 if found else 0)


@cli.command()
def load(
    file: Annotated[
        Path, typer.Argument(exists=True, dir_okay=False, help="JSON as in bench/results, or CSV.")
    ],
    space: Annotated[str | None, typer.Option(help="The search space of a CSV table.")] = None,
    dataset: Annotated[
        list[str] | None,
        typer.Option(help="A data set and its column of accuracies in percent, as cifar10=cifar10_test."),
    ] = None,
) -> None:
    """Registers a file of finished searches, or a table of trained architectures; safe to repeat."""
    from pydantic import ValidationError

    from app import tables as tables  # so that the metadata knows every table
    from app.database import Database, SchemaError
    from app.problems import Problem
    from app.settings import get_settings

    database = Database(get_settings().database_url)
    try:
        database.require_head()
        told = _load_table(database, file, space, dataset or []) if file.suffix == ".csv" else None
        told = told or _load_library(database, file, space, dataset)
    except (SchemaError, ValidationError, Problem) as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from None
    finally:
        database.close()
    typer.echo(told)


def _load_library(database: "Database", file: Path, space: str | None, dataset: list[str] | None) -> str:
    from app.genotypes import service as genotypes
    from app.genotypes.schemas import Library

    if space is not None or dataset:
        raise typer.BadParameter("--space and --dataset are for CSV tables")
    library = Library.model_validate_json(file.read_bytes())
    with database.session() as session:
        rows = genotypes.register_library(session, library)
    return f"{len(rows)} genotypes of {file.name} are registered"


def _load_table(database: "Database", file: Path, space: str | None, dataset: list[str]) -> str:
    from app.genotypes.loading import load_table

    if space is None:
        raise typer.BadParameter("a CSV table needs --space")
    columns = {}
    for pair in dataset:
        name, separator, column = pair.partition("=")
        if not separator or not name or not column or name in columns:
            raise typer.BadParameter(f"--dataset must be NAME=COLUMN, each name once (got {pair!r})")
        columns[name] = column
    with database.session() as session:
        loaded = load_table(session, file, space, columns)
    return (
        f"{loaded.genotypes} genotypes of {file.name} are registered, {loaded.new_genotypes} of them new, "
        f"with {loaded.evaluations} evaluations, {loaded.new_evaluations} of them new"
    )


@cli.command()
def profile(
    device: Annotated[str, typer.Option(help="What requests will call the device.")],
    space: Annotated[str, typer.Option(help="The search space.")] = "darts",
    image_size: Annotated[int, typer.Option(min=1, max=1024, help="Of the images, in pixels.")] = 32,
    channels: Annotated[
        list[int] | None, typer.Option(min=2, max=512, help="Of networks; by default the space's own.")
    ] = None,
    cells: Annotated[
        list[int] | None, typer.Option(min=1, max=40, help="Of networks; by default the space's own.")
    ] = None,
    kit: Annotated[
        Path | None,
        typer.Option(help="Writes a zip to take to the device instead: unzip it, run measure.py there."),
    ] = None,
    threads: Annotated[int, typer.Option(min=1, help="That the runtime takes.")] = 1,
    url: Annotated[
        str | None, typer.Option(help="Posts the table to this service, else to this machine's database.")
    ] = None,
) -> None:
    """Times every operation that networks of a search space need, so that latencies can be told.

    Whatever lies between the given channels and cells is told too: give the least and the most.
    """
    from itertools import product

    from models.exports.kit import kit as make_kit
    from models.genotypes.search_space import SEARCH_SPACES
    from models.genotypes.size import NetworkShape, standard_network

    if space not in SEARCH_SPACES:
        raise typer.BadParameter(f"--space must be one of {', '.join(SEARCH_SPACES)}")
    standard = standard_network(SEARCH_SPACES[space])
    shapes = [
        NetworkShape(width, depth, image_size=image_size)
        for width, depth in product(channels or [standard.channels], cells or [standard.cells])
    ]
    typer.echo("the models to time are made; this takes minutes", err=True)
    files = make_kit(SEARCH_SPACES[space], shapes)
    if kit is not None:
        _write_zip(kit, files)
        typer.echo(f"{kit} is written; on the device: unzip it, then python measure.py --device {device}")
        return
    typer.echo(_measure_here(device, files, threads, url))


def _write_zip(path: Path, files: dict[str, bytes]) -> None:
    import zipfile

    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)


def _measure_here(device: str, files: dict[str, bytes], threads: int, url: str | None) -> str:
    """Runs `measure.py` on this machine, as it would run on another; what was kept."""
    import json
    import subprocess
    import tempfile

    from pydantic import ValidationError

    from app import tables as tables  # so that the metadata knows every table
    from app.database import Database, SchemaError
    from app.devices import service
    from app.devices.schemas import DeviceIn
    from app.problems import Problem
    from app.settings import get_settings

    with tempfile.TemporaryDirectory() as folder:
        for name, content in files.items():
            (Path(folder) / name).write_bytes(content)
        command = [sys.executable, "measure.py", "--device", device, "--threads", str(threads)]
        ran = subprocess.run([*command, *(["--url", url] if url else [])], cwd=folder, check=False)
        if ran.returncode:
            raise typer.Exit(ran.returncode)
        table = json.loads((Path(folder) / "table.json").read_text(encoding="utf-8"))
    if url:
        return f"the table of {device!r} is posted to {url}"
    database = Database(get_settings().database_url)
    try:
        database.require_head()
        with database.session() as session:
            shown = service.shown(service.register(session, DeviceIn.model_validate(table))[0])
    except (SchemaError, ValidationError, Problem) as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from None
    finally:
        database.close()
    away = shown["median_relative_error"]
    told = (
        "" if away is None else f"; it tells networks that it has not seen with a median error of {away:.1%}"
    )
    return f"the table of {device!r} is kept{told}"


@keys.command("create")
def create_key(
    name: Annotated[str, typer.Option(help="Of its holder.")],
    scope: Annotated[str, typer.Option(help="read, write or admin.")] = "write",
    rate: Annotated[str | None, typer.Option(help="Requests, as 600/minute.")] = None,
    quota: Annotated[str | None, typer.Option(help="Requests that start jobs, as 100/day.")] = None,
) -> None:
    """Makes a key and prints it, this once. From then on every request needs a key."""
    from pydantic import ValidationError

    from app.keys import service
    from app.keys.schemas import KeyIn
    from app.problems import Problem, from_validation

    with _sessions() as session:
        try:
            request = KeyIn.model_validate({"name": name, "scope": scope, "rate": rate, "quota": quota})
            _, text = service.create(session, request)
        except ValidationError as error:
            raise typer.BadParameter(from_validation(error.errors()).detail) from None
        except Problem as error:
            raise typer.BadParameter(error.detail) from None
    typer.echo(text)


@keys.command("list")
def list_keys() -> None:
    """Tells every key, what it is for, and when it was last used."""
    from app.keys import service

    with _sessions() as session:
        for key in session.scalars(service.listing()):
            used = "never used" if key.last_used_at is None else f"used {key.last_used_at:%Y-%m-%d %H:%M} UTC"
            state = "revoked" if key.revoked_at else used
            typer.echo(f"{key.name}\t{key.scope.value}\t{state}")


@keys.command("revoke")
def revoke_key(name: Annotated[str, typer.Argument(help="Its name or id.")]) -> None:
    """Makes a key open nothing any more."""
    from app.keys import service
    from app.problems import NotFound

    with _sessions() as session:
        try:
            service.revoke(session, name)
        except NotFound as error:
            raise typer.BadParameter(error.detail) from None
    typer.echo(f"{name} opens nothing any more")


@contextmanager
def _sessions() -> "Iterator[Session]":
    """A session of the service's database, which must be at head."""
    from app import tables as tables  # so that the metadata knows every table
    from app.database import Database, SchemaError
    from app.settings import get_settings

    database = Database(get_settings().database_url)
    try:
        database.require_head()
        with database.session() as session:
            yield session
    except SchemaError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from None
    finally:
        database.close()
