"""Exported networks are the service's own."""

import ast
import json
from typing import Any

import onnxruntime
import pytest
import torch

from models.exports.export import Card, module_source, onnx_bytes
from models.genotypes.genotype import from_tensor, random_tensor
from models.genotypes.network import Network
from models.genotypes.search_space import DARTS, NAS_BENCH_201, SEARCH_SPACES, SearchSpace
from models.genotypes.size import NetworkShape
from models.genotypes.text import from_text

SHAPE = NetworkShape(image_channels=1, image_size=8, classes=5, channels=4, cells=5)


@pytest.fixture
def net() -> Network:
    torch.manual_seed(0)
    genotype = from_tensor(random_tensor(1, DARTS, torch.Generator().manual_seed(3)), DARTS)[0]
    network = Network(genotype, 1, 5, 4, 5)
    network(torch.randn(8, 1, 8, 8))  # so that the running statistics are not all alike
    return network.eval()


@pytest.mark.parametrize("space", SEARCH_SPACES.values(), ids=list(SEARCH_SPACES))
@pytest.mark.parametrize("auxiliary", [False, True])
def test_the_standalone_module_needs_torch_alone_and_is_the_same_network(
    space: SearchSpace, auxiliary: bool
) -> None:
    genotypes = from_tensor(random_tensor(3, space, torch.Generator().manual_seed(0)), space)
    for genotype in genotypes:
        source = module_source(genotype, SHAPE, 'a "name" \\ of it', auxiliary)
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Import | ast.ImportFrom):
                named = node.module if isinstance(node, ast.ImportFrom) else node.names[0].name
                assert named is not None
                assert named.split(".")[0] in ("torch", "typing")
        names: dict[str, object] = {"__name__": "exported"}
        exec(compile(source, "exported.py", "exec"), names)
        theirs = names["build"]()  # type: ignore[operator]
        torch.manual_seed(1)
        ours = SHAPE.network(genotype, auxiliary)
        theirs.load_state_dict(ours.state_dict())
        assert sum(p.numel() for p in theirs.parameters()) == sum(p.numel() for p in ours.parameters())
        images = torch.randn(4, 1, 8, 8)
        for mode in (True, False):
            found, expected = theirs.train(mode)(images), ours.train(mode)(images)
            torch.testing.assert_close(found[0], expected[0])
            assert (found[1] is None) == (expected[1] is None) == (not (auxiliary and mode))


@pytest.mark.parametrize("digits", ["220223", "111111", "012340", "402113"])
def test_onnxruntime_gives_the_same_outputs_of_a_cell_with_none(digits: str) -> None:
    torch.manual_seed(0)
    residual = SHAPE.network(from_text(digits, NAS_BENCH_201))
    residual(torch.randn(8, 1, 8, 8))
    residual.eval()
    session = onnxruntime.InferenceSession(onnx_bytes(residual, SHAPE), providers=["CPUExecutionProvider"])
    images = torch.randn(3, 1, 8, 8)
    (logits,) = session.run(["logits"], {"normalised_images": images.numpy()})
    with torch.no_grad():
        torch.testing.assert_close(torch.from_numpy(logits), residual(images)[0], rtol=1e-4, atol=1e-5)


def test_onnxruntime_gives_the_same_outputs_for_any_batch(net: Network) -> None:
    session = onnxruntime.InferenceSession(onnx_bytes(net, SHAPE), providers=["CPUExecutionProvider"])
    for batch in (1, 7):
        images = torch.randn(batch, 1, 8, 8)
        (logits,) = session.run(["logits"], {"normalised_images": images.numpy()})
        with torch.no_grad():
            torch.testing.assert_close(torch.from_numpy(logits), net(images)[0], rtol=1e-4, atol=1e-5)


CARD = Card(("no", "a 'b'", 'a "c"', "\u732b", "5"), (0.25,), (0.5,), {"training_id": "tr_1"})


def test_with_a_card_the_model_takes_images_as_they_are(net: Network) -> None:
    content = onnx_bytes(net, SHAPE, CARD)
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    images = torch.randint(256, (7, 1, 8, 8), dtype=torch.uint8)
    (logits,) = session.run(["logits"], {"images": images.numpy()})
    with torch.no_grad():
        expected = net((images.float() / 255 - 0.25) / 0.5)[0]
    torch.testing.assert_close(torch.from_numpy(logits), expected, rtol=1e-4, atol=1e-5)
    metadata = session.get_modelmeta().custom_metadata_map
    assert json.loads(metadata["classes"]) == list(CARD.classes)
    assert (json.loads(metadata["mean"]), metadata["training_id"]) == ([0.25], "tr_1")


def test_with_a_card_the_module_takes_images_as_they_are(net: Network) -> None:
    genotype = from_tensor(random_tensor(1, DARTS, torch.Generator().manual_seed(3)), DARTS)[0]
    names: dict[str, Any] = {"__name__": "exported"}
    exec(compile(module_source(genotype, SHAPE, "x", card=CARD), "exported.py", "exec"), names)
    assert names["CLASSES"] == list(CARD.classes)
    theirs = names["build"]()
    theirs.load_state_dict(net.state_dict())
    images = torch.randint(256, (3, 1, 8, 8), dtype=torch.uint8)
    with torch.no_grad():
        expected = net((images.float() / 255 - 0.25) / 0.5)[0]
        for given in (images, images.float() / 255):
            torch.testing.assert_close(theirs.eval()(given)[0], expected)
        with pytest.raises(ValueError, match="0 to 1"):
            theirs(images.float())
