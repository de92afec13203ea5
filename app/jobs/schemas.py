"""Jobs and events as clients see them."""

from datetime import datetime
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from app.jobs.tables import JobKind, JobStatus
from app.problems import ProblemBody

Seed = Annotated[int, Field(ge=0, le=2**31 - 1)]


def _distinct(seeds: list[int]) -> list[int]:
    if len(set(seeds)) < len(seeds):
        raise ValueError("must all differ")
    return seeds


Seeds = Annotated[
    list[Seed], Field(min_length=1, max_length=100, description="One job each."), AfterValidator(_distinct)
]


class JobOut(BaseModel):
    """One piece of background work."""

    model_config = ConfigDict(from_attributes=True)

    id: str
    kind: JobKind
    parent_id: str | None = Field(description="The job that this one is a part of.")
    status: JobStatus
    progress: float = Field(description="From 0 to 1.")
    step: str = Field(description="What it does now, in a line.")
    queue_position: int | None = Field(description="Queued jobs before this one; `null` once it has started.")
    eta_seconds: float | None = Field(
        description="Seconds until it is over, by its pace so far; `null` while that is not known."
    )
    estimated_seconds: float = Field(
        description="That it takes alone on two cores, roughly, with its parts; 0 where that is not known."
    )
    attempt: int = Field(description="How often it was started.")
    cancel_requested: bool
    request_id: str | None = Field(description="`X-Request-ID` of the request that started it.")
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    result: dict[str, Any] | None
    error: ProblemBody | None
    links: dict[str, str] = Field(description="To what it makes.")
    warnings: list[str] = Field(description="What was chosen or doubted when it was made.")


class JobsOut(BaseModel):
    """The jobs that one request started."""

    items: list[JobOut]


class EventOut(BaseModel):
    """One event of a job: something that happened in it."""

    model_config = ConfigDict(from_attributes=True)

    number: int = Field(description="From 1, without gaps.")
    at: datetime
    type: str
    data: dict[str, Any]


class EventsOut(BaseModel):
    """A page of events."""

    items: list[EventOut]
    next_cursor: str | None = None
