"""Webhooks: every end of a job is told once it is certain, again until it is heard, and to nobody inside."""

import json
import socket
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpcore2
import pytest
from sqlalchemy import update
from standardwebhooks import Webhook as Verifier

from app.database import now
from app.settings import Settings
from app.webhooks import sending, service
from app.webhooks.sending import PrivateAddressError, PublicNetwork, Sending
from app.webhooks.service import WAITS
from app.webhooks.tables import Delivery
from tests.conftest import ONE_DATABASE, Service

RANDOM = {"dataset": "digits", "method": "random", "recipe": "quick"}


class Listener:
    """A server that keeps what it gets, and answers as it is told to."""

    def __init__(self) -> None:
        self.got: list[tuple[dict[str, str], str]] = []
        self.answers: list[tuple[int, dict[str, str]]] = []
        listener = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"])).decode()
                listener.got.append((dict(self.headers.items()), body))
                status, headers = listener.answers.pop(0) if listener.answers else (204, {})
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def listener() -> Iterator[Listener]:
    made = Listener()
    yield made
    made.server.shutdown()
    made.server.server_close()


@pytest.fixture
def settings(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Webhooks may lead to this machine; the service's own thread leaves the sending to the test."""
    monkeypatch.setattr(sending, "POLL_SECONDS", 3_600.0)
    return settings.model_copy(update={"webhooks_private": True})


@pytest.fixture
def send(service: Service) -> Callable[[], int]:
    """Sends what is due, however long its wait."""
    sender = Sending(service.database, service.settings)

    def once() -> int:
        with service.database.session() as session:
            waits = update(Delivery).where(Delivery.next_at.is_not(None))
            session.execute(waits.values(next_at=now() - timedelta(seconds=1)))
            session.commit()
        return sender.once()

    return once


def hook(running: Service, listener: Listener, **fields: Any) -> Any:
    return running.post("/v1/webhooks", {"url": listener.url, **fields})


def deliveries(running: Service, made: Any) -> Any:
    return running.get(f"/v1/webhooks/{made['id']}/deliveries")["items"]


def test_every_end_of_a_job_is_told_with_a_signature(
    service: Service, digits: str, listener: Listener, send: Callable[[], int]
) -> None:
    service.post("/v1/searches", RANDOM)
    service.run_jobs()  # before there was a webhook
    made = hook(service, listener)
    assert "secret" not in service.get(f"/v1/webhooks/{made['id']}")
    first, second = (service.post("/v1/searches", RANDOM)["items"][0]["id"] for _ in range(2))
    service.post(f"/v1/jobs/{second}/cancel")
    service.run_jobs()
    assert send() == 2
    assert send() == 0
    told = {}
    for headers, body in listener.got:
        assert Verifier(made["secret"]).verify(body, headers)
        message = json.loads(body)
        told[message["data"]["id"]] = message["type"]
    assert told == {first: "job.succeeded", second: "job.cancelled"}
    rows = deliveries(service, made)
    assert {row["id"] for row in rows} == {headers["webhook-id"] for headers, _ in listener.got}
    assert all(row["delivered_at"] and row["status"] == 204 and row["next_at"] is None for row in rows)


@ONE_DATABASE
def test_a_webhook_is_told_of_what_it_asked_for(
    service: Service, digits: str, listener: Listener, send: Callable[[], int]
) -> None:
    hook(service, listener, statuses=["failed"])
    hook(service, listener, kinds=["train"])
    wanted = hook(service, listener, statuses=["succeeded"], kinds=["search", "fit"])
    service.post("/v1/searches", RANDOM)
    service.run_jobs()
    assert send() == 1
    assert len(deliveries(service, wanted)) == 1


@ONE_DATABASE
def test_what_is_not_heard_is_sent_again_and_in_the_end_given_up(
    service: Service, digits: str, listener: Listener, send: Callable[[], int]
) -> None:
    made = hook(service, listener)
    listener.answers = [(500, {}), (302, {"location": listener.url})]
    service.post("/v1/searches", RANDOM)
    service.run_jobs()
    assert send() == 1
    (row,) = deliveries(service, made)
    assert (row["attempts"], row["status"], row["error"]) == (1, 500, "the answer was 500")
    assert row["next_at"] is not None
    assert send() == 1
    assert deliveries(service, made)[0]["error"] == "the answer was 302"
    assert send() == 1
    (row,) = deliveries(service, made)
    assert (row["attempts"], row["error"], row["next_at"]) == (3, None, None)
    bodies = {body for _, body in listener.got}
    ids = {headers["webhook-id"] for headers, _ in listener.got}
    assert len(bodies) == len(ids) == 1
    listener.answers = [(500, {})] * 20
    service.post(f"/v1/webhooks/{made['id']}/deliveries/{row['id']}/redeliver")
    sent = 0
    while send():
        sent += 1
    assert sent == 1 + 10  # for about a day
    assert 80_000 < sum(WAITS) < 90_000
    assert deliveries(service, made)[0]["next_at"] is None


@ONE_DATABASE
def test_a_redirect_is_followed_as_a_post(
    service: Service, digits: str, listener: Listener, send: Callable[[], int]
) -> None:
    made = hook(service, listener)
    listener.answers = [(307, {"location": listener.url}), (308, {"location": listener.url})]
    service.post("/v1/searches", RANDOM)
    service.run_jobs()
    assert send() == 1
    assert len(listener.got) == 3
    assert deliveries(service, made)[0]["status"] == 204
    assert service.client.delete(f"/v1/webhooks/{made['id']}").status_code == 204
    assert service.client.get(f"/v1/webhooks/{made['id']}/deliveries").status_code == 404


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0",
        "::1", "fe80::1%eth0", "fc00::1", "::ffff:127.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::", "224.0.0.1",
        "ff02::1", "240.0.0.1", "::",
    ],
)  # fmt: skip
def test_an_address_inside_is_not_public(address: str) -> None:
    assert not service.is_public(address)


@pytest.mark.parametrize("address", ["1.1.1.1", "93.184.216.34", "2606:4700::1111", "64:ff9b::101:101"])
def test_an_address_outside_is_public(address: str) -> None:
    assert service.is_public(address)


def test_a_name_that_leads_inside_is_not_connected_to(
    listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = listener.server.server_port
    with pytest.raises(PrivateAddressError, match="localhost"):
        PublicNetwork().connect_tcp("localhost", port)
    inside = [
        (socket.AF_INET, socket.SOCK_STREAM, 0, "", (address, port)) for address in ("1.1.1.1", "10.0.0.1")
    ]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_args, **_options: inside)
    with pytest.raises(PrivateAddressError, match="leads to 10"):
        PublicNetwork().connect_tcp("rebound.example.org", port)
    pool = httpcore2.ConnectionPool(network_backend=PublicNetwork())
    with pytest.raises(httpcore2.ConnectError):
        pool.request("POST", f"http://rebound.example.org:{port}/")
    assert listener.got == []


@ONE_DATABASE
@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/x", "http://[::1]:8000/", "http://localhost:8000/v1/jobs", "http://169.254.169.254/latest",
        "http://metadata.google.internal/", "http://printer.local/",
    ],
)  # fmt: skip
def test_an_address_inside_is_refused_where_settings_do_not_allow_it(
    service: Service, settings: Settings, url: str
) -> None:
    service.settings.webhooks_private = False
    assert service.refused("/v1/webhooks", {"url": url}) == ["url"]
    service.settings.webhooks_private = True


@ONE_DATABASE
@pytest.mark.parametrize(
    "url", ["ftp://example.org", "http://", "http://a@b/", "example.org", "http://a b/", "//x/y"]
)
def test_what_is_no_address_is_refused(service: Service, url: str) -> None:
    assert service.refused("/v1/webhooks", {"url": url}) == ["url"]
