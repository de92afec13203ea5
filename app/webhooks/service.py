"""Making webhooks, and the messages that they are to get.

A job's last event is marked in the transaction that ends the job, so that no end is missed; the mark is
taken away in the transaction that writes the messages about it.
"""

import base64
import ipaddress
import secrets
from collections.abc import Sequence
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

from pydantic_core import to_json
from sqlalchemy import Select, select, update
from sqlalchemy.orm import Session

from app import database
from app.database import new_id, new_ids, now
from app.jobs import queries
from app.jobs.tables import Job, JobEvent
from app.problems import InvalidRequest, NotFound
from app.settings import Settings
from app.webhooks.schemas import WebhookIn
from app.webhooks.tables import Delivery, Webhook

PREFIX, MESSAGE = "wh", "msg"

WAITS = (5, 30, 120, 600, 1_800, 3_600, 7_200, 14_400, 28_800, 28_800)
"""Seconds before each further attempt, about a day in all."""

AT_ONCE = 100
"""Ends of jobs, or messages, that are taken at once."""

LEASE = timedelta(seconds=60)
"""Time after which a message that a process took is free again, if nothing came of it."""


def create(session: Session, request: WebhookIn, settings: Settings) -> Webhook:
    """A new webhook, committed.

    Raises:
        InvalidRequest: its address is one of this machine or of a private network.
    """
    host = urlsplit(request.url).hostname or ""
    if not settings.webhooks_private and not may_be_public(host):
        raise InvalidRequest.of(
            "url", f"{host!r} is an address of this machine or of a private network; those are not told"
        )
    secret = f"whsec_{base64.b64encode(secrets.token_bytes(32)).decode()}"
    values = request.model_dump(mode="json")
    row = Webhook(id=new_id(PREFIX), secret=secret, created_at=now(), **values)
    session.add(row)
    session.commit()
    return row


def get(session: Session, webhook_id: str) -> Webhook:
    """A webhook by id.

    Raises:
        NotFound: there is none.
    """
    row = session.get(Webhook, webhook_id)
    if row is None:
        raise NotFound(f"there is no webhook {webhook_id!r}")
    return row


def delete(session: Session, webhook_id: str) -> None:
    """Removes a webhook with its messages.

    Raises:
        NotFound: there is none.
    """
    database.delete(session, get(session, webhook_id))
    session.commit()


def listing() -> Select[*tuple[Any, ...]]:
    """The query for all webhooks."""
    return select(Webhook)


def messages(session: Session, webhook_id: str) -> Select[*tuple[Any, ...]]:
    """The query for the messages of a webhook.

    Raises:
        NotFound: there is no such webhook.
    """
    return select(Delivery).where(Delivery.webhook_id == get(session, webhook_id).id)


def redeliver(session: Session, webhook_id: str, delivery_id: str) -> Delivery:
    """Has a message sent again, from its first wait on; committed.

    Raises:
        NotFound: there is no such message of this webhook.
    """
    hook, row = get(session, webhook_id), session.get(Delivery, delivery_id)
    if row is None or row.webhook_id != hook.id:
        raise NotFound(f"there is no delivery {delivery_id!r} of webhook {webhook_id!r}")
    row.attempts, row.next_at, row.delivered_at = 0, now(), None
    session.commit()
    return row


def may_be_public(host: str) -> bool:
    """Whether a host is a name, which is looked up when something is sent, or a public address."""
    if host.lower() in ("localhost", "") or host.lower().endswith((".localhost", ".internal", ".local")):
        return False
    try:
        return is_public(host)
    except ValueError:
        return True  # a name


def is_public(address: str) -> bool:
    """Whether an IP address is one of the internet at large, and does not stand for one that is not.

    Raises:
        ValueError: it is none.
    """
    ip = ipaddress.ip_address(address.split("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour or (ip.teredo and ip.teredo[1])
        if inner is None and ip in ipaddress.ip_network("64:ff9b::/96"):
            inner = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        if inner is not None:
            return inner.is_global and not inner.is_multicast
    return ip.is_global and not ip.is_multicast


def is_anything_due(session: Session) -> bool:
    """Whether an end has not been told, or the time of a message has come."""
    untold = select(JobEvent.job_id).where(JobEvent.told.is_(False)).limit(1)
    waits = select(Delivery.id).where(Delivery.next_at <= now()).limit(1)
    return session.scalar(untold) is not None or session.scalar(waits) is not None


def tell(session: Session) -> int:
    """Writes a message about each end that has not been told, to every webhook of it; how many ends."""
    untold = select(JobEvent).where(JobEvent.told.is_(False)).order_by(JobEvent.at).limit(AT_ONCE)
    events = session.scalars(untold.with_for_update(skip_locked=True)).all()
    if not events:
        return 0
    hooks = session.scalars(select(Webhook)).all()
    shown = queries.shown(session, [event.job_id for event in events]) if hooks else []
    jobs = {job.id: job for job in shown}
    makers = select(Job.id, Job.owner).where(Job.id.in_(list(jobs)))
    made_by = {row.id: row.owner for row in session.execute(makers)}
    for event in events:
        event.told = True
        job = jobs.get(event.job_id)
        if job is None:
            continue
        wanted = [
            hook
            for hook in hooks
            if event.type in hook.statuses
            and (hook.kinds is None or job.kind.value in hook.kinds)
            and event.at >= hook.created_at
            and (hook.owner is None or made_by[job.id] in (None, hook.owner))
        ]
        told = {"type": f"job.{event.type}", "timestamp": event.at, "data": job}
        body = to_json(told).decode()
        for hook, message_id in zip(wanted, new_ids(MESSAGE, len(wanted)), strict=True):
            session.add(
                Delivery(
                    id=message_id,
                    webhook_id=hook.id,
                    job_id=job.id,
                    type=f"job.{event.type}",
                    body=body,
                    next_at=now(),
                    created_at=now(),
                )
            )
    session.commit()
    return len(events)


def due(session: Session) -> Sequence[tuple[Delivery, Webhook]]:
    """The messages whose time has come, taken so that no other process sends them meanwhile; committed."""
    query = (
        select(Delivery, Webhook)
        .join(Webhook, Webhook.id == Delivery.webhook_id)
        .where(Delivery.next_at <= now())
        .order_by(Delivery.next_at)
        .limit(AT_ONCE)
    )
    taken = []
    for delivery, hook in session.execute(query).all():
        ours = (
            update(Delivery)
            .where(Delivery.id == delivery.id, Delivery.next_at == delivery.next_at)
            .values(next_at=now() + LEASE, attempts=Delivery.attempts + 1)
            .returning(Delivery.attempts)
        )
        attempts = session.scalar(ours.execution_options(synchronize_session=False))
        if attempts is not None:
            delivery.attempts = attempts
            taken.append((delivery, hook))
    session.expunge_all()
    session.commit()
    return taken


def note(session: Session, delivery: Delivery, status: int | None, error: str | None) -> None:
    """Keeps what came of an attempt, committed; one that failed is made again later, for about a day."""
    moment = now()
    values: dict[str, Any] = {"status": status, "error": error, "next_at": None}
    if error is None:
        values["delivered_at"] = moment
    elif delivery.attempts <= len(WAITS):
        values["next_at"] = moment + timedelta(seconds=WAITS[delivery.attempts - 1])
    session.execute(update(Delivery).where(Delivery.id == delivery.id).values(**values))
    session.commit()
