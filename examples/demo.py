"""The main job from end to end, over HTTP alone: what `make demo` runs.

Starts a server and a worker in a temporary folder, searches two genotypes on scikit-learn's digits,
maps them and the published ones into a latent space, generates new ones, retrains all of them and
compares. Every figure is measured in the run.
"""

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import mean, pstdev
from typing import Any

import httpx

COMMAND = shutil.which(
    "vgae-nas", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
)
PICTURE = Path("demo") / "map.png"
START_SECONDS, JOB_SECONDS = 60, 600
SEARCH_SEEDS = [1, 2]
GAMMA = 0.1
FIT_EPOCHS = 1_500
"""Half of the default preset's: enough for few members, if not for all genotypes there are."""


@contextmanager
def service() -> Iterator[httpx.Client]:
    """A server with its worker on the embedded default, and a client of it; both stop at the end."""
    assert COMMAND is not None, "the vgae-nas command is not installed"
    with tempfile.TemporaryDirectory(prefix="vgae-nas-demo-") as home:
        environment = {**os.environ, "VGAE_NAS_HOME": home}
        for name in ("DATABASE_URL", "BROKER_URL", "ARTIFACTS_URL"):
            environment.pop(f"VGAE_NAS_{name}", None)
        with open(Path(home) / "log", "wb") as log:
            subprocess.run(
                [COMMAND, "migrate"], env=environment, stdout=log, stderr=log, check=True, timeout=60
            )
            port = free_port()
            server = subprocess.Popen(
                [COMMAND, "serve", "--port", str(port)], env=environment, stdout=log, stderr=log
            )
            try:
                with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
                    wait_until_ready(client, server, log.name)
                    yield client
            finally:
                server.terminate()
                try:
                    server.wait(timeout=60)
                except subprocess.TimeoutExpired:
                    server.kill()


def free_port() -> int:
    """A port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until_ready(client: httpx.Client, server: subprocess.Popen[bytes], log: str) -> None:
    """Waits for the server's first answer."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if server.poll() is not None:
            break
        try:
            if client.get("/readyz").is_success:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.2)
    raise SystemExit(f"the server did not start:\n{Path(log).read_text()[-2000:]}")


def ask(client: httpx.Client, method: str, path: str, body: Any | None = None) -> Any:
    """One request; a problem ends the demo."""
    answer = client.request(method, path, json=body)
    if answer.is_error:
        raise SystemExit(f"{method} {path}: {answer.status_code} {answer.text}")
    return answer.json()


def wait_for(client: httpx.Client, jobs: list[dict[str, Any]], what: str) -> list[dict[str, Any]]:
    """Polls jobs until all are over, showing how far they are."""
    deadline, shown = time.monotonic() + JOB_SECONDS, ""
    while time.monotonic() < deadline:
        jobs = [ask(client, "GET", f"/v1/jobs/{job['id']}") for job in jobs]
        running = next((job for job in jobs if job["status"] in ("running", "queued")), None)
        share = mean(job["progress"] for job in jobs)
        line = f"  {what}: {share:4.0%}" + (f"  {running['step']}" if running else "")
        if line != shown:
            shown = line
            print(line, flush=True)
        if running is None:
            break
        time.sleep(0.5)
    for job in jobs:
        if job["status"] != "succeeded":
            raise SystemExit(f"{what}: job {job['id']} is {job['status']}: {job['error']}")
    return jobs


def run(client: httpx.Client) -> dict[str, Any]:
    """The whole path; what it found, for the last line."""
    digits = ask(client, "POST", "/v1/datasets", {"name": "digits"})
    print(
        f"dataset {digits['name']}: {digits['train_count']} training images of {digits['image_size']} pixels"
    )

    request = {"dataset_id": digits["id"], "recipe": "quick", "seeds": SEARCH_SEEDS}
    searches = wait_for(client, ask(client, "POST", "/v1/searches", request)["items"], "search")
    searched = [job["result"]["genotype_id"] for job in searches]
    search_hours = sum(job["result"]["search_hours"] for job in searches)

    published = [row["id"] for row in ask(client, "POST", "/v1/genotypes/published")["items"]]
    print(f"genotypes: {len(searched)} searched, {len(published)} published")

    request = {"genotype_ids": searched + published, "overrides": {"max_epochs": FIT_EPOCHS}}
    fit = ask(client, "POST", "/v1/latent-spaces", request)
    fit = wait_for(client, [fit], "latent space")[0]
    print(f"  members that decode exactly: {fit['result']['members_exact']:.0%}")
    space = fit["links"]["latent_space"]

    arms = {
        "random": {"random": "uniform", "count": 3, "seed": 1},
        "near_0": {"near": {"dataset_id": digits["id"]}, "gamma": 0.0, "count": 1, "seed": 1},
        f"near_{GAMMA}": {"near": {"dataset_id": digits["id"]}, "gamma": GAMMA, "count": 3, "seed": 1},
    }
    generated = {}
    for arm, body in arms.items():
        answer = ask(client, "POST", f"{space}/generate", body)
        generated[arm] = [row["id"] for row in answer["items"]]
        print(f"generated {len(generated[arm])} ({arm}) in {1000 * answer['seconds']:.0f} ms")

    jobs = []
    for arm, ids in generated.items():
        request = {"dataset_id": digits["id"], "genotype_ids": ids, "recipe": "quick", "arm": arm}
        jobs += ask(client, "POST", "/v1/trainings", request)["items"]
    wait_for(client, jobs, "retraining")

    board = ask(client, "GET", f"/v1/datasets/{digits['id']}/leaderboard?limit=100")["items"]
    results = {arm: summarise([row for row in board if row["arm"] == arm]) for arm in arms}
    for arm, result in results.items():
        result["search_hours"] = 0.0 if arm == "random" else search_hours
    print_table(results)

    picture = client.get(f"{space}/map", params={"format": "png", "generated": True})
    PICTURE.parent.mkdir(exist_ok=True)
    PICTURE.write_bytes(picture.raise_for_status().content)
    return {
        "genotypes": len(searched) + len(published),
        "generated": sum(len(ids) for ids in generated.values()),
        "evaluations": len(board),
        "map": str(PICTURE),
        "arms": results,
    }


def summarise(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The figures of one arm."""
    accuracies, sizes = [row["test_accuracy"] for row in rows], [row["parameters"] for row in rows]
    return {
        "n": len(rows),
        "best_accuracy": round(max(accuracies), 2),
        "mean_accuracy": round(mean(accuracies), 2),
        "mean_params": round(mean(sizes)),
        "sd_params": round(pstdev(sizes)),
    }


def print_table(results: dict[str, dict[str, Any]]) -> None:
    """The form of the paper's table 2."""
    print(f"\n{'arm':<10} {'n':>2} {'model size (K)':>16} {'best (%)':>9} {'mean (%)':>9} {'search (h)':>11}")
    for arm, row in results.items():
        size = f"{row['mean_params'] / 1e3:.1f} ± {row['sd_params'] / 1e3:.1f}"
        accuracies = f"{row['best_accuracy']:>9.2f} {row['mean_accuracy']:>9.2f}"
        print(f"{arm:<10} {row['n']:>2} {size:>16} {accuracies} {row['search_hours']:>11.4f}")
    print()


def main() -> None:
    """Runs the demo and prints its figures as JSON in the last line."""
    began = time.monotonic()
    with service() as client:
        found = run(client)
    found["seconds"] = round(time.monotonic() - began, 1)
    print(f"demo: {json.dumps(found)}")


if __name__ == "__main__":
    main()
