"""Networks for other places: as a standalone PyTorch file, and as ONNX."""

import ast
import inspect
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType

import torch
from torch import Tensor, nn

from models.genotypes import network, operations, residual
from models.genotypes.genotype import Genotype
from models.genotypes.size import NETWORKS, AnyNetwork, NetworkShape

SOURCES: dict[str, tuple[ModuleType, ...]] = {
    "darts": (operations, network),
    "residual": (operations, network, residual),
}
"""The modules that a network needs, by the name that its search space gives it."""

OPSET = 18
"""Version of the ONNX operators; every runtime since 2023 understands it."""

_HEADER = '''"""The network of one genotype, by itself: it needs PyTorch and nothing else.

{name}

`build()` makes it with fresh weights. Weights trained for it are loaded by `load_state_dict`.
"""

from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class SearchSpace:
    """The shape of a cell."""

    cells = {space_cells}
    inputs = {inputs}
    intermediates = {intermediates}
    kept = {kept}
    join = "{join}"
    """Inputs, nodes between inputs and output, and the node that each edge enters."""


class Genotype:
    """Of each cell: (operation, predecessor) pairs, in the order of `SearchSpace.kept`."""

    space = SearchSpace
    cells = ({cells}
    )
'''

_CLASSIFIER = '''CLASSES = {classes}
"""The names of the outputs, in their order."""

MEAN, DEVIATION = {mean}, {deviation}
"""Of the images that the network was trained on, by channel."""


class Classifier({network}):
    """The network with its normalisation, so that it takes images as they are."""

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        """Logits of `CLASSES`.

        Args:
            images: `[batch, channels, height, width]`, uint8, or float from 0 to 1.
        """
        if images.dtype == torch.uint8:
            images = images.float() / 255
        elif images.min() < 0 or images.max() > 1:
            raise ValueError("images must be uint8, or float from 0 to 1")
        mean, deviation = (images.new_tensor(values)[:, None, None] for values in (MEAN, DEVIATION))
        return super().forward((images - mean) / deviation)
'''

_FOOTER = '''def build() -> {network}:
    """The network, with fresh weights."""
    return {network}(
        Genotype,
        image_channels={image_channels},
        classes={classes},
        channels={channels},
        cells={cells},
        auxiliary={auxiliary},
        large_stem={large_stem},
    )


if __name__ == "__main__":
    network = build().eval()
    print(sum(p.numel() for p in network.parameters()), "parameters")
    with torch.no_grad():
        print(network(torch.zeros(1, {image_channels}, {image_size}, {image_size}))[0].shape)
'''


@dataclass(frozen=True)
class Card:
    """The facts that a trained network needs to be of use elsewhere.

    Args:
        classes: the names of its outputs, in their order.
        mean, deviation: of the images that it was trained on, by channel, 0 to 1.
        facts: what else is known of it, as `training_id` or `test_accuracy`.
    """

    classes: Sequence[str]
    mean: Sequence[float]
    deviation: Sequence[float]
    facts: Mapping[str, str]


def module_source(
    genotype: Genotype,
    shape: NetworkShape,
    name: str,
    auxiliary: bool = False,
    card: Card | None = None,
) -> str:
    """A Python file with the genotype's network that imports torch alone.

    Its network has the names of `Network`, so the weights of one load into the other.

    Args:
        genotype: which cells.
        shape: of the network.
        name: a line about it for the file's docstring.
        auxiliary: whether the network has the auxiliary head.
        card: of a trained network, whose file then takes images as they are.
    """
    space = genotype.space
    kind = NETWORKS[space.network].__name__
    header = _HEADER.format(
        name=name.replace("\\", " ").replace('"', "'"),
        space_cells=json.dumps(space.cells).replace("[", "(").replace("]", ",)"),
        cells="".join(_pairs(edges) for edges in genotype.cells),
        inputs=space.inputs,
        intermediates=space.intermediates,
        kept=space.kept,
        join=space.join,
    )
    footer = _FOOTER.format(
        network=kind if card is None else "Classifier",
        image_channels=shape.image_channels,
        image_size=shape.image_size,
        classes=shape.classes,
        channels=shape.channels,
        cells=shape.cells,
        auxiliary=auxiliary,
        large_stem=shape.large_stem,
    )
    parts = [header.rstrip("\n")]
    for module in SOURCES[space.network]:
        parts += _definitions(module)
    if card is not None:
        values = {name: repr(list(getattr(card, name))) for name in ("classes", "mean", "deviation")}
        parts.append(_CLASSIFIER.format(network=kind, **values).rstrip("\n"))
    return "\n\n\n".join([*parts, footer])


def onnx_bytes(net: AnyNetwork, shape: NetworkShape, card: Card | None = None) -> bytes:
    """A network as an ONNX model for any batch, to `logits` `[batch, classes]`.

    With a card it takes `images` as they are, uint8 `[batch, channels, size, size]`, normalises them, and
    has the card in its metadata. Without one it takes `normalised_images`, float32.

    Args:
        net: the network, with its weights.
        shape: of the network.
        card: of a trained network.
    """
    kind, name = (torch.float32, "normalised_images") if card is None else (torch.uint8, "images")
    images = torch.zeros(2, shape.image_channels, shape.image_size, shape.image_size, dtype=kind)
    program = torch.onnx.export(
        _Logits(net, card).eval(),
        (images,),
        dynamo=True,
        opset_version=OPSET,
        input_names=[name],
        output_names=["logits"],
        dynamic_shapes={"images": {0: torch.export.Dim("batch")}},
        verbose=False,
    )
    assert program is not None
    model = program.model_proto
    if card is not None:
        described = {name: json.dumps(list(getattr(card, name))) for name in ("classes", "mean", "deviation")}
        for key, value in {**described, **card.facts}.items():
            entry = model.metadata_props.add()
            entry.key, entry.value = key, value
    return model.SerializeToString()


class _Logits(nn.Module):
    """A network without its auxiliary output, and with its normalisation if it has a card."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, net: AnyNetwork, card: Card | None) -> None:
        super().__init__()
        self.net, self.normalises = net, card is not None
        if card is not None:
            self.register_buffer("mean", torch.tensor(card.mean)[:, None, None])
            self.register_buffer("deviation", torch.tensor(card.deviation)[:, None, None])

    def forward(self, images: Tensor) -> Tensor:
        if self.normalises:
            images = (images.float() / 255 - self.mean) / self.deviation
        return self.net(images)[0]


def _pairs(edges: tuple[tuple[str, int], ...]) -> str:
    lines = "".join(f"            {edge!r},\n".replace("'", '"') for edge in edges)
    return f"\n        (\n{lines}        ),"


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
