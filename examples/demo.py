"""The main job from end to end, over HTTP alone: what `make demo` runs.

Starts a server with its workers in a temporary folder and generates a first architecture from the ready
space. Then it searches two genotypes on scikit-learn's digits, maps them and the published ones into a
latent space of their own, generates new ones, retrains all of them and compares. How many epochs each step
gets is settled by how long a first epoch takes here. Every figure is measured in the run.
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
from dataclasses import asdict, dataclass
from datetime import datetime
from math import ceil
from pathlib import Path
from statistics import mean, pstdev
from typing import Any, NoReturn

import httpx

COMMAND = shutil.which(
    "vgae-nas", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
)
PICTURE = Path("demo") / "map.png"
PATIENCE_SECONDS = 300
"""Without any progress, after which the demo gives up."""
SEARCH_SEEDS = [1, 2]
GAMMA = 0.1
NEAR, RANDOM = 3, 3
"""Architectures near the best point and at random; one more is the best point's own."""
BUDGET_SECONDS = 120
"""For searching, fitting and retraining, where the machine is fast enough for that."""


@dataclass(frozen=True)
class Epochs:
    """Epochs of each step: those of the recipes, or as many as fit the budget, but enough for a real run."""

    search: int
    fit: int
    train: int

    @classmethod
    def within(cls, seconds: float, search: float, fit: float, train: float) -> "Epochs":
        """As many as fit.

        Args:
            seconds: the budget.
            search, fit, train: seconds that all epochs of each step would take by its recipe.
        """
        share = min(1.0, seconds / (search + fit + train))
        return cls(*(max(least, int(share * full)) for least, full in zip(LEAST, FULL, strict=True)))


FULL, LEAST = (10, 1_500, 16), (4, 500, 4)
"""Epochs of a search, a fit and a training. Those of the recipe `quick`; of a fit half of the default
preset's, which is enough for few members, if not for all genotypes that there are."""


@contextmanager
def service() -> Iterator["Service"]:
    """A server with its workers on the embedded default, and a client of it; all stop at the end."""
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
            began = time.monotonic()
            server = subprocess.Popen(
                [COMMAND, "serve", "--port", str(port)], env=environment, stdout=log, stderr=log
            )
            try:
                with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
                    running = Service(client, server, Path(log.name), began)
                    running.wait_until_ready()
                    yield running
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


@dataclass
class Service:
    """A running service and its client.

    Args:
        client: has its address.
        server: the process.
        log: what the server and its workers write.
        began: when it was started, by the monotonic clock.
    """

    client: httpx.Client
    server: "subprocess.Popen[bytes]"
    log: Path
    began: float

    def wait_until_ready(self) -> None:
        """Waits for the server's first answer."""
        while time.monotonic() < self.began + PATIENCE_SECONDS and self.server.poll() is None:
            try:
                if self.client.get("/readyz").is_success:
                    return
            except httpx.TransportError:
                pass
            time.sleep(0.1)
        self.give_up("the server did not start")

    def ask(self, method: str, path: str, body: Any | None = None) -> Any:
        """One request; a problem ends the demo."""
        answer = self.client.request(method, path, json=body)
        if answer.is_error:
            self.give_up(f"{method} {path}: {answer.status_code} {answer.text}")
        return answer.json()

    def wait_for(self, jobs: list[dict[str, Any]], what: str) -> list[dict[str, Any]]:
        """Polls jobs until all are over, showing how far they are; gives up when nothing moves for long."""
        moved, shown = time.monotonic(), ""
        while True:
            jobs = [self.ask("GET", f"/v1/jobs/{job['id']}") for job in jobs]
            open_jobs = [job for job in jobs if job["status"] in ("running", "queued")]
            share = mean(job["progress"] for job in jobs)
            line = f"  {what}: {share:4.0%}" + (f"  {open_jobs[0]['step']}" if open_jobs else "")
            if line != shown:
                moved, shown = time.monotonic(), line
                print(line, flush=True)
            if not open_jobs:
                break
            if time.monotonic() > moved + PATIENCE_SECONDS:
                self.give_up(f"{what}: nothing has moved for {PATIENCE_SECONDS} s; {open_jobs[0]}")
            time.sleep(0.5)
        for job in jobs:
            if job["status"] != "succeeded":
                self.give_up(f"{what}: job {job['id']} is {job['status']}: {job['error']}")
        return jobs

    def give_up(self, why: str) -> NoReturn:
        """Ends the demo with the end of the log."""
        raise SystemExit(f"{why}\n--- the end of the log ---\n{self.log.read_text()[-3000:]}")


def first_architecture(service: Service) -> tuple[list[str], float]:
    """Generates from the ready space; the published genotypes' ids, and seconds from the service's start."""
    published = service.ask("POST", "/v1/genotypes/published")["items"]
    datasets = {row["name"]: row["id"] for row in service.ask("GET", "/v1/datasets?limit=100")["items"]}
    body = {"near": {"dataset_id": datasets["cifar10"]}, "gamma": GAMMA, "count": 1, "seed": 1}
    answer = service.ask("POST", "/v1/latent-spaces/generate", body)
    seconds = time.monotonic() - service.began
    (architecture,) = answer["items"]
    print(f"a first architecture, near the best point of cifar10, {seconds:.1f} s after the start:")
    for cell in ("normal", "reduce"):
        edges = ", ".join(f"{operation} {node}" for operation, node in architecture["genotype"][cell])
        print(f"  {cell}: {edges}")
    return [row["id"] for row in published], seconds


def sized(service: Service, dataset_id: str, genotype_ids: list[str]) -> Epochs:
    """How many epochs fit here, by one epoch of a search and a training, and some of a fit, side by side."""
    some = 50
    request = {"dataset_id": dataset_id, "recipe": "quick"}
    one = {"epochs": 1}
    search = {**request, "overrides": {**one, "warmup_epochs": 0}}
    train = {**request, "overrides": one, "genotype_ids": genotype_ids[:1], "arm": "probe"}
    jobs = [
        *service.ask("POST", "/v1/searches", search)["items"],
        *service.ask("POST", "/v1/trainings", train)["items"],
        service.ask(
            "POST", "/v1/latent-spaces", {"genotype_ids": genotype_ids, "overrides": {"max_epochs": some}}
        ),
    ]
    search, train, fit = service.wait_for(jobs, "timing a first epoch")
    workers = max(1, service.ask("GET", "/readyz")["workers"])
    rounds = ceil((NEAR + RANDOM + 1) / workers)
    epochs = Epochs.within(
        BUDGET_SECONDS,
        search=FULL[0] * 3600 * search["result"]["search_hours"] * ceil(len(SEARCH_SEEDS) / workers),
        fit=FULL[1] * seconds_of(fit) / some,
        train=FULL[2] * train["result"]["train_seconds"] * rounds,
    )
    print(
        f"  sized to this machine with {workers} workers: {epochs.search} of {FULL[0]} epochs a search, "
        f"{epochs.fit} of {FULL[1]} of the latent space, {epochs.train} of {FULL[2]} a training"
    )
    return epochs


def seconds_of(job: dict[str, Any]) -> float:
    """How long a job ran."""
    started, finished = (datetime.fromisoformat(job[name]) for name in ("started_at", "finished_at"))
    return (finished - started).total_seconds()


def run(service: Service) -> dict[str, Any]:
    """The whole path; what it found, for the last line."""
    ask, wait_for = service.ask, service.wait_for
    published, first_seconds = first_architecture(service)
    digits = ask("POST", "/v1/datasets", {"name": "digits"})
    print(
        f"dataset {digits['name']}: {digits['train_count']} training images of {digits['image_size']} pixels"
    )
    epochs = sized(service, digits["id"], published)

    request = {"dataset_id": digits["id"], "recipe": "quick", "seeds": SEARCH_SEEDS}
    request["overrides"] = {"epochs": epochs.search, "warmup_epochs": epochs.search // 3}
    searches = wait_for(ask("POST", "/v1/searches", request)["items"], "search")
    searched = [job["result"]["genotype_id"] for job in searches]
    search_hours = sum(job["result"]["search_hours"] for job in searches)
    print(f"genotypes: {len(searched)} searched, {len(published)} published")

    request = {"genotype_ids": searched + published, "overrides": {"max_epochs": epochs.fit}}
    fit = wait_for([ask("POST", "/v1/latent-spaces", request)], "latent space")[0]
    print(f"  members that decode exactly: {fit['result']['members_exact']:.0%}")
    space = fit["links"]["latent_space"]

    arms = {
        "random": {"random": "uniform", "count": RANDOM, "seed": 1},
        "near_0": {"near": {"dataset_id": digits["id"]}, "gamma": 0.0, "count": 1, "seed": 1},
        f"near_{GAMMA}": {"near": {"dataset_id": digits["id"]}, "gamma": GAMMA, "count": NEAR, "seed": 1},
    }
    generated = {}
    for arm, body in arms.items():
        answer = ask("POST", f"{space}/generate", body)
        generated[arm] = [row["id"] for row in answer["items"]]
        print(f"generated {len(generated[arm])} ({arm}) in {1000 * answer['seconds']:.0f} ms")

    jobs = []
    for arm, ids in generated.items():
        request = {"dataset_id": digits["id"], "genotype_ids": ids, "recipe": "quick", "arm": arm}
        request["overrides"] = {"epochs": epochs.train}
        jobs += ask("POST", "/v1/trainings", request)["items"]
    wait_for(jobs, "retraining")

    board = ask("GET", f"/v1/datasets/{digits['id']}/leaderboard?limit=100")["items"]
    board = [row for row in board if row["arm"] in arms]
    results = {arm: summarise([row for row in board if row["arm"] == arm]) for arm in arms}
    for arm, result in results.items():
        result["search_hours"] = 0.0 if arm == "random" else search_hours
    print_table(results)

    picture = service.client.get(f"{space}/map", params={"format": "png", "generated": True})
    PICTURE.parent.mkdir(exist_ok=True)
    PICTURE.write_bytes(picture.raise_for_status().content)
    return {
        "genotypes": len(searched) + len(published),
        "generated": sum(len(ids) for ids in generated.values()),
        "evaluations": len(board),
        "map": str(PICTURE),
        "arms": results,
        "epochs": asdict(epochs),
        "first_architecture_seconds": round(first_seconds, 1),
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
    with service() as running:
        figures = run(running)
    figures["seconds"] = round(time.monotonic() - began, 1)
    print(f"demo: {json.dumps(figures)}")


if __name__ == "__main__":
    main()
