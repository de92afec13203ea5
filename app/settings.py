"""Every setting of the service, from the environment with the prefix `VGAE_NAS_`."""

from functools import lru_cache
from pathlib import Path
from typing import Annotated

from limits import parse
from pydantic import Field, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from app.logs import LogFormat, LogLevel

LOOPBACK = ("localhost", "127.0.0.1", "::1")

Positive = Annotated[float, Field(gt=0)]


class Settings(BaseSettings):
    """Settings with the embedded default: SQLite, a folder as broker, a folder for files.

    Production differs by `database_url`, `broker_url` and `artifacts_url` alone.
    """

    model_config = SettingsConfigDict(env_prefix="VGAE_NAS_")

    home: Path = Field(Path("var"), description="Folder of the embedded default's files.")
    database_url: str = Field("", description="SQLAlchemy URL; SQLite in `home` by default.")
    broker_url: str = Field("", description="Celery broker; `filesystem:///folder` in `home` by default.")
    artifacts_url: str = Field("", description="fsspec URL of the file store; a folder in `home` by default.")
    data_root: Path = Field(Path("data"), description="Folder in which torchvision's data sets lie.")

    host: str = Field("127.0.0.1", description="Address to listen on.")
    open: bool = Field(
        False, description="Asks nobody for a key, on any address; where something else guards the service."
    )
    rate: str = Field(
        "", description="Requests that a key may send, as `600/minute`, if it has no rate of its own."
    )
    allowed_hosts: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        description="Names under which requests are answered beside those of this machine, as "
        "`nas.example.org,*.example.net`. By default none, or any where `host` is one that others reach.",
    )
    port: int = Field(8000, ge=0, le=65535)
    log_format: LogFormat = Field("text", description="`json` for programs that collect logs.")
    log_level: LogLevel = Field("INFO", description="Of lines in the log, the least.")
    mlflow_url: str = Field(
        "", description="MLflow server that gets jobs as runs; needs the extra `mlflow`. None by default."
    )
    webhooks_private: bool = Field(
        False, description="Lets webhooks lead to this machine and into private networks."
    )
    max_connections: int = Field(4_000, gt=0, description="Open connections to one API process.")
    max_body_bytes: int = Field(4 << 20, gt=0, description="Of a request, uploads excepted.")
    max_upload_bytes: int = Field(4 << 30, gt=0, description="Of an uploaded archive.")
    resident_bytes: int = Field(4 << 30, gt=0, description="Images that take more are streamed from files.")
    read_seconds: Positive = Field(3600.0, description="Reading the images of a data set may take so long.")
    max_generate: int = Field(10_000, gt=0, description="Architectures in one generate request.")
    max_members: int = Field(50_000, gt=1, description="Members of one latent space.")
    max_jobs_per_request: int = Field(1_000, gt=0, description="Jobs that one request may start.")

    answer_seconds: Positive = Field(
        10.0,
        description="The database must answer a request so soon; a worker, in six times as long.",
    )

    device: str = Field("auto", description="`auto` takes a GPU if there is one; else `cpu`, `cuda:0`, …")
    lease_seconds: Positive = Field(10.0, description="After so long without a heartbeat a job is put back.")
    heartbeat_seconds: Positive = Field(0.5, description="Between two heartbeats of a running job.")
    sweep_seconds: Positive = Field(2.0, description="Between two sweeps for lost jobs.")
    lost_message_seconds: Positive = Field(
        10.0, description="A job still queued after so long, with a worker idle, is sent again."
    )
    orphan_seconds: Positive = Field(
        3600.0, description="A file that nothing refers to is removed so long after it was written."
    )
    max_attempts: int = Field(
        3, gt=0, description="Starts without a checkpoint between them before a job is given up as failed."
    )
    kinds: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="Kinds of jobs that a worker takes, as `search,train`; all by default."
    )
    patience_seconds: Positive = Field(300.0, description="How long a worker waits for a lost database.")

    metrics_port: int = Field(
        0,
        ge=0,
        le=65535,
        description="Port on which a worker of its own tells Prometheus its figures; 0 is none.",
    )

    @field_validator("kinds", "allowed_hosts", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return (
            tuple(part.strip() for part in value.split(",") if part.strip())
            if isinstance(value, str)
            else value
        )

    @field_validator("rate")
    @classmethod
    def _readable(cls, value: str) -> str:
        if value:
            parse(value)
        return value

    @model_validator(mode="after")
    def _embedded_default(self) -> "Settings":
        home = self.home.resolve()
        self.database_url = self.database_url or f"sqlite:///{home / 'vgae-nas.db'}"
        self.broker_url = self.broker_url or f"filesystem://{home / 'broker'}"
        self.artifacts_url = self.artifacts_url or str(home / "artifacts")
        others = self.allowed_hosts or (() if self.host in LOOPBACK else ("*",))
        self.allowed_hosts = (*LOOPBACK, *(name for name in others if name not in LOOPBACK))
        return self


@lru_cache
def get_settings() -> Settings:
    """The process's settings, read once."""
    return Settings()
