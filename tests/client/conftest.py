"""A real service with a worker, in processes of its own, for all tests of the client in this process."""

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest
from PIL import Image
from vgae_nas_client import Client

COMMAND = str(Path(sys.executable).parent / "vgae-nas")

PATIENCE_SECONDS = 300


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


@pytest.fixture(scope="session")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a service that `vgae-nas serve` started."""
    home = tmp_path_factory.mktemp("service")
    environment = {**os.environ, "VGAE_NAS_HOME": str(home), "OMP_NUM_THREADS": "1"}
    for name in ("DATABASE_URL", "BROKER_URL", "KEY", "URL"):
        environment.pop(f"VGAE_NAS_{name}", None)
    subprocess.run([COMMAND, "migrate"], env=environment, check=True, timeout=PATIENCE_SECONDS)
    log = home / "log"
    with log.open("wb") as out:
        command = [COMMAND, "serve", "--port", "0", "--workers", "1"]
        server = subprocess.Popen(command, env=environment, stdout=out, stderr=out)
    patience = time.monotonic() + PATIENCE_SECONDS
    while b"Uvicorn running on " not in log.read_bytes():
        assert server.poll() is None, log.read_text()
        assert time.monotonic() < patience, log.read_text()
        time.sleep(0.05)
    yield log.read_text().split("Uvicorn running on ")[1].split()[0]
    family = psutil.Process(server.pid).children(recursive=True)
    server.terminate()
    server.wait()
    for process in family:
        if process.is_running():
            process.kill()
    shutil.rmtree(home, ignore_errors=True)


@pytest.fixture
def nas(url: str) -> Iterator[Client]:
    """A client of it."""
    with Client(url) as client:
        yield client


@pytest.fixture
def photos(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """A folder of images of two classes, under a name of the test's own."""
    generator = np.random.default_rng(0)
    folder = tmp_path / request.node.name.split("[")[0].replace("_", "-")[:60]
    for label, level in (("dark", 60), ("light", 180)):
        (folder / label).mkdir(parents=True)
        for number in range(24):
            pixels = generator.normal(level, 30, (16, 16, 3)).clip(0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / label / f"{number}.jpg")
    (folder / ".hidden").write_text("no image")
    return folder
