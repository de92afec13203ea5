"""Tables of devices as clients send and see them."""

from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, JsonValue, model_validator

from app.naming import Body, Note, Share, Tags

Milliseconds = Annotated[float, Field(ge=0, le=1e7, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1, le=1_000_000)]


class Measured(Body):
    """A median with its 95 % interval, in milliseconds."""

    model_config = ConfigDict(from_attributes=True)

    ms: Milliseconds
    low: Milliseconds
    high: Milliseconds

    @model_validator(mode="after")
    def _ordered(self) -> "Measured":
        if not self.low <= self.ms <= self.high:
            raise ValueError("ms must be from low to high")
        return self


class OperationTiming(Measured):
    """What one operation takes on one edge, with the sum that its output enters."""

    operation: str = Field(max_length=100)
    channels: Count
    size: Count = Field(description="Height and width of its input.")
    stride: Annotated[int, Field(ge=1, le=2)]


class NetworkTiming(Measured):
    """What a whole network takes."""

    channels: Count
    cells: Annotated[int, Field(ge=1, le=40)]
    genotype: list[list[list[int]]] = Field(
        max_length=2, description="Of each cell its edges, as numbers of operation and predecessor."
    )


DeviceName = Annotated[
    str,
    Field(min_length=1, max_length=100, pattern=r"^[^\x00-\x1f\x7f]+$", description="What requests call it."),
]


def _timed(ms: float, **where: JsonValue) -> JsonValue:
    return {**where, "ms": ms, "low": round(0.9 * ms, 4), "high": round(1.1 * ms, 4)}


EXAMPLE: dict[str, JsonValue] = {
    "name": "my-pi",
    "search_space": "nas-bench-201",
    "image_size": 8,
    "runtime": {"onnxruntime": "1.23.2", "threads": 4},
    "operations": [
        _timed(ms, operation=operation, channels=channels, size=size, stride=1)
        for channels, size in ((8, 8), (16, 4), (32, 2))
        for operation, ms in (
            ("skip_connect", 0.004),
            ("nor_conv_1x1", 0.021),
            ("nor_conv_3x3", 0.043),
            ("avg_pool_3x3", 0.018),
        )
    ],
    "networks": [
        _timed(0.9, channels=8, cells=3, genotype=[[[3, 0], [1, 0], [3, 1], [1, 0], [2, 1], [3, 2]]])
    ],
}
"""Of the smallest table that tells a network."""


class DeviceIn(Body):
    """A table as `measure.py` writes it; one of the same device, space and image size takes its place."""

    model_config = ConfigDict(json_schema_extra={"examples": [EXAMPLE]})

    name: DeviceName
    search_space: str
    image_size: Annotated[int, Field(ge=1, le=4096)]
    runtime: dict[str, str | int] = Field({}, max_length=20)
    operations: list[OperationTiming] = Field(min_length=1, max_length=20_000)
    networks: list[NetworkTiming] = Field(min_length=1, max_length=1_000)
    note: Note | None = None
    tags: Tags = []


class DeviceRelabel(Share):
    """New labels of a device's table, which always has a name."""

    name: DeviceName = "…"


class DeviceOut(BaseModel):
    """A device's table; how well it tells the networks that were measured beside it."""

    model_config = ConfigDict(from_attributes=True)

    id: str
    name: str
    search_space: str
    image_size: int
    runtime: dict[str, str | int]
    channels: list[int] = Field(description="Of the networks that it tells, from the first to the last.")
    cells: list[int]
    median_relative_error: float | None = Field(
        description="Of the measured networks, each told by a table that has not seen it."
    )
    spearman: float | None
    warnings: list[str]
    note: str | None
    tags: list[str]
    shared: bool
    created_at: datetime


class DeviceFullOut(DeviceOut):
    """A device with all that was measured."""

    operations: list[OperationTiming]
    networks: list[NetworkTiming]
