"""What endpoints need from the application: settings, sessions and files.

None of them waits for anything, so that none needs a thread: a session asks for its connection when
it is first used.
"""

from typing import Annotated

from fastapi import Depends, Request
from sqlalchemy.orm import Session

from app.artifacts import Artifacts
from app.database import Database
from app.settings import Settings


async def _settings(request: Request) -> Settings:
    settings: Settings = request.app.state.settings
    return settings


async def _database(request: Request) -> Database:
    database: Database = request.app.state.database
    return database


async def _artifacts(request: Request) -> Artifacts:
    artifacts: Artifacts = request.app.state.artifacts
    return artifacts


SettingsIn = Annotated[Settings, Depends(_settings)]
DatabaseIn = Annotated[Database, Depends(_database)]
ArtifactsIn = Annotated[Artifacts, Depends(_artifacts)]


async def _reading(database: DatabaseIn) -> Session:
    return database.begin(reads_only=True)


async def _writing(database: DatabaseIn) -> Session:
    return database.begin()


Reading = Annotated[Session, Depends(_reading)]
Writing = Annotated[Session, Depends(_writing)]
"""Sessions that the route of the endpoint closes."""
