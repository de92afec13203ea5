"""The `vgae-nas` command."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Annotated

import typer
import uvicorn
from alembic import command
from pydantic import ValidationError

from app.database import Database, SchemaError, alembic_config
from app.genotypes import service as genotypes
from app.genotypes.schemas import Library
from app.main import create_app
from app.problems import Problem
from app.settings import Settings, get_settings

cli = typer.Typer(
    no_args_is_help=True, add_completion=False, help="Neural architectures at zero search hours."
)

WORKER = (sys.executable, "-m", "worker.main")
"""A process of its own, as the code of `app` never imports that of `worker`."""


@cli.command()
def migrate() -> None:
    """Brings the database's schema to head."""
    command.upgrade(alembic_config(get_settings().database_url), "head")


@cli.command()
def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on; 0 takes a free one.")] = None,
    workers: Annotated[
        int, typer.Option(min=0, help="Workers beside the API; small trainings share a device well.")
    ] = 1,
) -> None:
    """Starts the API and its workers, and stops all together."""
    settings = get_settings()
    children: list[subprocess.Popen[bytes]] = []
    try:
        app = create_app(settings)
        app.state.database.require_head()
        for _ in range(workers):
            children.append(subprocess.Popen(WORKER, env=_shared(workers)))
        _serve(app, settings, host, port)
    except SchemaError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from None
    finally:
        _stop(children)


@cli.command()
def worker() -> None:
    """Runs one worker."""
    os.execv(WORKER[0], WORKER)


@cli.command()
def load(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="As in bench/results.")],
) -> None:
    """Registers the genotypes of a file of finished searches; safe to repeat."""
    database = Database(get_settings().database_url)
    try:
        database.require_head()
        library = Library.model_validate_json(file.read_bytes())
        with database.session() as session:
            rows = genotypes.register_library(session, library)
    except (SchemaError, ValidationError, Problem) as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from None
    typer.echo(f"{len(rows)} genotypes of {file.name} are registered")


def main() -> None:
    """The entry point of the `vgae-nas` script."""
    cli()


def _serve(app: object, settings: Settings, host: str | None, port: int | None) -> None:
    # uvicorn raises the signal again when it is done; the default would end us before the worker
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    uvicorn.run(
        app,  # type: ignore[arg-type]
        host=host or settings.host,
        port=settings.port if port is None else port,
        timeout_graceful_shutdown=5,
    )


def _shared(workers: int) -> dict[str, str]:
    """The environment of a worker that shares this machine's cores with others."""
    if workers == 1:
        return dict(os.environ)
    return {"OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 1) // workers)), **os.environ}


def _stop(children: list["subprocess.Popen[bytes]"]) -> None:
    for child in children:
        child.send_signal(signal.SIGTERM)
    deadline = time.monotonic() + 30
    for child in children:
        try:
            child.wait(timeout=max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            child.kill()
