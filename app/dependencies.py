"""What endpoints need from the application: settings, sessions and files."""

from collections.abc import Iterator
from typing import Annotated

from fastapi import Depends, Request
from sqlalchemy.orm import Session

from app.artifacts import Artifacts
from app.database import Database
from app.settings import Settings


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
