"""Tables of devices: kept when they tell what they should, and found for a network."""

from typing import Any

from sqlalchemy import Select, delete, select
from sqlalchemy.orm import Session

from app import naming
from app.database import new_id, now
from app.devices.schemas import DeviceFullOut, DeviceIn
from app.devices.tables import Device
from app.problems import InvalidRequest, NotFound
from models.genotypes.genotype import from_dict
from models.genotypes.latency import DeviceTable, Judged, LatencyError, NetworkTiming, OperationTiming
from models.genotypes.search_space import SEARCH_SPACES, SearchSpace
from models.genotypes.size import NetworkShape

PREFIX = "dev"

ROUGH = 0.15
"""Median relative error above which latencies are told with a doubt."""


def register(session: Session, request: DeviceIn) -> tuple[Device, bool]:
    """Keeps a table; one of the same device, search space and image size goes.

    Returns:
        the table, committed, and whether it took the place of another.

    Raises:
        InvalidRequest: it is of no search space that there is, or does not tell the networks it measured.
    """
    space = SEARCH_SPACES.get(request.search_space)
    if space is None:
        raise InvalidRequest.of("search_space", f"must be one of {', '.join(SEARCH_SPACES)}")
    _require_known(request, space)
    row = Device(
        id=new_id(PREFIX),
        name=request.name,
        search_space=space.name,
        image_size=request.image_size,
        runtime=request.runtime,
        operations=[timing.model_dump() for timing in request.operations],
        networks=[timing.model_dump() for timing in request.networks],
        note=request.note,
        labels=request.tags or None,
        created_at=now(),
    )
    _require_whole(of_request(request), space)
    same = (Device.name == row.name, Device.search_space == row.search_space)
    gone = session.execute(delete(Device).where(*same, Device.image_size == row.image_size))
    session.add(row)
    session.commit()
    return row, bool(gone.rowcount)  # type: ignore[attr-defined]


def _require_known(request: DeviceIn, space: SearchSpace) -> None:
    """Raises `InvalidRequest` for operations and genotypes that the search space does not have."""
    names = [space.operations[index] for index in space.choices]
    for place, timing in enumerate(request.operations):
        if timing.operation not in names:
            raise InvalidRequest.of(
                f"operations[{place}].operation",
                f"must be one of {', '.join(names)} (got {timing.operation!r})",
            )
    for place, network in enumerate(request.networks):
        cells = [
            [[space.operations[operation], predecessor] for operation, predecessor in cell]
            if all(len(edge) == 2 and 0 <= edge[0] < len(space.operations) for edge in cell)
            else cell
            for cell in network.genotype
        ]
        try:
            from_dict(dict(zip(space.cells, cells, strict=True)), space)
        except ValueError as error:
            raise InvalidRequest.of(f"networks[{place}].genotype", str(error)) from None


def _require_whole(table: DeviceTable, space: SearchSpace) -> None:
    """Raises `InvalidRequest` where an operation of a measured network was not measured."""
    for channels, cells in table.shapes:
        try:
            table.costs(space, NetworkShape(channels, cells, image_size=table.image_size))
        except LatencyError as error:
            raise InvalidRequest.of(
                "operations", f"do not tell the networks of {channels} channels and {cells} cells: {error}"
            ) from None


def get(session: Session, device_id: str) -> Device:
    """A table by id.

    Raises:
        NotFound: there is none.
    """
    device = session.get(Device, device_id)
    if device is None:
        raise NotFound(f"there is no device {device_id!r}")
    return device


def forget(session: Session, device_id: str) -> None:
    """Deletes a table.

    Raises:
        NotFound: there is none.
    """
    session.delete(get(session, device_id))
    session.commit()


def listing(tag: str | None = None) -> Select[*tuple[Any, ...]]:
    """The query for tables."""
    return naming.tagged(select(Device), Device.labels, tag)


def find(
    session: Session, name: str, space: SearchSpace, shape: NetworkShape, field: str, any_shape: bool = False
) -> DeviceTable:
    """The table of a device for networks of a shape, or with `any_shape` for images of its size.

    Raises:
        InvalidRequest: naming the field: there is none, or it does not tell this shape.
    """
    rows = session.scalars(select(Device).where(Device.name == name)).all()
    if not rows:
        names = ", ".join(map(repr, session.scalars(select(Device.name).distinct().limit(20)))) or "none yet"
        raise InvalidRequest.of(field, f"there is no table of a device {name!r}; there are: {names}")
    fitting = [row for row in rows if (row.search_space, row.image_size) == (space.name, shape.image_size)]
    if not fitting:
        known = "; ".join(f"{row.search_space} at {row.image_size} pixels" for row in rows)
        raise InvalidRequest.of(
            field,
            f"{name!r} has no table for {space.name} at {shape.image_size} pixels, but for {known}; measure "
            "it by `vgae-nas profile`",
        )
    table = table_of(fitting[0])
    if any_shape:
        return table
    try:
        table.costs(space, shape)
    except LatencyError as error:
        raise InvalidRequest.of(field, f"the table of {name!r} does not tell this network: {error}") from None
    return table


def doubt(name: str, judged: Judged) -> str | None:
    """A sentence on how rough latencies on a device are, where they are."""
    if judged.median_relative_error is None:
        return (
            f"whether the table of {name!r} tells networks that it has not seen is not known: it has too few"
        )
    if judged.median_relative_error <= ROUGH:
        return None
    return (
        f"latencies on {name!r} are rough: networks that its table has not seen were told with a median "
        f"error of {judged.median_relative_error:.0%}"
    )


def table_of(row: Device) -> DeviceTable:
    """A row in the form of `models`."""
    measured = {"operations": row.operations, "networks": row.networks}
    described = {"name": row.name, "search_space": row.search_space, "image_size": row.image_size}
    return of_request(DeviceIn.model_validate({**described, **measured}))


def of_request(request: DeviceIn) -> DeviceTable:
    """A table as it was sent, in the form of `models`."""
    operations = tuple(
        OperationTiming(timing.operation, timing.channels, timing.size, timing.stride, timing.ms)
        for timing in request.operations
    )
    networks = tuple(
        NetworkTiming(
            tuple(tuple((operation, node) for operation, node in cell) for cell in timing.genotype),
            timing.channels,
            timing.cells,
            timing.ms,
        )
        for timing in request.networks
    )
    return DeviceTable(request.image_size, operations, networks)


def shown(row: Device) -> dict[str, Any]:
    """What clients see of a table."""
    table, space = table_of(row), SEARCH_SPACES[row.search_space]
    judged = table.left_out(space)
    rough = doubt(row.name, judged)
    fields = {name: getattr(row, name, None) for name in DeviceFullOut.model_fields}
    return {
        **fields,
        "channels": sorted({channels for channels, _ in table.shapes}),
        "cells": sorted({cells for _, cells in table.shapes}),
        "median_relative_error": judged.median_relative_error,
        "spearman": judged.spearman,
        "warnings": [] if rough is None else [rough],
    }
