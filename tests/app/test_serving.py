"""The server answers `/healthz` while it loads; it waits for no client for ever."""

import asyncio
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import httpx
import pytest
import uvicorn
from fastapi import Body, FastAPI

from app import limits, problems, serving
from app.serving import Opening


def application() -> FastAPI:
    app = FastAPI()

    @app.get("/thing")
    def thing() -> str:
        return "loaded"

    @app.post("/thing")
    def take(text: str = Body()) -> str:
        return text

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


@pytest.fixture
def listening(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, int]]:
    """The address of a server of our protocol, which loses patience soon and takes three connections."""
    monkeypatch.setattr(serving, "HEADER_SECONDS", 0.3)
    monkeypatch.setattr(limits, "PATIENCE_SECONDS", 0.3)
    app = application()
    problems.install(app)
    app.add_middleware(limits.BodyLimitMiddleware, max_body_bytes=10_000, max_upload_bytes=10_000)
    config = uvicorn.Config(app, port=0, http=serving.Protocol, limit_concurrency=4, log_config=None)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield server.servers[0].sockets[0].getsockname()
    server.should_exit = True
    thread.join()


def told(address: tuple[str, int], *parts: bytes, pause: float = 0.0) -> bytes:
    """What a connection brings until the server closes it."""
    with socket.create_connection(address, timeout=60) as client:
        for part in parts:
            client.sendall(part)
            time.sleep(pause)
        answer = b""
        while part := client.recv(65_536):
            answer += part
        return answer


REQUEST = b"GET /thing HTTP/1.1\r\nHost: localhost\r\n"


def test_a_connection_that_brings_no_whole_header_is_closed(listening: tuple[str, int]) -> None:
    for parts in ((), (b"G",), (REQUEST,), (REQUEST + b"X: y",)):
        assert told(listening, *parts).startswith(b"HTTP/1.1 408 "), parts
    # the second request on a connection is waited for no longer than the first
    answer = told(listening, REQUEST + b"\r\n", REQUEST)
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert answer.count(b"HTTP/1.1 408 ") == 1


def test_a_body_that_comes_too_slowly_is_refused(listening: tuple[str, int]) -> None:
    head = REQUEST.replace(b"GET", b"POST") + b"Content-Type: application/json\r\nContent-Length: 400\r\n\r\n"
    answer = told(listening, head, b'"')
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"urn:vgae-nas:problem:request-timeout" in answer


def test_one_connection_too_many_is_refused_and_a_place_is_free_again(listening: tuple[str, int]) -> None:
    open_ones = [socket.create_connection(listening) for _ in range(3)]
    time.sleep(0.1)
    assert told(listening, REQUEST + b"\r\n").startswith(b"HTTP/1.1 503 ")
    for connection in open_ones:
        connection.close()
    for _ in range(100):
        answer = told(listening, REQUEST + b"Connection: close\r\n\r\n")
        if answer.startswith(b"HTTP/1.1 200 "):
            return
        time.sleep(0.05)
    raise AssertionError(answer)
