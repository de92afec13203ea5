"""Which worker processes live: each says so in a row of its own, from its start to its end."""

import os
import socket
from collections.abc import Collection
from datetime import timedelta

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from app.database import new_id, now
from app.jobs.tables import JobKind, Worker
from app.settings import Settings

PREFIX = "wk"

MISSED = 3
"""Sweeps that a worker may miss before it counts as dead."""

KEPT = timedelta(days=1)
"""Time for which the row of a dead worker is kept."""


def enter(session: Session, kinds: Collection[JobKind]) -> str:
    """Notes that this process takes jobs of some kinds from now on; the id of its row."""
    worker = Worker(
        id=new_id(PREFIX),
        host=socket.gethostname(),
        pid=os.getpid(),
        kinds=sorted(kinds),
        started_at=now(),
        seen_at=now(),
    )
    session.add(worker)
    session.commit()
    return worker.id


def stay(session: Session, worker_id: str, gpu_memory: int | None) -> None:
    """Notes that a worker lives and what its GPU holds, and forgets those that have been dead for long."""
    session.execute(delete(Worker).where(Worker.seen_at < now() - KEPT))
    session.execute(update(Worker).where(Worker.id == worker_id).values(seen_at=now(), gpu_memory=gpu_memory))
    session.commit()


def leave(session: Session, worker_id: str) -> None:
    """Notes that a worker has stopped."""
    session.execute(delete(Worker).where(Worker.id == worker_id))
    session.commit()


def living(session: Session, settings: Settings) -> list[Worker]:
    """The workers that have said lately that they live."""
    patience = timedelta(seconds=MISSED * settings.sweep_seconds)
    return list(session.scalars(select(Worker).where(Worker.seen_at >= now() - patience)))


def has_gpu(session: Session, settings: Settings) -> bool:
    """Whether jobs run on a GPU: a worker that lives has one, or the settings name one."""
    return settings.device.startswith("cuda") or any(
        worker.gpu_memory is not None for worker in living(session, settings)
    )
