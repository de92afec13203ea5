"""The server answers `/healthz` while the application is still being loaded."""

import asyncio
import subprocess
import sys
import threading

import httpx
from fastapi import FastAPI

from app.serving import Opening


def application() -> FastAPI:
    app = FastAPI()

    @app.get("/thing")
    def thing() -> str:
        return "loaded"

    return app


class Server:
    """Runs an ASGI application's lifespan in this loop, as uvicorn does."""

    def __init__(self, app: Opening) -> None:
        self.app = app
        self.asked: asyncio.Queue[dict[str, str]] = asyncio.Queue()
        self.told: asyncio.Queue[str] = asyncio.Queue()

    async def __aenter__(self) -> httpx.AsyncClient:
        async def tell(message: object) -> None:
            await self.told.put(message["type"])  # type: ignore[index]

        scope = {"type": "lifespan"}
        self.task = asyncio.create_task(self.app(scope, self.asked.get, tell))  # type: ignore[arg-type]
        await self.asked.put({"type": "lifespan.startup"})
        assert await self.told.get() == "lifespan.startup.complete"
        self.client = httpx.AsyncClient(transport=httpx.ASGITransport(self.app), base_url="http://test")
        return self.client

    async def __aexit__(self, *_: object) -> None:
        await self.client.aclose()
        await self.asked.put({"type": "lifespan.shutdown"})
        assert await self.told.get() == "lifespan.shutdown.complete"
        await self.task


def test_health_is_told_at_once_and_other_requests_wait_for_the_application() -> None:
    may_load = threading.Event()

    def load() -> FastAPI:
        may_load.wait()
        return application()

    async def scenario() -> None:
        async with Server(Opening(load)) as client:
            waiting = asyncio.create_task(client.get("/thing"))
            for _ in range(3):
                assert (await client.get("/healthz")).json() == {"status": "ok"}
            assert not waiting.done()
            may_load.set()
            assert (await waiting).json() == "loaded"
            assert (await client.get("/thing")).json() == "loaded"

    asyncio.run(scenario())


def test_an_application_that_cannot_be_loaded_ends_the_process() -> None:
    program = "import uvicorn; from app.serving import Opening; uvicorn.run(Opening(lambda: 1 / 0), port=0)"
    outcome = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=300)
    assert outcome.returncode == 1
    assert "the application could not be loaded" in outcome.stderr
    assert "ZeroDivisionError" in outcome.stderr
