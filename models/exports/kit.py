"""What is timed on a device: each operation of a search space where its networks have it, as ONNX."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from models.exports.export import OPSET, onnx_bytes
from models.genotypes.genotype import from_tensor, random_tensor
from models.genotypes.operations import OPERATIONS
from models.genotypes.search_space import SearchSpace
from models.genotypes.size import NetworkShape, edges_of

REPEATS = 6
"""Of an operation in the model that times it."""

WHOLE = 10
"""Random networks of each shape, by which what operations take is brought to what networks take."""

SCRIPT = Path(__file__).with_name("measure.py")
"""What runs on the device, where onnxruntime and numpy are."""


@dataclass(frozen=True)
class Block:
    """One model to time.

    Args:
        file: its name.
        operation: its name; `None` for a model that does nothing, of which the time is taken off.
        channels, size, stride: of the edge.
        repeats: of the operation.
    """

    file: str
    operation: str | None
    channels: int
    size: int
    stride: int
    repeats: int


def kit(space: SearchSpace, shapes: Sequence[NetworkShape]) -> dict[str, bytes]:
    """The files to take to a device, by name: `measure.py`, its plan, and the models that it times.

    Args:
        space: the search space.
        shapes: of networks whose latency is to be told, all for images of one size. What lies between their
            channels and cells is told too.
    """
    places = sorted({edge[2:] for shape in shapes for edge in edges_of(space, shape)})
    names = [space.operations[index] for index in space.choices if space.operations[index] != "none"]
    blocks: list[Block] = []
    files = {"measure.py": SCRIPT.read_bytes()}
    for channels, size, stride in places:
        for operation in (None, *names):
            file = f"block-{len(blocks)}.onnx"
            blocks.append(Block(file, operation, channels, size, stride, REPEATS))
            files[file] = _model(operation, channels, size, stride)
    networks: list[dict[str, Any]] = []
    drawn = random_tensor(WHOLE, space, torch.Generator().manual_seed(0))
    for shape in shapes:
        for form, genotype in zip(drawn.tolist(), from_tensor(drawn, space), strict=True):
            file = f"network-{len(networks)}.onnx"
            networks.append(
                {"file": file, "genotype": form, "channels": shape.channels, "cells": shape.cells}
            )
            files[file] = onnx_bytes(shape.network(genotype), shape)
    plan = {
        "search_space": space.name,
        "image_size": shapes[0].image_size,
        "blocks": [asdict(block) for block in blocks],
        "networks": networks,
    }
    return {**files, "plan.json": json.dumps(plan).encode()}


class _Chain(nn.Module):
    """An operation several times in turn, each added to an older tensor, as nodes add their edges."""

    def __init__(self, operations: Sequence[nn.Module]) -> None:
        super().__init__()
        self.operations = nn.ModuleList(operations)

    def forward(self, older: Tensor, last: Tensor) -> Tensor:
        for operation in self.operations:
            older, last = last, operation(last) + older
        return last


class _Sum(nn.Module):
    """An operation of stride 2 several times side by side, on an input each, added up."""

    def __init__(self, operations: Sequence[nn.Module]) -> None:
        super().__init__()
        self.operations = nn.ModuleList(operations)

    def forward(self, start: Tensor, *inputs: Tensor) -> Tensor:
        for operation, read in zip(self.operations, inputs, strict=True):
            start = start + operation(read)
        return start


class _Nothing(nn.Module):
    """What a model takes that does nothing."""

    def forward(self, first: Tensor, *others: Tensor) -> Tensor:
        return first[:, :1, :1, :1] + 0


def _model(operation: str | None, channels: int, size: int, stride: int) -> bytes:
    halved = -(-size // stride)
    inputs = [torch.zeros(1, channels, halved, halved)]
    inputs += [torch.zeros(1, channels, size, size) for _ in range(1 if stride == 1 else REPEATS)]
    if operation is None:
        module: nn.Module = _Nothing()
    else:
        module = (_Chain if stride == 1 else _Sum)(
            [OPERATIONS[operation](channels, stride, True) for _ in range(REPEATS)]
        )
    program = torch.onnx.export(module.eval(), tuple(inputs), dynamo=True, opset_version=OPSET, verbose=False)
    assert program is not None
    return program.model_proto.SerializeToString()
