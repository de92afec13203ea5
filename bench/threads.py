"""How well a job chooses its number of threads, and what the default number of workers buys.

`quiet` and `busy` are seconds of an epoch of digits by the recipe `quick`, on fixed numbers of threads, and
as `ours` on those that a job chose in the epoch before. Busy: another program keeps a core busy.
Then seven trainings one after the other, and by the workers that `vgae-nas serve` starts by default. Medians.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from statistics import median
from typing import Any

from app.threads import wait_passively

wait_passively()  # before torch is loaded, as workers do

import torch  # noqa: E402

from bench.servers import server  # noqa: E402
from models.datasets.sources import load_named  # noqa: E402
from models.genotypes.published import PUBLISHED  # noqa: E402
from models.trainings.retrain import RECIPES, Training, of_genotype  # noqa: E402
from worker.threads import Threads  # noqa: E402

ROUNDS, SEVEN = 3, 7
OVERRIDES = {"epochs": 2}


@contextmanager
def one_core_busy() -> Iterator[None]:
    """Another program that computes without end."""
    other = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        yield
    finally:
        other.kill()
        other.wait()


def training() -> Training:
    """A training on digits, at its start."""
    build = of_genotype(PUBLISHED[0].genotype, RECIPES["quick"])
    return Training(build, load_named("digits", Path()), RECIPES["quick"], 0, torch.device("cpu"))


def fixed(threads: int) -> float:
    """Seconds of an epoch on so many threads, after one that is not counted."""
    torch.set_num_threads(threads)
    one = training()
    one.run(lambda: None)
    began = time.perf_counter()
    one.run(lambda: None)
    return time.perf_counter() - began


def ours(most: int) -> tuple[float, int]:
    """The same on the threads that a job chooses, and how many it chose."""
    one, threads = training(), Threads(most)
    chosen = False

    def between_steps() -> None:
        nonlocal chosen
        chosen |= threads.tick()

    while not chosen:
        one.run(between_steps)
    began = time.perf_counter()
    one.run(between_steps)
    return time.perf_counter() - began, threads.chosen


def epochs(most: int) -> dict[str, Any]:
    """Medians of an epoch by number of threads, and of ours."""
    counts = Threads(most).candidates
    seconds: dict[int, list[float]] = {count: [] for count in counts}
    our_seconds, our_threads = [], []
    for _ in range(ROUNDS):
        for count in counts:
            seconds[count].append(fixed(count))
        took, chosen = ours(most)
        our_seconds.append(took)
        our_threads.append(chosen)
    return {
        **{str(count): round(median(values), 2) for count, values in seconds.items()},
        "ours": round(median(our_seconds), 2),
        "ours_threads": our_threads,
    }


def seven_trainings(workers: int | None) -> float:
    """Seconds of seven trainings on a server with so many workers, `None` for its default."""
    with server(workers) as client:
        dataset_id = client.post("/v1/datasets", json={"name": "digits"}).raise_for_status().json()["id"]
        ids = [row["id"] for row in client.post("/v1/genotypes/published").json()["items"]]
        taken = 0.0
        for genotype_ids in (ids[-2:], ids[:SEVEN]):  # the first two wake the workers
            body = {
                "dataset_ids": [dataset_id],
                "recipe": "quick",
                "overrides": OVERRIDES,
                "arms": [{"kind": "genotypes", "genotype_ids": genotype_ids}],
            }
            began = time.perf_counter()
            job = client.post("/v1/experiments", json=body).raise_for_status().json()
            while job["status"] == "running":
                time.sleep(0.1)
                job = client.get(f"/v1/jobs/{job['id']}").raise_for_status().json()
            taken = time.perf_counter() - began
            if job["result"]["succeeded"] != len(genotype_ids):
                raise SystemExit(f"the trainings ended as {job}")
        return taken


def main() -> None:
    """Prints all figures."""
    most = torch.get_num_threads()
    rows = {}
    for name, load in (("quiet", nullcontext()), ("busy", one_core_busy())):
        with load:
            rows[name] = epochs(most)
    ratios = [
        row["ours"] / min(value for key, value in row.items() if key.isdecimal()) for row in rows.values()
    ]
    figures = {
        **rows,
        "worst_ratio": round(max(ratios), 2),
        "seven_trainings_s": {
            "one_after_the_other": round(seven_trainings(1), 1),
            "default": round(seven_trainings(None), 1),
        },
        "cores": os.cpu_count(),
        "device": "cpu",
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
