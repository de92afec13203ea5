"""A campaign on real images beside random search with the same budget, against a running service.

    OMP_NUM_THREADS=1 vgae-nas serve --workers 1 &
    python -m bench.campaign

The data set is USPS. Known elsewhere are `--known` architectures of the DARTS space on CIFAR-10, with what
NAS-Bench-301's surrogate predicts of them: not trainings. Writes `bench/results/campaign-usps.json` with the
verdict, whatever it is, and `docs/pictures/campaign-usps.svg`.
"""

import argparse
import json
import os
import platform
from datetime import date
from pathlib import Path
from typing import Any

import httpx

from app.settings import get_settings
from bench.tables import surrogate
from bench.usps import RESULTS, finished
from models.genotypes.genotype import described
from models.genotypes.search_space import DARTS

PICTURE = Path(__file__).parents[1] / "docs" / "pictures" / "campaign-usps.svg"

SHORT = {"epochs": 6, "train_images": 5_000}
"""Of the `quick` recipe."""


def main() -> None:
    """Starts the campaign, waits for it, writes the files."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trainings", type=int, default=20, help="budget of each arm")
    parser.add_argument("--known", type=int, default=200)
    parser.add_argument("--overrides", type=json.loads, default=SHORT, help="of the recipe, as JSON")
    parser.add_argument("--url", default="http://127.0.0.1:8000")
    arguments = parser.parse_args()
    with httpx.Client(base_url=arguments.url, timeout=600) as client:
        usps = client.post("/v1/datasets", json={"name": "usps"}).raise_for_status().json()["id"]
        cifar10 = load(client, arguments.known)
        body = {
            "dataset_id": usps,
            "budget": {"trainings": arguments.trainings},
            "recipe": "quick",
            "overrides": arguments.overrides,
            "source_dataset_id": cifar10,
            "compare": "random",
        }
        job = finished(client, client.post("/v1/campaigns", json=body))
        campaign = client.get(job["links"]["campaign"]).raise_for_status().json()
        table = client.get(job["links"]["table"]).raise_for_status().json()
        PICTURE.write_bytes(client.get(job["links"]["picture"]).raise_for_status().content)
    figures = {
        "date": date.today().isoformat(),
        "machine": f"{platform.machine()}, {platform.system()}, {os.cpu_count()} cores",
        "recipe": "quick",
        "settings": campaign["settings"],
        "epochs": campaign["epochs"],
        "budget": campaign["budget"],
        "source": campaign["source"],
        "ended": campaign["ended"],
        "arms": {arm: summary(arm, table) for arm in campaign["arms"]},
        "verdicts": table["verdicts"],
        "trials": [
            {name: row[name] for name in ("arm", "epochs", "why", "accuracy", "test_accuracy", "parameters")}
            for row in table["items"]
        ],
    }
    (RESULTS / "campaign-usps.json").write_text(json.dumps(figures, indent=1) + "\n")
    print(json.dumps({name: figures[name] for name in ("arms", "verdicts")}))


def load(client: httpx.Client, known: int) -> str:
    """Registers what is known on CIFAR-10; the id of that data set."""
    client.post("/v1/genotypes/published").raise_for_status()
    rows = client.get("/v1/datasets", params={"limit": 500}).raise_for_status().json()["items"]
    cifar10 = str(next(row["id"] for row in rows if row["name"] == "cifar10"))
    genotypes, accuracies = surrogate(get_settings().data_root / "benchmarks")
    forms = [form for form, _ in described(genotypes[:known], DARTS)]
    items = [
        {"genotype": form, "evaluation": {"dataset_id": cifar10, "test_accuracy": accuracy}}
        for form, accuracy in zip(forms, accuracies[:known].tolist(), strict=True)
    ]
    client.post("/v1/genotypes/batch", json={"items": items}).raise_for_status()
    return cifar10


def summary(arm: str, table: dict[str, Any]) -> dict[str, Any]:
    """What an arm came to; accuracies in percent."""
    rows = [row for row in table["items"] if row["arm"] == arm]
    whole = [row["test_accuracy"] for row in rows if row["whole"] and row["test_accuracy"] is not None]
    return {
        "tried": len({row["genotype_id"] for row in rows}),
        "whole": len(whole),
        "mean_test_accuracy": round(sum(whole) / len(whole), 3) if whole else None,
        "best": next((best for best in table["best"] if best["arm"] == arm), None),
        "hours": rows[-1]["hours"] if rows else 0,
    }


if __name__ == "__main__":
    main()
