"""Networks for other places: as a standalone PyTorch file, and as ONNX."""

import ast
import inspect
from threading import Lock
from types import ModuleType

import torch
from torch import Tensor, nn

from models.genotypes import network, operations
from models.genotypes.genotype import Genotype
from models.genotypes.network import Network
from models.genotypes.search_space import SearchSpace
from models.genotypes.size import NetworkShape

OPSET = 18
"""Version of the ONNX operators; every runtime since 2023 understands it."""

_exporting = Lock()  # torch's exporter keeps its state in globals (PyTorch 2.14.1)

_HEADER = '''"""The network of one genotype, by itself: it needs PyTorch and nothing else.

{name}

`build()` makes it with fresh weights. Weights trained for it are loaded by `load_state_dict`.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Genotype:
    """Of each cell: (operation, predecessor) pairs, {predecessors} for each intermediate node in turn."""

    normal = {normal}
    reduce = {reduce}


class SearchSpace:
    """The shape of a cell."""

    inputs = {inputs}
    intermediates = {intermediates}
    predecessors = {predecessors}
'''

_FOOTER = '''def build() -> Network:
    """The network, with fresh weights."""
    return Network(
        Genotype,
        SearchSpace,
        image_channels={image_channels},
        classes={classes},
        channels={channels},
        cells={cells},
        auxiliary={auxiliary},
    )


if __name__ == "__main__":
    network = build().eval()
    print(sum(p.numel() for p in network.parameters()), "parameters")
    with torch.no_grad():
        print(network(torch.zeros(1, {image_channels}, {image_size}, {image_size}))[0].shape)
'''


def module_source(
    genotype: Genotype, space: SearchSpace, shape: NetworkShape, name: str, auxiliary: bool = False
) -> str:
    """A Python file with the genotype's network that imports torch alone.

    Its network has the names of `Network`, so the weights of one load into the other.

    Args:
        genotype, space: which cells.
        shape: of the network.
        name: a line about it for the file's docstring.
        auxiliary: whether the network has the auxiliary head.
    """
    header = _HEADER.format(
        name=name.replace("\\", " ").replace('"', "'"),
        normal=_pairs(genotype.normal),
        reduce=_pairs(genotype.reduce),
        inputs=space.inputs,
        intermediates=space.intermediates,
        predecessors=space.predecessors,
    )
    footer = _FOOTER.format(
        image_channels=shape.image_channels,
        image_size=shape.image_size,
        classes=shape.classes,
        channels=shape.channels,
        cells=shape.cells,
        auxiliary=auxiliary,
    )
    return "\n\n\n".join([header.rstrip("\n"), *_definitions(operations), *_definitions(network), footer])


def onnx_bytes(net: Network, shape: NetworkShape) -> bytes:
    """A network as an ONNX model: `images` `[batch, channels, size, size]` to `logits` `[batch, classes]`."""
    images = torch.zeros(2, shape.image_channels, shape.image_size, shape.image_size)
    with _exporting:
        program = torch.onnx.export(
            _Logits(net).eval(),
            (images,),
            dynamo=True,
            opset_version=OPSET,
            input_names=["images"],
            output_names=["logits"],
            dynamic_shapes={"images": {0: torch.export.Dim("batch")}},
            verbose=False,
        )
    assert program is not None
    return program.model_proto.SerializeToString()


class _Logits(nn.Module):
    """A network without its auxiliary output."""

    def __init__(self, net: Network) -> None:
        super().__init__()
        self.net = net

    def forward(self, images: Tensor) -> Tensor:
        return self.net(images)[0]


def _pairs(edges: tuple[tuple[str, int], ...]) -> str:
    lines = "".join(f"        {edge!r},\n".replace("'", '"') for edge in edges)
    return f"(\n{lines}    )"


def _definitions(module: ModuleType) -> list[str]:
    """The source of what a module defines, without its imports and its own docstring."""
    source = inspect.getsource(module)
    definitions = []
    for statement in ast.parse(source).body:
        text = ast.get_source_segment(source, statement)
        assert text is not None
        if isinstance(statement, ast.FunctionDef | ast.ClassDef | ast.Assign):
            definitions.append(text)
        elif isinstance(statement, ast.AnnAssign) and statement.value is not None:
            # the annotation names what is not imported there
            definitions.append(
                f"{ast.unparse(statement.target)} = {ast.get_source_segment(source, statement.value)}"
            )
    return definitions
