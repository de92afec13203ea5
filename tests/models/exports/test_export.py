"""Exported networks are the service's own."""

import ast

import onnxruntime
import pytest
import torch

from models.exports.export import module_source, onnx_bytes
from models.genotypes.genotype import from_tensor, random_tensor
from models.genotypes.network import Network
from models.genotypes.search_space import DARTS
from models.genotypes.size import NetworkShape

SHAPE = NetworkShape(image_channels=1, image_size=8, classes=5, channels=4, cells=5)


@pytest.fixture
def net() -> Network:
    torch.manual_seed(0)
    genotype = from_tensor(random_tensor(1, DARTS, torch.Generator().manual_seed(3)), DARTS)[0]
    made = Network(genotype, DARTS, 1, 5, 4, 5)
    made(torch.randn(8, 1, 8, 8))  # so that the running statistics are not all alike
    return made.eval()


@pytest.mark.parametrize("auxiliary", [False, True])
def test_the_standalone_module_needs_torch_alone_and_is_the_same_network(auxiliary: bool) -> None:
    genotypes = from_tensor(random_tensor(3, DARTS, torch.Generator().manual_seed(0)), DARTS)
    for genotype in genotypes:
        source = module_source(genotype, DARTS, SHAPE, 'a "name" \\ of it', auxiliary)
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Import | ast.ImportFrom):
                named = node.module if isinstance(node, ast.ImportFrom) else node.names[0].name
                assert named is not None
                assert named.split(".")[0] in ("torch", "typing")
        names: dict[str, object] = {"__name__": "exported"}
        exec(compile(source, "exported.py", "exec"), names)
        theirs = names["build"]()  # type: ignore[operator]
        torch.manual_seed(1)
        ours = Network(genotype, DARTS, 1, 5, 4, 5, auxiliary)
        theirs.load_state_dict(ours.state_dict())
        assert sum(p.numel() for p in theirs.parameters()) == sum(p.numel() for p in ours.parameters())
        images = torch.randn(4, 1, 8, 8)
        for mode in (True, False):
            found, expected = theirs.train(mode)(images), ours.train(mode)(images)
            torch.testing.assert_close(found[0], expected[0])
            assert (found[1] is None) == (expected[1] is None) == (not (auxiliary and mode))


def test_onnxruntime_gives_the_same_outputs_for_any_batch(net: Network) -> None:
    session = onnxruntime.InferenceSession(onnx_bytes(net, SHAPE), providers=["CPUExecutionProvider"])
    for batch in (1, 7):
        images = torch.randn(batch, 1, 8, 8)
        (logits,) = session.run(["logits"], {"images": images.numpy()})
        with torch.no_grad():
            torch.testing.assert_close(torch.from_numpy(logits), net(images)[0], rtol=1e-4, atol=1e-5)
