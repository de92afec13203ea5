"""Searches real data sets through a running service and keeps what they find as a seed library.

    vgae-nas serve &
    python -m bench.search_library --recipe quick --seeds 1 2 --archive cifar10=cifar10.zip mnist usps

Writes `bench/results/searches-<recipe>-<device>.json`, which `vgae-nas load` registers. Searches of
other seeds or data sets that the file holds already, at the same settings, are kept.
"""

import argparse
import json
import platform
import time
from datetime import date
from pathlib import Path
from typing import Any

import httpx

RESULTS = Path(__file__).parent / "results"


def main() -> None:
    """Starts every search, waits for all, writes the file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help="data sets by name")
    parser.add_argument("--archive", nargs="*", default=[], metavar="NAME=ZIP", help="data sets to upload")
    parser.add_argument("--recipe", default="quick")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--url", default="http://127.0.0.1:8000")
    arguments = parser.parse_args()
    with httpx.Client(base_url=arguments.url, timeout=600) as client:
        datasets = [add(client, name) for name in arguments.names]
        datasets += [upload(client, *item.split("=", 1)) for item in arguments.archive]
        entries = [
            entry
            for dataset in datasets
            for entry in search(client, dataset, arguments.recipe, arguments.seeds)
        ]
    device = entries[0]["device"]
    path = RESULTS / f"searches-{arguments.recipe}-{device.split(':')[0]}.json"
    searches = [{k: v for k, v in entry.items() if k not in ("device", "settings")} for entry in entries]
    figures = {
        "recipe": arguments.recipe,
        "settings": entries[0]["settings"],
        "device": device,
        "machine": f"{platform.machine()}, {platform.system()}",
        "date": date.today().isoformat(),
        "searches": [*kept(path, entries[0]["settings"], searches), *searches],
    }
    RESULTS.mkdir(exist_ok=True)
    path.write_text(json.dumps(figures, indent=1) + "\n")
    print(json.dumps({"file": str(path), "searches": len(entries)}))


def kept(path: Path, settings: dict[str, Any], searches: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The searches of a file that these ones do not replace."""
    if not path.exists():
        return []
    former = json.loads(path.read_text())
    if _given(former["settings"]) != _given(settings):
        return []
    done = {(search["dataset"], search["seed"]) for search in searches}
    return [search for search in former["searches"] if (search["dataset"], search["seed"]) not in done]


def _given(settings: dict[str, Any]) -> dict[str, Any]:
    """Without what is not set, which an older file does not name."""
    return {name: value for name, value in settings.items() if value is not None}


def add(client: httpx.Client, name: str) -> dict[str, Any]:
    """A data set by name."""
    answer: dict[str, Any] = client.post("/v1/datasets", json={"name": name}).raise_for_status().json()
    return answer


def upload(client: httpx.Client, name: str, path: str) -> dict[str, Any]:
    """A data set from an archive, as a user uploads it."""
    began = time.perf_counter()
    with open(path, "rb") as archive:
        answer = client.post("/v1/datasets", data={"name": name}, files={"archive": archive})
    print(f"{name} uploaded in {time.perf_counter() - began:.1f} s", flush=True)
    dataset: dict[str, Any] = answer.raise_for_status().json()
    return dataset


def search(
    client: httpx.Client, dataset: dict[str, Any], recipe: str, seeds: list[int]
) -> list[dict[str, Any]]:
    """One search a seed; what each found."""
    body = {"dataset_id": dataset["id"], "recipe": recipe, "seeds": seeds}
    jobs = client.post("/v1/searches", json=body).raise_for_status().json()["items"]
    entries = []
    for job in jobs:
        while job["status"] in ("queued", "running"):
            time.sleep(2)
            job = client.get(f"/v1/jobs/{job['id']}").raise_for_status().json()
        if job["status"] != "succeeded":
            raise SystemExit(f"job {job['id']} is {job['status']}: {job['error']}")
        entries.append(describe(client, dataset, job))
        print(
            f"{dataset['name']} seed {entries[-1]['seed']}: {entries[-1]['search_accuracy']:.2f} %",
            flush=True,
        )
    return entries


def describe(client: httpx.Client, dataset: dict[str, Any], job: dict[str, Any]) -> dict[str, Any]:
    """A finished search with all that is needed to use its genotype."""
    search = client.get(job["links"]["search"]).raise_for_status().json()
    genotype = client.get(job["links"]["genotype"]).raise_for_status().json()
    result = search["result"]
    return {
        "dataset": dataset["name"],
        "seed": search["seed"],
        "method": search["method"],
        "search_space": search["search_space"],
        "search_accuracy": result["epochs"][-1]["search_accuracy"],
        "search_hours": result["search_hours"],
        "skip_connections": result["skip_connections"],
        "device": result["device"],
        "settings": search["settings"],
        "genotype": genotype["genotype"],
        "continuous": genotype["continuous"],
        "epochs": [{k: v for k, v in epoch.items() if k != "alphas"} for epoch in result["epochs"]],
    }


if __name__ == "__main__":
    main()
