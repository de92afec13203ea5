"""Many clients at once: every request is answered, and the probe of life waits for none of them."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import uvicorn

from app.main import create_app
from app.settings import Settings

CLIENTS, REQUESTS = 128, 256


@contextmanager
def served(settings: Settings) -> Iterator[str]:
    """A real server in a thread; the URL."""
    server = uvicorn.Server(uvicorn.Config(create_app(settings), port=0, log_level="warning"))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive()
        port = server.servers[0].sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join()


async def ask(url: str, paths: list[str]) -> list[int]:
    """The statuses of many requests by many clients at once."""
    limits = httpx.Limits(max_connections=CLIENTS)
    async with httpx.AsyncClient(base_url=url, timeout=600, limits=limits) as client:

        async def one(path: str) -> int:
            return (await client.get(path)).status_code

        return await asyncio.gather(*(one(path) for path in paths))


def test_more_clients_than_connections_and_threads_are_all_answered(settings: Settings) -> None:
    with served(settings) as url, httpx.Client(base_url=url, timeout=600) as client:
        dataset = client.post("/v1/datasets", json={"name": "digits"}).json()["id"]
        started = client.post("/v1/searches", json={"dataset_id": dataset, "method": "random"}).json()
        job = (started.get("items") or [started])[0]["id"]
        paths = [f"/v1/jobs/{job}", "/v1/jobs", f"/v1/datasets/{dataset}", "/healthz"] * (REQUESTS // 4)
        assert set(asyncio.run(ask(url, paths))) == {200}
