"""Services in processes of their own, as `vgae-nas serve` starts them."""

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

COMMAND = str(Path(sys.executable).parent / "vgae-nas")

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


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


def start(home: Path, workers: int = 1, port: int = 0) -> Served:
    """Starts a service and waits until it listens."""
    environment, log = environment_of(home), home / "log"
    subprocess.run([COMMAND, "migrate"], env=environment, check=True, timeout=PATIENCE_SECONDS)
    with log.open("wb") as out:
        command = [COMMAND, "serve", "--port", str(port), "--workers", str(workers)]
        server = subprocess.Popen(command, env=environment, stdout=out, stderr=out)
    patience = time.monotonic() + PATIENCE_SECONDS
    while b"Uvicorn running on " not in log.read_bytes():
        assert server.poll() is None, log.read_text()
        assert time.monotonic() < patience, log.read_text()
        time.sleep(0.05)
    url = log.read_text().split("Uvicorn running on ")[1].split()[0]
    return Served(url, home, server)


@contextmanager
def serving(home: Path, workers: int = 1) -> Iterator[Served]:
    """A service for as long as the context lasts; its folder goes with it."""
    served = start(home, workers)
    try:
        yield served
    finally:
        family = psutil.Process(served.process.pid).children(recursive=True)
        served.process.terminate()
        served.process.wait()
        for process in family:
            if process.is_running():
                process.kill()
        shutil.rmtree(home, ignore_errors=True)
