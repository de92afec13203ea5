"""Webhooks as clients send and see them."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from app.jobs.tables import JobKind
from app.naming import Body

End = Literal["succeeded", "failed", "cancelled"]


class WebhookIn(Body):
    """An address that is to be told when jobs end."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"url": "https://example.org/hooks/nas", "statuses": ["succeeded"]}]}
    )

    url: Annotated[
        str,
        Field(
            max_length=2_000,
            pattern=r"^https?://[^\s/?#@]+([/?][^\s]*)?$",
            description="With http or https, and without a name and password.",
        ),
    ]
    statuses: list[End] = Field(["succeeded", "failed", "cancelled"], min_length=1, max_length=3)
    kinds: list[JobKind] | None = Field(None, min_length=1, description="Of jobs; by default all.")


class WebhookOut(BaseModel):
    """A webhook without its secret."""

    model_config = ConfigDict(from_attributes=True)

    id: str
    url: str
    statuses: list[End]
    kinds: list[JobKind] | None
    created_at: datetime


class NewWebhookOut(WebhookOut):
    """A webhook that was just made."""

    secret: str = Field(
        description="By which messages are signed (standardwebhooks.com); shown this once: `whsec_…`."
    )


class DeliveryOut(BaseModel):
    """A message to a webhook, and what came of it."""

    model_config = ConfigDict(from_attributes=True)

    id: str = Field(description="`webhook-id` of the message, the same at each attempt.")
    job_id: str
    type: str = Field(description="`job.succeeded`, `job.failed` or `job.cancelled`.")
    attempts: int
    next_at: datetime | None = Field(description="Of the next attempt; `null` where none is to be made.")
    status: int | None = Field(description="Of the last answer.")
    error: str | None = Field(description="What went wrong at the last attempt.")
    delivered_at: datetime | None
    created_at: datetime
