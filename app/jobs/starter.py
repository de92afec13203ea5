"""How an endpoint answers a request that started jobs."""

from collections.abc import Sequence
from typing import Annotated

from fastapi import Depends, Request, Response, status
from sqlalchemy.orm import Session

from app.jobs import queries
from app.jobs.queue import Sender
from app.jobs.schemas import JobOut
from app.jobs.service import Ordered
from app.jobs.tables import Job

RETRY_AFTER = "1"
"""Seconds after which a started job is worth asking for."""


class Starter:
    """Answers a request that started jobs: sends their ids, and sets the headers of a 202."""

    def __init__(self, request: Request, response: Response) -> None:
        sender: Sender = request.app.state.sender
        self.sender, self.response = sender, response

    def start(self, session: Session, jobs: Sequence[Job]) -> list[JobOut]:
        """Sends committed jobs, and answers with them."""
        self.send(jobs)
        return self.accept(session, jobs)

    def send(self, jobs: Sequence[Job]) -> None:
        """Sends committed jobs, beside the request, so that a slow broker delays nobody."""
        self.sender.send([job.message for job in jobs])

    def defer(self, session: Session, ordered: Ordered) -> JobOut:
        """Answers a GET with 202 and the job that makes what was asked for; a new job is sent."""
        self.response.status_code = status.HTTP_202_ACCEPTED
        if ordered.is_new:
            self.send([ordered.job])
        return self.accept(session, [ordered.job])[0]

    def accept(self, session: Session, jobs: Sequence[Job]) -> list[JobOut]:
        """Answers with jobs; `Location` is the first's."""
        self.response.headers["Location"] = f"/v1/jobs/{jobs[0].id}"
        self.response.headers["Retry-After"] = RETRY_AFTER
        return queries.shown(session, [job.id for job in jobs])


async def _starter(request: Request, response: Response) -> Starter:
    return Starter(request, response)


StarterIn = Annotated[Starter, Depends(_starter)]
