"""A database or a broker that hangs: requests are answered, and nothing is lost."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from sqlalchemy.engine import make_url

from app import database
from app.jobs import queue
from app.jobs.tables import JobKind, Message
from app.main import create_app
from app.settings import Settings


class Proxy:
    """Passes bytes between clients and a server, until it is frozen: then connections hang, unrefused.

    Args:
        host, port: of the server.
    """

    def __init__(self, host: str, port: int) -> None:
        self._server = (host, port)
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=100)
        self.port: int = self._listener.getsockname()[1]
        self._flows, self._over = threading.Event(), threading.Event()
        self._flows.set()
        threading.Thread(target=self._accept, daemon=True).start()

    def freeze(self) -> None:
        """Lets no byte pass any more."""
        self._flows.clear()

    def thaw(self) -> None:
        """Lets all pass again."""
        self._flows.set()

    def close(self) -> None:
        """Ends the listener."""
        self._over.set()
        self._flows.set()
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while not self._over.is_set():
                client, _ = self._listener.accept()
                threading.Thread(target=self._join, args=(client,), daemon=True).start()

    def _join(self, client: socket.socket) -> None:
        self._flows.wait()
        with suppress(OSError):
            server = socket.create_connection(self._server)
            threading.Thread(target=self._pass, args=(server, client), daemon=True).start()
            self._pass(client, server)

    def _pass(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65_536):
                self._flows.wait()
                target.sendall(data)
        for end in (source, target):
            end.close()


@pytest.fixture
def proxied_postgres(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Proxy, str]]:
    """A database behind a proxy, and its URL."""
    monkeypatch.setattr(database, "CONNECT_SECONDS", 1)
    url = make_url(postgres_url)
    proxy = Proxy(url.host or "127.0.0.1", url.port or 5432)
    yield proxy, url.set(host="127.0.0.1", port=proxy.port).render_as_string(hide_password=False)
    proxy.close()


def test_a_database_that_hangs_is_a_503_and_no_wait_for_ever(
    proxied_postgres: tuple[Proxy, str], tmp_path: Path
) -> None:
    proxy, url = proxied_postgres
    app = create_app(Settings(home=tmp_path, database_url=url, answer_seconds=0.5))
    with TestClient(app, base_url="http://localhost", raise_server_exceptions=False) as client:
        body = {"name": "digits"}
        assert client.get("/v1/jobs").status_code == 200
        proxy.freeze()
        for method, path, headers in (
            ("GET", "/v1/jobs", {}),
            ("POST", "/v1/datasets", {}),
            ("POST", "/v1/datasets", {"Idempotency-Key": "k"}),
            ("GET", "/readyz", {}),
        ):
            answer = client.request(
                method, path, headers=headers, **({"json": body} if method == "POST" else {})
            )
            assert answer.status_code == 503, (path, answer.text)
            assert int(answer.headers["Retry-After"]) > 0
            assert answer.headers["content-type"] == "application/problem+json"
        assert client.get("/healthz").status_code == 200
        proxy.thaw()
        answer = client.post("/v1/datasets", json=body, headers={"Idempotency-Key": "k"})
        assert answer.status_code == 201, answer.text
        assert client.get("/v1/jobs").status_code == 200


def test_a_statement_that_takes_too_long_is_given_up(postgres_url: str) -> None:
    opened = database.Database(postgres_url, answer_seconds=0.2)
    with pytest.raises(Exception, match="statement timeout"), opened.session() as session:
        session.connection().exec_driver_sql("SELECT pg_sleep(60)")
    with opened.session() as session:
        assert session.connection().exec_driver_sql("SELECT 1").scalar() == 1
    opened.close()


def test_a_broker_that_hangs_delays_no_request(
    redis_url: str, sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queue, "BROKER_SECONDS", 0.5)
    url = make_url(redis_url)
    proxy = Proxy(url.host or "127.0.0.1", url.port or 6379)
    proxy.freeze()
    broker = f"redis://127.0.0.1:{proxy.port}/{url.database}"
    app = create_app(Settings(home=tmp_path, database_url=sqlite_url, broker_url=broker))
    with TestClient(app, base_url="http://localhost", raise_server_exceptions=False) as client:
        dataset_id = client.post("/v1/datasets", json={"name": "digits"}).json()["id"]
        body = {"dataset_id": dataset_id, "recipe": "quick"}
        frozen = time.monotonic()
        jobs = [client.post("/v1/searches", json=body) for _ in range(60)]
        assert {job.status_code for job in jobs} == {202}
        assert client.get("/healthz").status_code == 200
        waited = time.monotonic() - frozen
        ready = client.get("/readyz").json()
        assert ready["queued_jobs"] == 60
        assert any("broker does not answer" in warning for warning in ready["warnings"])
        proxy.thaw()
        began = time.monotonic()
        job_id = jobs[0].headers["Location"].removeprefix("/v1/jobs/")
        while not queue.send(broker, Message(job_id, JobKind.SEARCH)):
            assert time.monotonic() - began < 60
        again = client.get("/readyz").json()["warnings"]
        assert not any("broker" in warning for warning in again)
    # all of them in the time of a few, had each waited for the broker
    assert waited < 60 * queue.BROKER_SECONDS
    proxy.close()
