"""The documents run: every block of Python and of `sh` in the README and in `docs/`, against a real service.

Blocks of `console` need what is not here, as a cluster or a device; `json` must be JSON, `text` is a drawing.
"""

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import httpx2
import pytest

from bench.servers import free_port
from tests.conftest import LONG
from tests.serving import PATIENCE_SECONDS

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
LANGUAGES = {"python", "sh", "console", "json", "text"}
UP = "vgae-nas up"
WRITTEN = "http://localhost:8000"
"""Where the documents have the service."""


def blocks(page: Path) -> list[tuple[str, str]]:
    """The blocks of a page, each with its language."""
    return re.findall(r"^```(\w*)\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def of(*languages: str) -> list[object]:
    """The blocks of some languages; of several pages with the same block, the first runs it each time."""
    found, seen = [], set()
    for page in PAGES:
        for number, (language, code) in enumerate(blocks(page)):
            if language in languages:
                marks = [LONG] if code in seen else []
                found.append(pytest.param(page, code, id=f"{page.name}-{number}", marks=marks))
                seen.add(code)
    assert found
    return found


def environment(**others: str) -> dict[str, str]:
    return {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}", **others}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_block_says_what_it_is(page: Path) -> None:
    for language, code in blocks(page):
        assert language in LANGUAGES, code
        if language == "json":
            json.loads(code)


@pytest.mark.parametrize(
    "page",
    [
        # the start of the documents goes the way of the README
        pytest.param(page, id=page.name, marks=[LONG] if page.name == "index.md" else [])
        for page in PAGES
        if "```python" in page.read_text()
    ],
)
def test_the_python_of_the_documents_runs(
    page: Path, url: str, tmp_path: Path, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    own = f"photos-{page.stem.lower()}"  # all pages have one service
    photos.rename(tmp_path / own)
    names: dict[str, object] = {}
    for language, code in blocks(page):
        if language == "python":
            code = code.replace(WRITTEN, url).replace('"photos/"', f'"{own}/"')
            exec(compile(code, page.name, "exec"), names)
    assert url in str(vars(names["nas"])["url"])


@pytest.mark.parametrize(("page", "code"), of("sh"))
def test_the_commands_of_the_documents_run(
    page: Path, code: str, url: str, tmp_path: Path, photos: Path
) -> None:
    home = {"VGAE_NAS_HOME": str(tmp_path / "home")}
    if code.strip() == UP:
        return runs(code.split(), environment(**home, VGAE_NAS_PORT=str(free_port())))
    if "photos" in code:
        httpx2.post(f"{url}/v1/datasets", json={"name": "digits"}).raise_for_status()
        code = code.replace("photos", "digits")
    if "keys" in code:
        subprocess.run(["vgae-nas", "migrate"], env=environment(**home), check=True, timeout=PATIENCE_SECONDS)
    code = code.replace(WRITTEN.removeprefix("http://"), url.removeprefix("http://"))
    ran = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", code],
        cwd=tmp_path,
        env=environment(**home, VGAE_NAS_URL=url),
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
    )
    assert ran.returncode == 0, ran.stderr
    assert "urn:vgae-nas:problem" not in ran.stdout, ran.stdout


def runs(command: list[str], variables: dict[str, str]) -> None:
    """Starts the service as the documents do, and waits until it is ready."""
    began, port = time.monotonic(), variables["VGAE_NAS_PORT"]
    with subprocess.Popen(command, env=variables) as server:
        try:
            while time.monotonic() - began < PATIENCE_SECONDS:
                assert server.poll() is None
                try:
                    if httpx2.get(f"http://localhost:{port}/readyz", timeout=5).is_success:
                        return
                except httpx2.TransportError:
                    time.sleep(0.1)
            raise AssertionError("it is not ready")
        finally:
            server.terminate()


def test_the_two_commands_are_there() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"`make ([\w-]+)`", "".join(page.read_text(encoding="utf-8") for page in PAGES)):
        assert re.search(rf"^{re.escape(target)}:", makefile, re.MULTILINE), target


def test_every_link_between_documents_leads_somewhere() -> None:
    for page in PAGES:
        for link in re.findall(r"\]\(([^)#\s]+)", page.read_text(encoding="utf-8")):
            if not link.startswith(("http://", "https://", "mailto:")):
                assert (page.parent / link).exists(), f"{page.name}: {link}"


def test_the_site_is_built_and_loads_nothing_from_elsewhere(tmp_path: Path) -> None:
    command = [
        str(Path(sys.executable).parent / "mkdocs"),
        "build",
        "--strict",
        "--quiet",
        "--site-dir",
        str(tmp_path),
    ]
    built = subprocess.run(
        command, cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=PATIENCE_SECONDS
    )
    assert built.returncode == 0, built.stderr
    pages = list(tmp_path.rglob("*.html"))
    assert {"index.html", "api.html", "recipes.html", "concepts.html"} <= {page.name for page in pages}
    for page in pages:
        loaded = re.findall(
            r"<(?:script|img|link)\b[^>]*?(?:src|href)=\"?(https?://[^\s\">]+)", page.read_text()
        )
        assert loaded == [], page.name
    assert "POST" in (tmp_path / "api.html").read_text()
    assert "paper-imagenet" in (tmp_path / "recipes.html").read_text()
    assert (tmp_path / "search" / "search_index.json").stat().st_size > 10_000
