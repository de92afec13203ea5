"""A real service with a worker, in processes of its own, for all tests of the client in this process."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from vgae_nas_client import Client

from tests.serving import serving


@pytest.fixture(scope="session")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a service that `vgae-nas serve` started."""
    with serving(tmp_path_factory.mktemp("service")) as served:
        yield served.url


@pytest.fixture
def nas(url: str) -> Iterator[Client]:
    """A client of it."""
    with Client(url) as client:
        yield client


@pytest.fixture
def photos(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """A folder of images of two classes, under a name of the test's own."""
    generator = np.random.default_rng(0)
    folder = tmp_path / request.node.name.split("[")[0].replace("_", "-")[:60]
    for label, level in (("dark", 60), ("light", 180)):
        (folder / label).mkdir(parents=True)
        for number in range(24):
            pixels = generator.normal(level, 30, (16, 16, 3)).clip(0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / label / f"{number}.jpg")
    (folder / ".hidden").write_text("no image")
    return folder
