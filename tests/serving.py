"""Services in processes of their own, as `vgae-nas serve` starts them."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
from alembic import command

from app.database import alembic_config
from app.settings import Settings
from bench.servers import VGAE_NAS, listens

PATIENCE_SECONDS = 300


@dataclass(frozen=True)
class Served:
    """A running service.

    Args:
        url: its address.
        home: its folder.
        process: the one that started the others.
    """

    url: str
    home: Path
    process: "subprocess.Popen[bytes]"

    def kill(self) -> None:
        """Ends it and all its workers at once."""
        family = [self.process, *psutil.Process(self.process.pid).children(recursive=True)]
        for process in family:
            process.kill()
        self.process.wait()


def environment_of(home: Path) -> dict[str, str]:
    """The settings of a service in a folder."""
    environment = {**os.environ, "VGAE_NAS_HOME": str(home), "OMP_NUM_THREADS": "1"}
    for name in ("DATABASE_URL", "BROKER_URL", "KEY", "URL"):
        environment.pop(f"VGAE_NAS_{name}", None)
    return environment


def migrate(home: Path) -> None:
    """Brings the database of a folder to head, in this process, which has imported all that it takes."""
    url = Settings(home=home, database_url="").database_url
    command.upgrade(alembic_config(url), "head")


def start(home: Path, workers: int = 1, port: int = 0) -> Served:
    """Starts a service and waits until it listens."""
    environment, log = environment_of(home), home / "log"
    migrate(home)
    with log.open("wb") as out:
        serve = [VGAE_NAS, "serve", "--port", str(port), "--workers", str(workers)]
        server = subprocess.Popen(serve, env=environment, stdout=out, stderr=out)
    return Served(listens(log, server), home, server)


@contextmanager
def serving(home: Path, workers: int = 1) -> Iterator[Served]:
    """A service for as long as the context lasts; its folder goes with it."""
    served = start(home, workers)
    try:
        yield served
    finally:
        served.kill()
        shutil.rmtree(home, ignore_errors=True)
