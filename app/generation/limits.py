"""What generated architectures must keep to: limits, the networks that they are of, budgets and devices."""

from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from sqlalchemy.orm import Session
from torch import Tensor

from app.datasets import service as datasets
from app.devices import service as devices
from app.generation.schemas import BudgetedNetworkIn, ConstraintsIn, LatencyIn, RangeIn
from app.problems import InvalidRequest
from models.datasets.data import DataError, require_size
from models.genotypes.budget import Budget
from models.genotypes.constraints import ConstraintError, Constraints, Range
from models.genotypes.latency import NANOSECONDS, DeviceTable, latency
from models.genotypes.search_space import SearchSpace
from models.genotypes.size import NetworkShape, count_macs, count_parameters, standard_network


@dataclass(frozen=True)
class DeviceTables:
    """What is known of the devices that limits name: of the latency itself, and of the network's budget."""

    limit: DeviceTable | None = None
    budget: DeviceTable | None = None

    def doubts(self, asked: ConstraintsIn | None, space: SearchSpace) -> list[str]:
        """Sentences on how rough the latencies are that limits hold, where they are."""
        if asked is None:
            return []
        named = [(asked.latency_ms, self.limit), (asked.network.latency_ms, self.budget)]
        told = [
            devices.doubt(limit.device, table.left_out(space)) for limit, table in named if limit and table
        ]
        return [doubt for doubt in told if doubt is not None]


def device_tables(
    session: Session, asked: ConstraintsIn | None, space: SearchSpace, shape: NetworkShape
) -> DeviceTables:
    """The tables of the devices that limits name.

    Raises:
        InvalidRequest: naming the field: a device has no table that tells the network.
    """
    limit = budget = None
    if asked is not None and asked.latency_ms is not None:
        name, field = asked.latency_ms.device, "constraints.latency_ms.device"
        limit = devices.find(session, name, space, shape, field)
    if asked is not None and asked.network.latency_ms is not None:
        name, field = asked.network.latency_ms.device, "constraints.network.latency_ms.device"
        budget = devices.find(session, name, space, shape, field, any_shape=True)
    return DeviceTables(limit, budget)


def constraints(
    asked: ConstraintsIn | None, shape: NetworkShape, space: SearchSpace, tables: DeviceTables
) -> Constraints | None:
    """The limits of a request in the form of `models`.

    Args:
        asked: the limits; `None` for none.
        shape: of the network that sizes are of, as `network_shape` gives it.
        space: the search space.
        tables: of the devices that it names.

    Raises:
        InvalidRequest: naming a limit that nothing can meet.
    """
    if asked is None:
        return None
    found = Constraints(
        _range(asked.parameters),
        _range(asked.macs),
        _range(asked.depth),
        {name: _range(allowed) for name, allowed in asked.operations.items()},
        _range(asked.edits),
        shape,
        _budget(asked.network, shape, tables.budget),
        tables.limit,
        Range() if asked.latency_ms is None else _in_time(asked.latency_ms),
    )
    try:
        if found.budget is None:
            require_size(shape.image_size, shape.cells, shape.stem)
        found.require_possible(space)
    except DataError as error:
        raise InvalidRequest.of("constraints.network.image_size", str(error)) from None
    except ConstraintError as error:
        raise InvalidRequest.of(f"constraints.{error.field}", error.detail) from None
    return found


def network_shape(
    session: Session, asked: ConstraintsIn | None, space: SearchSpace, dataset_id: str | None, field: str
) -> NetworkShape:
    """The network that limits are of; for a data set, of its images and classes.

    Args:
        session: reads the data set.
        asked: the limits.
        space: the search space.
        dataset_id: whose images a budget is for where the limits say nothing of images.
        field: of the request, that names it.

    Raises:
        InvalidRequest: there is no such data set.
    """
    network = (asked or ConstraintsIn()).network
    shape = network.shape(space)
    if network.dataset_id is not None:
        dataset_id, field = network.dataset_id, "constraints.network.dataset_id"
    elif not network.budgeted or network.images:
        dataset_id = None
    if dataset_id is None:
        return shape
    dataset = datasets.get(session, dataset_id, field)
    return replace(
        shape, image_channels=dataset.channels, image_size=dataset.image_size, classes=dataset.classes
    )


def _budget(network: BudgetedNetworkIn, shape: NetworkShape, device: DeviceTable | None) -> Budget | None:
    if not network.budgeted:
        return None
    parameters, macs = (None if most is None else most.max for most in (network.parameters, network.macs))
    time = None if network.latency_ms is None else round(network.latency_ms.max * NANOSECONDS)
    return Budget(shape, parameters, macs, network.channels, network.cells, time, device)


def _in_time(asked: LatencyIn) -> Range:
    """A range of milliseconds in nanoseconds."""
    return Range(*(None if end is None else round(end * NANOSECONDS) for end in (asked.min, asked.max)))


def _range(asked: RangeIn) -> Range:
    return Range(asked.min, asked.max)


def networks(genotypes: Tensor, space: SearchSpace, constraints: Constraints) -> list[dict[str, Any]]:
    """The network of each genotype that its limits are of, with its exact counts."""
    shape, budget = constraints.shape or standard_network(space), constraints.budget
    if budget is None:
        counts = (count(genotypes, space, shape).tolist() for count in (count_parameters, count_macs))
        shapes = [{**asdict(shape), "parameters": p, "macs": m} for p, m in zip(*counts, strict=True)]
        return _with_times(shapes, genotypes, space, constraints.device)
    limits = {name: limit for name in ("parameters", "macs") if (limit := getattr(budget, name)) is not None}
    if budget.latency is not None:
        limits["latency_ms"] = budget.latency / NANOSECONDS
    fitted = {name: part.tolist() for name, part in vars(budget.fit(genotypes, space)).items()}
    shapes = [
        {**asdict(shape), **dict(zip(fitted, row, strict=True)), "budget": limits}
        for row in zip(*fitted.values(), strict=True)
    ]
    return _with_times(shapes, genotypes, space, budget.device)


def _with_times(
    shapes: list[dict[str, Any]], genotypes: Tensor, space: SearchSpace, device: DeviceTable | None
) -> list[dict[str, Any]]:
    """Networks with their milliseconds on a device, where there is one."""
    if device is None:
        return shapes
    names = [field.name for field in fields(NetworkShape)]
    by_shape: dict[NetworkShape, list[int]] = {}
    for row, network in enumerate(shapes):
        by_shape.setdefault(NetworkShape(**{name: network[name] for name in names}), []).append(row)
    for shape, rows in by_shape.items():
        taken = latency(genotypes[rows], space, shape, device).tolist()
        for row, nanoseconds in zip(rows, taken, strict=True):
            shapes[row]["latency_ms"] = round(nanoseconds / NANOSECONDS, 6)
    return shapes
