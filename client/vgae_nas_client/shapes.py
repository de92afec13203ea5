"""What the service answers, as typed values. Fields that a newer service adds are kept as they come."""

from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict


class _Shape(BaseModel):
    model_config = ConfigDict(extra="allow", frozen=True)


class Files(_Shape):
    """Files that were treated alike in reading: how many, and the first names."""

    count: int
    names: list[str]


class Account(_Shape):
    """The account of reading the images of a data set."""

    counts: dict[str, dict[str, int]]
    skipped: dict[str, Files]
    converted: dict[str, Files]
    warnings: list[str]


class DatasetInfo(_Shape):
    """A data set."""

    id: str
    name: str
    source: str
    channels: int
    image_size: int
    classes: int
    class_names: list[str]
    train_count: int
    test_count: int
    account: Account | None = None
    note: str | None = None
    tags: list[str] = []


class Network(_Shape):
    """The shape and exact size of a network."""

    channels: int
    cells: int
    classes: int
    image_channels: int
    image_size: int
    stem: str
    parameters: int
    macs: int


class ArchitectureInfo(_Shape):
    """One proposed architecture."""

    genotype_id: str
    genotype: dict[str, Any]
    digest: str
    network: Network
    edits: int | None = None
    predicted_accuracy: float | None = None
    predicted_deviation: float | None = None
    estimated_seconds: float
    links: dict[str, str]


class Start(_Shape):
    """Where proposed architectures come from, and why."""

    kind: str
    reason: str
    dataset: str
    genotype_name: str | None = None
    point: dict[str, Any]
    nearest: dict[str, Any] | None = None


class ProposalInfo(_Shape):
    """Architectures for a data set, with all that was chosen."""

    id: str
    dataset_id: str
    dataset: str
    latent_space_id: str
    recipe: str
    settings: dict[str, Any]
    gamma: float | None
    deviations: float | None
    seed: int
    start: Start
    warnings: list[str]
    items: list[ArchitectureInfo]


class JobInfo(_Shape):
    """A job of the service."""

    id: str
    kind: str
    status: str
    progress: float
    step: str
    queue_position: int | None = None
    eta_seconds: float | None = None
    estimated_seconds: float = 0.0
    attempt: int
    result: dict[str, Any] | None = None
    error: dict[str, Any] | None = None
    links: dict[str, str]
    warnings: list[str] = []

    @property
    def is_over(self) -> bool:
        """Whether nothing more comes of it."""
        return self.status in ("succeeded", "failed", "cancelled")


class Event(_Shape):
    """Something that happened in a job."""

    number: int
    at: datetime
    type: str
    data: dict[str, Any]


class TableRow(_Shape):
    """The figures of one arm of a comparison; accuracies in percent."""

    arm: str
    dataset: str
    n: int
    failed: int
    open: int
    mean_params: float | None = None
    best_accuracy: float | None = None
    mean_accuracy: float | None = None
    sd_accuracy: float | None = None
    mean_last_accuracy: float | None = None
    mean_selected_accuracy: float | None = None
    verdicts: str = ""


class Verdict(_Shape):
    """Whether one arm is better than another, with the interval that says so."""


class TableInfo(_Shape):
    """The table of a comparison."""

    experiment_id: str
    status: str
    items: list[TableRow]
    verdicts: list[Verdict]
    failures: list[dict[str, Any]]


class TrainingInfo(_Shape):
    """One training."""

    id: str
    job_id: str
    genotype_id: str | None = None
    reference: str | None = None
    dataset_id: str
    recipe: str
    seed: int
    arm: str | None = None


class EvaluationInfo(_Shape):
    """One measured result; accuracies in percent."""

    id: str
    genotype_id: str | None = None
    reference: str | None = None
    training_id: str | None = None
    dataset_id: str
    kind: str
    arm: str | None = None
    recipe: str | None = None
    test_accuracy: float
    validation_accuracy: float | None = None
    selected_test_accuracy: float | None = None
    parameters: int | None = None
    genotype_name: str | None = None


class GenotypeInfo(_Shape):
    """A genotype and where it came from."""

    id: str
    search_space: str
    origin: str
    name: str | None = None
    genotype: dict[str, Any]
    digest: str
    parameters: int
    macs: int | None = None
    source: dict[str, Any]
