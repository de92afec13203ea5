"""Sending messages to webhooks: beside the requests of an API process, and to nobody inside its network."""

import logging
import socket
import threading
from collections.abc import Iterable
from typing import Any

import httpcore2
from sqlalchemy.exc import SQLAlchemyError
from standardwebhooks import Webhook as Signer

from app.database import Database, now
from app.settings import Settings
from app.webhooks import service
from app.webhooks.tables import Delivery, Webhook

logger = logging.getLogger(__name__)

POLL_SECONDS = 1.0
"""Seconds between two looks for jobs that have ended."""

ANSWER_SECONDS = 10.0
"""Time in which a webhook must answer."""

REDIRECTS = 3
"""Redirects that are followed, each to an address that is looked at as the first was."""

FOLLOWED = (307, 308)
"""Those that keep a POST a POST."""


class PrivateAddressError(httpcore2.ConnectError):
    """A name leads to this machine or into a private network."""


class PublicNetwork(httpcore2.SyncBackend):
    """Connects to public addresses alone: a name is looked up once, and what was found is connected to."""

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore2.NetworkStream:
        """Connects to the first address of a name.

        Raises:
            PrivateAddressError: one of its addresses is none of the internet at large.
            httpcore2.ConnectError: the name is not known, or nobody listens.
        """
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except OSError as error:
            raise httpcore2.ConnectError(f"{host}: {error}") from None
        addresses = [str(entry[4][0]) for entry in found]
        for address in addresses:
            if not service.is_public(address):
                raise PrivateAddressError(f"{host} leads to {address}, which is not public")
        return super().connect_tcp(addresses[0], port, timeout, local_address, socket_options)


class Sending:
    """Sends what is due for as long as a process lives.

    Args:
        database, settings: of the service.
    """

    def __init__(self, database: Database, settings: Settings) -> None:
        self.database = database
        backend = httpcore2.SyncBackend() if settings.webhooks_private else PublicNetwork()
        self._pool = httpcore2.ConnectionPool(network_backend=backend, max_keepalive_connections=0)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._until_stopped, daemon=True)

    def start(self) -> None:
        """Begins."""
        self._thread.start()

    def stop(self) -> None:
        """Ends after the message in hand."""
        self._stopping.set()
        self._thread.join(ANSWER_SECONDS)
        self._pool.close()

    def once(self) -> int:
        """Tells of what has ended and sends what is due; how many messages."""
        with self.database.session(reads_only=True) as session:
            if not service.is_anything_due(session):
                return 0
        with self.database.session() as session:
            while service.tell(session):
                pass
            taken = service.due(session)
        for delivery, hook in taken:
            if self._stopping.is_set():
                break
            status, error = self._send(delivery, hook)
            with self.database.session() as session:
                service.note(session, delivery, status, error)
        return len(taken)

    def _until_stopped(self) -> None:
        while not self._stopping.wait(POLL_SECONDS):
            try:
                self.once()
            except SQLAlchemyError as error:
                logger.warning("webhooks are not told (%s)", error)

    def _send(self, delivery: Delivery, hook: Webhook) -> tuple[int | None, str | None]:
        """One attempt: the answer's status, and what went wrong if anything did."""
        moment = now()
        headers: dict[bytes | str, bytes | str] = {
            "content-type": "application/json",
            "user-agent": "vgae-nas",
            "webhook-id": delivery.id,
            "webhook-timestamp": str(int(moment.timestamp())),
            "webhook-signature": Signer(hook.secret).sign(delivery.id, moment, delivery.body),
        }
        seconds = dict.fromkeys(("connect", "read", "write", "pool"), ANSWER_SECONDS)
        url = hook.url
        try:
            for _ in range(REDIRECTS + 1):
                with self._pool.stream(
                    "POST",
                    url,
                    headers=headers,
                    content=delivery.body.encode(),
                    extensions={"timeout": seconds},
                ) as answer:
                    status = answer.status
                    place = {name.lower(): value for name, value in answer.headers}.get(b"location")
                if status not in FOLLOWED or place is None:
                    return status, None if 200 <= status < 300 else f"the answer was {status}"
                url = place.decode("latin-1")
                if not url.startswith(("http://", "https://")):
                    return status, "the answer was a redirect to something else than an address"
            return status, f"more than {REDIRECTS} redirects"
        except (httpcore2.ConnectError, httpcore2.NetworkError, httpcore2.TimeoutException) as error:
            return None, f"{type(error).__name__}: {error}"[:500]
        except (httpcore2.ProtocolError, httpcore2.UnsupportedProtocol, ValueError) as error:
            return None, f"{type(error).__name__}: {error}"[:500]
