"""How long a user waits: for help, for the server's first answer, and for the whole application's import.

Every figure is the median of some runs after one that is not counted, so that files are in memory.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import httpx

VGAE_NAS = str(Path(sys.executable).parent / "vgae-nas")
ROUNDS = 5
PATIENCE_SECONDS = 300


def command(*words: str) -> float:
    """Seconds that a command takes."""
    began = time.perf_counter()
    subprocess.run(words, check=True, capture_output=True, timeout=PATIENCE_SECONDS)
    return time.perf_counter() - began


def first_answers(home: str, port: int) -> tuple[float, float]:
    """Seconds from the start of a server without workers to its first `/healthz` and its first `/readyz`."""
    environment = {**os.environ, "VGAE_NAS_HOME": home}
    subprocess.run([VGAE_NAS, "migrate"], env=environment, check=True, capture_output=True)
    began = time.perf_counter()
    serve = [VGAE_NAS, "serve", "--workers", "0", "--port", str(port)]
    server = subprocess.Popen(serve, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=PATIENCE_SECONDS) as client:
            healthz = answered(client, "/healthz", began)
            return healthz, answered(client, "/readyz", began)
    finally:
        server.terminate()
        server.wait(60)


def answered(client: httpx.Client, path: str, began: float) -> float:
    """Seconds until a path answers well."""
    while time.perf_counter() - began < PATIENCE_SECONDS:
        try:
            if client.get(path).is_success:
                return time.perf_counter() - began
        except httpx.TransportError:
            time.sleep(0.01)
    raise SystemExit(f"{path} did not answer")


def main() -> None:
    """Prints the medians."""
    help_s = [command(VGAE_NAS, "--help") for _ in range(ROUNDS + 1)][1:]
    import_s = [command(sys.executable, "-c", "import app.main") for _ in range(ROUNDS + 1)][1:]
    answers = []
    for round_ in range(ROUNDS + 1):
        with tempfile.TemporaryDirectory() as home:
            answers.append(first_answers(home, 18_500 + round_))
    healthz_s, readyz_s = zip(*answers[1:], strict=True)
    figures = {
        "help_s": round(median(help_s), 3),
        "healthz_s": round(median(healthz_s), 2),
        "readyz_s": round(median(readyz_s), 2),
        "import_s": round(median(import_s), 2),
        "cores": os.cpu_count(),
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
