"""How many requests the API answers, against a bare FastAPI endpoint with one indexed query in the same run.

wrk asks from a process of its own, with more and more connections. The service and PostgreSQL are the bench's
own; the service has no workers, so that its jobs wait. The bare endpoint and the calls take turns.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from bench.servers import listens, machine, postgres, program, server

CONNECTIONS, SECONDS, JOBS = (1, 16, 64, 512), 30, 200
SCRIPT = Path(__file__).with_name("api.lua")
TIMEOUT_SECONDS = 120

Request = tuple[str, str]
"""A path, and the body of a POST or nothing."""


@contextmanager
def bare(database_url: str) -> Iterator[str]:
    """The address of a server of the bare endpoint, for as long as the context lasts."""
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        command = [sys.executable, "-m", "uvicorn", "--factory", "bench.bare:create_app", "--port", "0"]
        with log.open("wb") as out:
            environment = {**os.environ, "VGAE_NAS_DATABASE_URL": database_url}
            process = subprocess.Popen(command, env=environment, stdout=out, stderr=out)
        try:
            yield listens(log, process)
        finally:
            process.terminate()
            process.wait(60)


def prepare(client: httpx.Client) -> dict[str, list[Request]]:
    """Fills the store, and makes the requests of each call."""
    dataset_id = client.post("/v1/datasets", json={"name": "digits"}).raise_for_status().json()["id"]
    body = {"dataset_id": dataset_id, "recipe": "quick"}
    started = [client.post("/v1/searches", json=body).raise_for_status() for _ in range(JOBS)]
    genotypes = client.post("/v1/genotypes/published").raise_for_status().json()["items"]
    near = {"near": {"genotype_id": genotypes[0]["id"]}, "count": 1}
    job = (started[JOBS // 2].headers["Location"], "")
    listed = ("/v1/jobs?limit=50", "")
    generated = ("/v1/latent-spaces/generate", json.dumps(near))
    return {
        "job": [job],
        "list": [listed],
        "generate": [generated],
        "mix": [job] * 6 + [listed] * 2 + [generated],
    }


def asked(address: str, requests: list[Request], connections: int, seconds: int) -> dict[str, Any]:
    """The figures of one run of wrk."""
    options = ["-t", "1", "-c", str(connections), "-d", f"{seconds}s", "--timeout", f"{TIMEOUT_SECONDS}s"]
    texts = [text for request in requests for text in request]
    command = [program("wrk", "wrk"), *options, "--latency", "-s", str(SCRIPT), address, "--", *texts]
    limit = seconds + TIMEOUT_SECONDS
    done = subprocess.run(command, capture_output=True, text=True, timeout=limit, check=True)
    figures: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return figures


def measure(
    service: str, ceiling: str, calls: Mapping[str, list[Request]], connections: int, seconds: int
) -> dict[str, dict[str, Any]]:
    """The figures of all calls with so many connections, each beside those of the bare endpoint."""
    path = calls["job"][0][0].removeprefix("/v1")
    told = {"bare": asked(ceiling, [(path, "")], connections, seconds)}
    for call, requests in calls.items():
        told[call] = asked(service, requests, connections, seconds)
        told[call]["ratio"] = round(told[call]["requests_per_s"] / told["bare"]["requests_per_s"], 2)
        print(f"{connections} connections, {call}: {told[call]}", file=sys.stderr)
    return told


def main() -> None:
    """Prints the figures by call and connections."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=int, default=SECONDS, help="Of each run.")
    parser.add_argument("--connections", type=int, nargs="+", default=CONNECTIONS)
    parser.add_argument("--api-workers", type=int, default=1, help="API processes.")
    arguments = parser.parse_args()
    figures: dict[str, Any] = {}
    with postgres() as database:
        environment = {"VGAE_NAS_DATABASE_URL": database.url}
        with server(0, environment=environment) as client, bare(database.url) as ceiling:
            client.get("/readyz").raise_for_status()
            calls = prepare(client)
            for connections in arguments.connections:
                told = measure(str(client.base_url), ceiling, calls, connections, arguments.seconds)
                for call, row in told.items():
                    figures.setdefault(call, {})[str(connections)] = row
    print(json.dumps({**machine(), "command": "make bench-api", "seconds": arguments.seconds, **figures}))


if __name__ == "__main__":
    main()
