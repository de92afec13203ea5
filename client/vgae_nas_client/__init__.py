"""The Python client of the VGAE-NAS service: good networks for your own images at zero search hours."""

from typing import TYPE_CHECKING, Any

from vgae_nas_client.errors import (
    Conflict,
    InvalidRequest,
    JobFailed,
    NasError,
    NeedsKey,
    NotFound,
    Refused,
    ServiceFailed,
    ServiceUnreachable,
    TooManyRequests,
)

if TYPE_CHECKING:
    from vgae_nas_client.aio.client import AsyncClient
    from vgae_nas_client.sync.client import Client

__all__ = [
    "AsyncClient",
    "Client",
    "Conflict",
    "InvalidRequest",
    "JobFailed",
    "NasError",
    "NeedsKey",
    "NotFound",
    "Refused",
    "ServiceFailed",
    "ServiceUnreachable",
    "TooManyRequests",
]


def __getattr__(name: str) -> Any:
    """The clients, imported when they are first asked for: the command line's help needs none."""
    if name == "Client":
        from vgae_nas_client.sync.client import Client

        return Client
    if name == "AsyncClient":
        from vgae_nas_client.aio.client import AsyncClient

        return AsyncClient
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
