"""The paper's experiment on USPS against a running service, from one request.

    vgae-nas serve --workers 2 &
    python -m bench.usps

The latent space is trained on the searches of MNIST and CIFAR-10 in `bench/results`; USPS itself is in
none of them. Writes `bench/results/usps-<recipe>-cpu.json`, or `…-seed<seed>.json` for another seed than 1.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from datetime import date
from pathlib import Path
from typing import Any

import httpx

RESULTS = Path(__file__).parent / "results"
KNOWN = ("mnist", "cifar10")


def main() -> None:
    """Starts the experiment, waits for it, writes the file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--recipe", default="quick")
    parser.add_argument("--overrides", type=json.loads, default={}, help="of the recipe, as JSON")
    parser.add_argument("--count", type=int, default=5, help="architectures an arm")
    parser.add_argument("--seed", type=int, default=1, help="of what is generated")
    parser.add_argument("--train-seed", type=int, default=2024, help="the first of an arm's trainings")
    parser.add_argument("--searches", type=Path, default=RESULTS / "searches-quick-cpu.json")
    parser.add_argument("--url", default="http://127.0.0.1:8000")
    arguments = parser.parse_args()
    with httpx.Client(base_url=arguments.url, timeout=600) as client:
        usps = client.post("/v1/datasets", json={"name": "usps"}).raise_for_status().json()["id"]
        members = load(client, arguments.searches)
        space = finished(client, client.post("/v1/latent-spaces", json={"genotype_ids": members}))
        body = {
            "dataset_ids": [usps],
            "latent_space_id": space["links"]["latent_space"].split("/")[-1],
            "recipe": arguments.recipe,
            "overrides": arguments.overrides,
            "seeds": [arguments.train_seed],
            "arms": arms(client, arguments.count, arguments.seed),
        }
        began = time.perf_counter()
        job = finished(client, client.post("/v1/experiments", json=body))
        seconds = time.perf_counter() - began
        experiment = client.get(job["links"]["experiment"]).raise_for_status().json()
        table = client.get(job["links"]["table"]).raise_for_status().json()
        markdown = client.get(job["links"]["table"], params={"format": "markdown"}).text
    suffix = "" if arguments.seed == 1 else f"-seed{arguments.seed}"
    path = RESULTS / f"usps-{arguments.recipe}-cpu{suffix}.json"
    figures = {
        "date": date.today().isoformat(),
        "machine": f"{platform.machine()}, {platform.system()}, {os.cpu_count()} cores",
        "seconds": round(seconds),
        "recipe": arguments.recipe,
        "overrides": arguments.overrides,
        "settings": experiment["settings"],
        "seeds": experiment["seeds"],
        "members": len(members),
        "members_exact": space["result"]["members_exact"],
        "arms": {row["arm"]: figures_of(row) for row in table["items"]},
        "requests": {arm["name"]: arm["request"] for arm in experiment["arms"]},
        "failures": table["failures"],
    }
    path.write_text(json.dumps(figures, indent=1) + "\n")
    print(markdown)
    print(json.dumps({"file": str(path), "seconds": figures["seconds"]}))


def load(client: httpx.Client, searches: Path) -> list[str]:
    """Registers the searches of the known data sets; their genotypes' ids."""
    library = json.loads(searches.read_text())
    library["searches"] = [entry for entry in library["searches"] if entry["dataset"] in KNOWN]
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(library, file)
        file.flush()
        subprocess.run([Path(sys.executable).parent / "vgae-nas", "load", file.name], check=True)
    rows = client.get("/v1/genotypes", params={"origin": "searched", "limit": 500}).raise_for_status().json()
    return [row["id"] for row in rows["items"]]


def arms(client: httpx.Client, count: int, seed: int) -> list[dict[str, Any]]:
    """The paper's arms and a reference; at gamma 0 one architecture is trained from several seeds."""
    rows = client.get("/v1/datasets", params={"limit": 500}).raise_for_status().json()["items"]
    ids = {row["name"]: row["id"] for row in rows}
    mnist, cifar10 = (ids[name] for name in KNOWN)
    return [
        {"kind": "random", "count": count, "seed": seed},
        {"kind": "near", "dataset_id": mnist, "gamma": 0.0, "count": count},
        {"kind": "near", "dataset_id": cifar10, "gamma": 0.1, "count": count, "seed": seed},
        {"kind": "near", "dataset_id": mnist, "gamma": 0.1, "count": count, "seed": seed},
        {"kind": "reference", "model": "resnet18"},
    ]


def figures_of(row: dict[str, Any]) -> dict[str, Any]:
    """An arm's row, with accuracies in percent."""
    names = ("n", "best_accuracy", "mean_accuracy", "sd_accuracy", "mean_params", "sd_params", "search_hours")
    names += ("mean_last_accuracy", "mean_selected_accuracy")
    return {name: round(row[name], 3) if isinstance(row[name], float) else row[name] for name in names}


def finished(client: httpx.Client, answer: httpx.Response) -> dict[str, Any]:
    """The job of an answer, once it is over."""
    job: dict[str, Any] = answer.raise_for_status().json()
    while job["status"] in ("queued", "running"):
        time.sleep(2)
        job = client.get(f"/v1/jobs/{job['id']}").raise_for_status().json()
        print(f"\r{job['kind']} {job['progress']:.0%} {job['step']}", end="", flush=True)
    print()
    if job["status"] != "succeeded":
        raise SystemExit(f"job {job['id']} is {job['status']}: {job['error']}")
    return job


if __name__ == "__main__":
    main()
