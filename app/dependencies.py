"""What endpoints need from the application: settings, sessions, files, and how to start jobs."""

from collections.abc import Iterator, Sequence
from typing import Annotated

from fastapi import BackgroundTasks, Depends, Request, Response
from sqlalchemy.orm import Session

from app.artifacts import Artifacts
from app.database import Database
from app.jobs import queue
from app.jobs.schemas import JobOut
from app.jobs.tables import Job
from app.settings import Settings

RETRY_AFTER = "1"
"""Seconds after which a started job is worth asking for."""


def _settings(request: Request) -> Settings:
    settings: Settings = request.app.state.settings
    return settings


def _database(request: Request) -> Database:
    database: Database = request.app.state.database
    return database


def _artifacts(request: Request) -> Artifacts:
    artifacts: Artifacts = request.app.state.artifacts
    return artifacts


SettingsIn = Annotated[Settings, Depends(_settings)]
DatabaseIn = Annotated[Database, Depends(_database)]
ArtifactsIn = Annotated[Artifacts, Depends(_artifacts)]


def _reading(database: DatabaseIn) -> Iterator[Session]:
    with database.session(reads_only=True) as session:
        yield session


def _writing(database: DatabaseIn) -> Iterator[Session]:
    with database.session() as session:
        yield session


Reading = Annotated[Session, Depends(_reading)]
Writing = Annotated[Session, Depends(_writing)]


class Starter:
    """Answers a request that started jobs: sends their ids, and sets the headers of a 202."""

    def __init__(self, settings: SettingsIn, background: BackgroundTasks, response: Response) -> None:
        self.settings, self.background, self.response = settings, background, response

    def start(self, jobs: Sequence[Job]) -> list[JobOut]:
        """Sends committed jobs, and answers with them."""
        self.send(jobs)
        return self.accept(jobs)

    def send(self, jobs: Sequence[Job]) -> None:
        """Sends committed jobs after the answer is out, so that a slow broker delays nobody."""
        for job in jobs:
            self.background.add_task(queue.send, self.settings.broker_url, job.id)

    def accept(self, jobs: Sequence[Job]) -> list[JobOut]:
        """Answers with jobs; `Location` is the first's."""
        self.response.headers["Location"] = f"/v1/jobs/{jobs[0].id}"
        self.response.headers["Retry-After"] = RETRY_AFTER
        return [JobOut.model_validate(job) for job in jobs]


StarterIn = Annotated[Starter, Depends(Starter)]
