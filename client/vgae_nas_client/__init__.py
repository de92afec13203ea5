"""The Python client of the VGAE-NAS service: good networks for your own images at zero search hours."""

from vgae_nas_client.aio import AsyncClient
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
from vgae_nas_client.sync import Client

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
