"""Which worker processes live: each says so in a row of its own, from its start to its end."""

import os
import socket
from datetime import timedelta

from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session

from app.database import new_id, now
from app.jobs.tables import Worker
from app.settings import Settings

PREFIX = "wk"

MISSED = 3
"""Sweeps that a worker may miss before it counts as dead."""

KEPT = timedelta(days=1)
"""Time for which the row of a dead worker is kept."""


def enter(session: Session) -> str:
    """Notes that this process works from now on; the id of its row."""
    worker = Worker(
        id=new_id(PREFIX), host=socket.gethostname(), pid=os.getpid(), started_at=now(), seen_at=now()
    )
    session.add(worker)
    session.commit()
    return worker.id


def stay(session: Session, worker_id: str) -> None:
    """Notes that a worker still lives, and forgets those that have been dead for long."""
    session.execute(delete(Worker).where(Worker.seen_at < now() - KEPT))
    session.execute(update(Worker).where(Worker.id == worker_id).values(seen_at=now()))
    session.commit()


def leave(session: Session, worker_id: str) -> None:
    """Notes that a worker has stopped."""
    session.execute(delete(Worker).where(Worker.id == worker_id))
    session.commit()


def count_living(session: Session, settings: Settings) -> int:
    """The number of workers that have said lately that they live."""
    patience = timedelta(seconds=MISSED * settings.sweep_seconds)
    query = select(func.count()).select_from(Worker).where(Worker.seen_at >= now() - patience)
    return session.scalar(query) or 0
