"""What a newcomer waits for: does what the README says with a folder of 2,000 JPEG files, and nothing else.

Starts the service by the README's command and runs the README's own Python, statement by statement. Figures
are seconds since the service answered, and the requests that were sent.
"""

import ast
import io
import json
import os
import re
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2

README = Path(__file__).parents[1] / "README.md"
URL = "http://localhost:8000"
IMAGES = 2_000
PATIENCE_SECONDS = 300


def blocks(language: str) -> list[str]:
    """The README's blocks of a language."""
    return re.findall(rf"```{language}\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)


def write_images(folder: Path) -> str:
    """Writes 2,000 JPEG files, one folder a class; of CIFAR-10 where that is there, else of the digits."""
    archive = Path(os.environ.get("VGAE_NAS_DATA_ROOT", "data")) / "cifar10.zip"
    if archive.is_file():
        with zipfile.ZipFile(archive) as images:
            names = [
                name for name in images.namelist() if name.startswith("train/") and name.endswith(".jpg")
            ]
            for name in names[:: len(names) // IMAGES][:IMAGES]:
                place = folder / name.removeprefix("train/")
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_bytes(images.read(name))
        return "cifar10"
    import numpy as np
    from PIL import Image
    from sklearn.datasets import load_digits

    digits = load_digits()
    for number in range(IMAGES):
        pixels = (digits.images[number % len(digits.images)] * 15.9).astype(np.uint8)
        place = folder / str(digits.target[number % len(digits.images)]) / f"{number}.jpg"
        place.parent.mkdir(parents=True, exist_ok=True)
        buffer = io.BytesIO()
        Image.fromarray(pixels).resize((32, 32)).save(buffer, "JPEG")
        place.write_bytes(buffer.getvalue())
    return "digits"


@contextmanager
def service(home: Path) -> Iterator[float]:
    """The service as `vgae-nas up` starts it; seconds until it answered."""
    environment = {**os.environ, "VGAE_NAS_HOME": str(home / "var")}
    command = next(block for block in blocks("sh") if block.strip() == "vgae-nas up").split()
    began = time.perf_counter()
    with open(home / "log", "wb") as log:
        up = subprocess.Popen(
            [str(Path(sys.executable).parent / command[0]), *command[1:]],
            env=environment,
            stdout=log,
            stderr=log,
        )
    try:
        while not _answers():
            if up.poll() is not None or time.perf_counter() - began > PATIENCE_SECONDS:
                raise SystemExit((home / "log").read_text())
            time.sleep(0.1)
        yield time.perf_counter() - began
    finally:
        up.terminate()
        up.wait(60)


def _answers() -> bool:
    try:
        return httpx2.get(f"{URL}/readyz", timeout=5).is_success
    except httpx2.TransportError:
        return False


def run(code: str) -> dict[str, Any]:
    """Runs the README's Python; seconds since the start by the names that it gave, and the calls so far."""
    names: dict[str, Any] = {}
    told: dict[str, Any] = {"calls": 0, "seconds": {}, "calls_by": {}}
    began = time.perf_counter()

    def count(_request: object) -> None:
        told["calls"] += 1

    for statement in ast.parse(code).body:
        exec(compile(ast.Module([statement], []), "README.md", "exec"), names)
        if "nas" in names and not names["nas"]._http.event_hooks["request"]:
            names["nas"]._http.event_hooks = {"request": [count]}
        target = statement.targets[0].id if isinstance(statement, ast.Assign) else "last"  # type: ignore[attr-defined]
        told["seconds"][target] = time.perf_counter() - began
        told["calls_by"][target] = told["calls"]
    told["five"], told["rows"] = names["five"], names["report"].rows
    return told


def main() -> None:
    """Prints one JSON line."""
    (code,) = blocks("python")
    with tempfile.TemporaryDirectory(prefix="vgae-nas-newcomer-") as folder:
        home = Path(folder)
        images = write_images(home / "photos")
        with service(home) as seconds_up:
            os.chdir(home)
            told = run(code)
        saved = sorted(path.name for path in (home / "best").iterdir())
    figures = {
        "seconds_to_five_architectures": round(told["seconds"]["five"], 2),
        "calls": told["calls_by"]["five"],
        "seconds_to_compared": round(told["seconds"]["report"], 1),
        "seconds_up": round(seconds_up, 1),
        "architectures": len(told["five"]),
        "arms": {row.arm: row.mean_accuracy for row in told["rows"]},
        "saved": saved,
        "images": images,
        "cores": os.cpu_count(),
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
