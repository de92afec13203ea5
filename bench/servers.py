"""Servers that benches start for themselves, each in a folder of its own: the service, PostgreSQL, Redis."""

import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import httpx

VGAE_NAS = str(Path(sys.executable).parent / "vgae-nas")

START_SECONDS = 300
"""Time in which a server must listen; a slow machine needs many."""


@contextmanager
def server(
    workers: int | None = 1, *options: str, environment: Mapping[str, str] | None = None
) -> Iterator[httpx.Client]:
    """A client of a service with so many workers, `None` for its default; it lives as long.

    Args:
        workers: beside the API.
        options: more of them for `vgae-nas serve`.
        environment: more settings, by variable.
    """
    with tempfile.TemporaryDirectory() as home:
        variables = {**os.environ, "VGAE_NAS_HOME": home, "VGAE_NAS_PORT": "0", **(environment or {})}
        subprocess.run([VGAE_NAS, "migrate"], env=variables, check=True, capture_output=True)
        log = Path(home) / "log"
        with log.open("wb") as out:
            command = [VGAE_NAS, "serve", *([] if workers is None else ["--workers", str(workers)]), *options]
            process = subprocess.Popen(command, env=variables, stdout=out, stderr=out)
        try:
            with httpx.Client(base_url=listens(log, process), timeout=600) as client:
                yield client
        finally:
            process.terminate()
            process.wait(60)


def listens(log: Path, process: "subprocess.Popen[bytes]") -> str:
    """The address that uvicorn writes to its log when it listens."""
    for _ in range(10 * START_SECONDS):
        match = re.search(r"running on (http://\S+)", log.read_text())
        if match:
            return match[1]
        if process.poll() is not None:
            break
        time.sleep(0.1)
    raise SystemExit(f"the server did not start:\n{log.read_text()}")


class Postgres:
    """A PostgreSQL server of our own, with an empty database.

    Args:
        folder: of its files.

    Raises:
        SystemExit: PostgreSQL is not installed.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, free_port()
        self.url = f"postgresql+psycopg://postgres@127.0.0.1:{self.port}/postgres"
        # PostgreSQL refuses to run as root
        self._user = {"user": "postgres"} if os.geteuid() == 0 else {}
        folder.mkdir(parents=True)
        if self._user:
            shutil.chown(folder, "postgres")
        self._run("initdb", "-D", str(folder), "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync")
        self.start()

    def start(self) -> None:
        """Starts it, and waits until it answers."""
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories="
        self._control("start", "-l", str(self.folder / "log"), "-o", options)

    def stop(self, how: str = "fast") -> None:
        """Stops it: `fast` breaks its connections, `immediate` is a crash."""
        self._control("stop", "-m", how)

    def pid(self) -> int:
        """Of the process that the others are children of."""
        return int((self.folder / "postmaster.pid").read_text().split()[0])

    def _control(self, what: str, *options: str) -> None:
        """Runs `pg_ctl` and waits until it is done."""
        self._run("pg_ctl", what, "-w", "-t", str(START_SECONDS), "-D", str(self.folder), *options)

    def _run(self, program: str, *arguments: str) -> None:
        # a server started by pg_ctl would keep a pipe open
        with tempfile.TemporaryFile() as out:
            command = [str(_postgres_programs() / program), *arguments]
            done = subprocess.run(command, stdout=out, stderr=out, cwd="/", check=False, **self._user)
            if done.returncode:
                out.seek(0)
                raise SystemExit(f"{program} failed: {out.read().decode()}")


@contextmanager
def postgres() -> Iterator[Postgres]:
    """A PostgreSQL server of our own, for as long as the context lasts."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)  # the server may run as another user
        running = Postgres(Path(folder) / "postgres")
        try:
            yield running
        finally:
            running.stop("immediate")


def free_port() -> int:
    """A port of the loopback that nobody listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


def program(name: str, package: str) -> str:
    """The path of a program that a bench needs.

    Raises:
        SystemExit: it is not installed.
    """
    path = shutil.which(name)
    if path is None:
        raise SystemExit(f"{name} is needed: install it (Debian: apt-get install {package})")
    return path


def _postgres_programs() -> Path:
    """The folder of `initdb` and `pg_ctl`, which distributions keep out of the PATH."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return found[-1].parent if found else Path(program("initdb", "postgresql")).parent


def machine() -> dict[str, str]:
    """The machine and the day, for a file of results."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    processor = next((line.split(":")[1].strip() for line in lines if "model name" in line), "unknown")
    machine = f"{os.cpu_count()} cores, {processor}, no GPU, everything on the same machine"
    return {"date": time.strftime("%Y-%m-%d"), "machine": machine}


class Redis:
    """A Redis server of our own, which keeps nothing on disk.

    Raises:
        SystemExit: Redis is not installed.
    """

    def __init__(self) -> None:
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.process = self._started()

    def restart(self) -> None:
        """Kills it and starts another, which knows nothing."""
        self.process.kill()
        self.process.wait()
        self.process = self._started()

    def _started(self) -> "subprocess.Popen[bytes]":
        options = ["--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        command = [program("redis-server", "redis-server"), *options]
        started = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for _ in range(10 * START_SECONDS):
            with socket.socket() as client:
                if client.connect_ex(("127.0.0.1", self.port)) == 0:
                    return started
            time.sleep(0.1)
        raise SystemExit("Redis did not start")


@contextmanager
def redis() -> Iterator[Redis]:
    """A Redis server of our own, for as long as the context lasts."""
    running = Redis()
    try:
        yield running
    finally:
        running.process.kill()
        running.process.wait()
