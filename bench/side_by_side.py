"""Small trainings one after the other with all cores, against several workers that share them.

Both servers run the same experiment on the digits: published genotypes at the recipe `quick`, with fewer
epochs. The time is from the request to the end of the last training.
"""

import argparse
import json
import os
import time

from bench.servers import server

GENOTYPES, OVERRIDES = 8, {"epochs": 4}


def seconds(workers: int) -> float:
    """How long the experiment takes; a first training of each worker is not counted."""
    with server(workers) as client:
        dataset_id = client.post("/v1/datasets", json={"name": "digits"}).raise_for_status().json()["id"]
        ids = [row["id"] for row in client.post("/v1/genotypes/published").json()["items"]]
        taken = 0.0
        for genotype_ids, overrides in ((ids[:workers], {"epochs": 1}), (ids[:GENOTYPES], OVERRIDES)):
            body = {
                "dataset_ids": [dataset_id],
                "recipe": "quick",
                "overrides": overrides,
                "arms": [{"kind": "genotypes", "genotype_ids": genotype_ids}],
            }
            began = time.perf_counter()
            job = client.post("/v1/experiments", json=body).raise_for_status().json()
            while job["status"] == "running":
                time.sleep(0.2)
                job = client.get(f"/v1/jobs/{job['id']}").raise_for_status().json()
            taken = time.perf_counter() - began
            if job["result"]["succeeded"] != len(genotype_ids):
                raise SystemExit(f"the experiment ended as {job}")
        return taken


def main() -> None:
    """Prints both times and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    arguments = parser.parse_args()
    one, several = seconds(1), seconds(arguments.workers)
    figures = {
        "trainings": GENOTYPES,
        "one_worker_s": round(one, 1),
        "workers": arguments.workers,
        "workers_s": round(several, 1),
        "ratio": round(one / several, 2),
        "device": "cpu",
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
