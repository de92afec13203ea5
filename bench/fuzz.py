"""Twenty thousand requests that Schemathesis makes from the OpenAPI document, with all its checks.

The service is the bench's own. Before the requests a worker makes one of everything, so that ids in paths and
bodies are there; after that none runs, and jobs wait.
"""

import argparse
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import httpx

from bench.faults import FIT, SEARCH, TRAIN
from bench.fuzz_hooks import FILE
from bench.servers import machine, server

CALLS, EXAMPLES = 20_000, 20
"""Requests asked for, and those of the fuzzing phase for each operation in a pass. Each pass has a seed."""

TOGETHER = 2
"""Passes at once, so that requests meet others."""

SCHEMATHESIS = str(Path(sys.executable).parent / "schemathesis")
CONFIG = Path(__file__).with_name("fuzz.toml")
ROOT = Path(__file__).parents[1]


def prepare(client: httpx.Client) -> dict[str, list[str]]:
    """Makes one of everything; the ids by the name of the field that holds one."""

    def post(path: str, body: Any = None) -> Any:
        return client.post(path, json=body).raise_for_status().json()

    dataset = post("/v1/datasets", {"name": "digits"})["id"]
    genotypes = [row["id"] for row in post("/v1/genotypes/published")["items"]]
    common = {"dataset_id": dataset, "recipe": "quick"}
    search = post("/v1/searches", common | {"overrides": SEARCH})["items"][0]
    train = post("/v1/trainings", common | {"overrides": TRAIN, "genotype_ids": genotypes[:2]})["items"]
    fit = post("/v1/latent-spaces", {"genotype_ids": genotypes[:6], "overrides": FIT})
    arms = [{"kind": "genotypes", "genotype_ids": genotypes[:2]}]
    experiment = post(
        "/v1/experiments", {"dataset_ids": [dataset], "recipe": "quick", "overrides": TRAIN, "arms": arms}
    )
    jobs = [search, *train, fit, experiment]
    while any(client.get(f"/v1/jobs/{job['id']}").json()["status"] in ("queued", "running") for job in jobs):
        time.sleep(0.5)

    def ids(path: str) -> list[str]:
        return [row["id"] for row in client.get(path).raise_for_status().json()["items"]]

    evaluations = client.get(f"/v1/datasets/{dataset}/leaderboard").json()["items"]
    return {
        "dataset_id": ids("/v1/datasets"),
        "genotype_id": genotypes[6:],  # those of nothing else, so that many can be removed
        "job_id": ids("/v1/jobs"),
        "search_id": ids("/v1/searches"),
        "training_id": ids("/v1/trainings"),
        "latent_space_id": ids("/v1/latent-spaces"),
        "experiment_id": ids("/v1/experiments"),
        "evaluation_id": [row["id"] for row in evaluations],
    }


def fuzz(address: str, folder: Path, seed: int, examples: int) -> dict[str, Any]:
    """The report of Schemathesis on a running service."""
    command = [SCHEMATHESIS, "--config-file", str(CONFIG), "run", f"{address}/openapi.json"]
    command += ["--checks", "all", "--continue-on-failure", "--max-examples", str(examples)]
    # requests of a minute are among them, and others wait for those
    command += ["--max-response-time", "600"]
    command += ["--seed", str(seed), "--request-timeout", "600"]
    report_file = folder / f"report-{seed}.json"
    command += ["--report", "json", "--report-json-path", str(report_file)]
    environment = {**os.environ, "SCHEMATHESIS_HOOKS": "bench.fuzz_hooks", "PYTHONPATH": str(ROOT)}
    environment[FILE] = str(folder / "ids.json")
    subprocess.run(command, env=environment, cwd=folder, stdout=sys.stderr, check=False)
    report: dict[str, Any] = json.loads(report_file.read_text())
    return report


def passes(address: str, folder: Path, seed: int, examples: int) -> Iterator[list[dict[str, Any]]]:
    """The reports of passes without end, so many together.

    Each is a process of its own: Hypothesis parses source, which fails in threads of some Pythons 3.11.
    """
    one = partial(fuzz, address, folder, examples=examples)
    with ThreadPoolExecutor(TOGETHER) as together:
        for first in itertools.count(seed, TOGETHER):
            yield list(together.map(one, range(first, first + TOGETHER)))


def count(told: dict[str, Any], report: dict[str, Any]) -> None:
    """Adds what Schemathesis reports to the figures."""
    told["calls"] += report["test_cases"]["generated"]
    told["failures"] += report["test_cases"]["with_failures"]
    told["errored"] += report["test_cases"]["errored"]
    told["server_errors"] += sum(
        kind["count"] for kind in report["failures"] if kind["type"] == "ServerError"
    )
    told["operations"] = report["operations"]["tested"]


def run(seed: int, calls: int, examples: int) -> dict[str, Any]:
    """The figures of at least so many requests, of as many seeds as that takes.

    The service stays open whatever keys the requests make and revoke.
    """
    told = {"seed": seed, "calls": 0, "failures": 0, "errored": 0, "server_errors": 0}
    with tempfile.TemporaryDirectory() as home:
        folder, own = Path(home), {"VGAE_NAS_HOME": home, "VGAE_NAS_OPEN": "1"}
        with server(1, environment=own) as client:
            (folder / "ids.json").write_text(json.dumps(prepare(client)))
        with server(0, environment=own) as client:
            for reports in passes(str(client.base_url).rstrip("/"), folder, seed, examples):
                for report in reports:
                    count(told, report)
                if told["calls"] >= calls or told["failures"] or told["errored"]:
                    break
    return told


def main() -> None:
    """Prints the figures; fails if a check did."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--calls", type=int, default=CALLS)
    parser.add_argument("--examples", type=int, default=EXAMPLES)
    arguments = parser.parse_args()
    began = time.monotonic()
    figures = run(arguments.seed, arguments.calls, arguments.examples)
    figures["seconds"] = round(time.monotonic() - began)
    print(json.dumps({**machine(), "command": "make fuzz", **figures}))
    sys.exit(bool(figures["failures"] or figures["errored"]))


if __name__ == "__main__":
    main()
