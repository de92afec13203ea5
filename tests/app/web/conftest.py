"""A service in processes of its own, and a browser that looks at it."""

import io
import zipfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, expect
from sklearn.datasets import load_digits

from bench import browser
from tests.serving import Served, serving

PATIENCE = 300_000
"""Milliseconds; machines differ."""

WIDE = {"width": 1280, "height": 900}


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A service with a worker and the published genotypes."""
    with serving(tmp_path_factory.mktemp("site")) as served:
        httpx.post(f"{served.url}/v1/genotypes/published", timeout=60).raise_for_status()
        yield served


@pytest.fixture(scope="module")  # as long as it is there, no other test can have an event loop
def chromium() -> Iterator[Browser]:
    """A browser without a screen."""
    if browser.path() is None:
        pytest.skip("there is no Chromium; Debian's package `chromium` has it")
    expect.set_options(timeout=PATIENCE)
    with browser.chromium() as opened:
        yield opened


@pytest.fixture
def page(chromium: Browser) -> Iterator[Page]:
    """A page of a new visitor, on which no script may fail and nothing be against the policy."""
    context = chromium.new_context(viewport=WIDE)
    context.set_default_timeout(PATIENCE)
    opened, faults = context.new_page(), []
    opened.on("pageerror", lambda error: faults.append(str(error)))
    opened.on("console", lambda message: faults.append(message.text) if "policy" in message.text else None)
    yield opened
    context.close()
    assert faults == []


@pytest.fixture(scope="session")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A zip of handwritten digits of two classes, as a user would pack it."""
    path, digits = tmp_path_factory.mktemp("archive") / "handwritten.zip", load_digits()
    with zipfile.ZipFile(path, "w") as packed:
        for number, (image, label) in enumerate(zip(digits.images, digits.target, strict=True)):
            if label > 1:
                continue
            buffer = io.BytesIO()
            Image.fromarray((image * 15.9).astype("uint8")).save(buffer, "PNG")
            packed.writestr(f"{'zero' if label == 0 else 'one'}/{number}.png", buffer.getvalue())
        packed.writestr("zero/notes.txt", "no image")
    return path
