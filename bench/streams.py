"""What many who watch one job cost: the share of a core that the server takes, and how long others wait.

The streams follow a job that waits, so that they bring nothing but signs of life; another client polls it.
The database is that of `VGAE_NAS_DATABASE_URL`, or SQLite in a folder of the bench's own.
"""

import argparse
import asyncio
import json
import time
from statistics import median
from typing import Any

import httpx
import psutil

from app.supervisor import raise_file_limit
from bench.servers import server

PATIENCE_SECONDS = 600
STREAMS, SECONDS, POLL_SECONDS = 500, 40.0, 0.5


async def watched(client: httpx.AsyncClient, process: psutil.Process, streams: int) -> dict[str, Any]:
    """The figures of so many streams on one job."""
    dataset_id = (await client.post("/v1/datasets", json={"name": "digits"})).json()["id"]
    body = {"dataset_id": dataset_id, "recipe": "quick"}
    path = (await client.post("/v1/searches", json=body)).headers["Location"]
    opened = pings = 0

    async def follow() -> None:
        nonlocal opened, pings
        headers = {"Accept": "text/event-stream"}
        async with client.stream("GET", f"{path}/events", headers=headers) as answer:
            async for line in answer.aiter_lines():
                opened += line.startswith("id: 1")
                pings += line.startswith(":")

    tasks = [asyncio.create_task(follow()) for _ in range(streams)]
    began = time.monotonic()
    while opened < streams:
        assert time.monotonic() - began < PATIENCE_SECONDS, f"{opened} of {streams} streams began"
        await asyncio.sleep(POLL_SECONDS)
    before, began, waits = sum(process.cpu_times()[:2]), time.monotonic(), []
    while time.monotonic() - began < SECONDS:
        asked = time.perf_counter()
        (await client.get(path)).raise_for_status()
        waits.append(time.perf_counter() - asked)
        await asyncio.sleep(POLL_SECONDS)
    share = (sum(process.cpu_times()[:2]) - before) / (time.monotonic() - began)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return {
        "streams": streams,
        "pings": pings,
        "core_share": round(share, 4),
        "get_p50_ms": round(1e3 * median(waits), 1),
        "get_max_ms": round(1e3 * max(waits), 1),
    }


async def measure(address: httpx.URL, process: psutil.Process, streams: int) -> dict[str, Any]:
    """The same, with as many connections as there are streams."""
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
    async with httpx.AsyncClient(base_url=address, limits=limits, timeout=PATIENCE_SECONDS) as client:
        return await watched(client, process, streams)


def main() -> None:
    """Prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--streams", type=int, default=STREAMS)
    streams = parser.parse_args().streams
    raise_file_limit()
    with server(0) as client:
        (process,) = [p for p in psutil.Process().children() if "serve" in " ".join(p.cmdline())]
        client.get("/readyz").raise_for_status()
        figures = asyncio.run(measure(client.base_url, process, streams))
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
