"""The `vgae-nas` command."""

import os
import signal
import subprocess
import sys
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
    worker: Annotated[bool, typer.Option(help="Also run one worker.")] = True,
) -> None:
    """Starts the API and one worker, and stops both together."""
    settings = get_settings()
    child = None
    try:
        app = create_app(settings)
        app.state.database.require_head()
        child = subprocess.Popen(WORKER) if worker else None
        _serve(app, settings, host, port)
    except SchemaError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from None
    finally:
        if child is not None:
            _stop(child)


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


def _stop(child: subprocess.Popen[bytes]) -> None:
    child.send_signal(signal.SIGTERM)
    try:
        child.wait(timeout=30)
    except subprocess.TimeoutExpired:
        child.kill()
