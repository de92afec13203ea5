"""Keys as clients send and see them."""

from datetime import datetime
from typing import Annotated

from limits import parse
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from app.keys.tables import KeyScope
from app.naming import Body


def _readable(text: str) -> str:
    parse(text)
    return text


Rate = Annotated[str, Field(max_length=40), AfterValidator(_readable)]


class KeyIn(Body):
    """A new key."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"name": "notebook", "scope": "write"}]})

    name: str = Field(min_length=1, max_length=100, pattern=r"^[\w.:@+-]+$", description="Of its holder.")
    scope: KeyScope = KeyScope.WRITE
    rate: Rate | None = Field(None, description="Requests, as `600/minute`; by default the setting's.")
    quota: Rate | None = Field(None, description="Requests that start jobs, as `100/day`; any by default.")


class KeyOut(BaseModel):
    """A key without its text, which nobody can tell any more."""

    model_config = ConfigDict(from_attributes=True)

    id: str
    name: str
    scope: KeyScope
    rate: str | None
    quota: str | None
    created_at: datetime
    last_used_at: datetime | None = Field(description="To the minute.")
    revoked_at: datetime | None


class NewKeyOut(KeyOut):
    """A key that was just made."""

    key: str = Field(description="Its text, for `Authorization: Bearer`; shown this once.")
