"""How fast architectures are generated: over HTTP from a running server, and in the library alone.

Starts a server of its own in a folder of its own, trains a small latent space on the published
genotypes, and asks it one request after the other.
"""

import json
import time
from typing import Any

import httpx
import numpy as np
import torch

from bench.servers import server
from models.genotypes.search_space import DARTS
from models.latent_spaces.vgae import PRESETS, VGAE, decode

WARM_UP, SINGLE, TWENTY, LARGE, DECODED, ROUNDS = 20, 300, 100, 10_000, 10_000, 7


def latent_space(client: httpx.Client) -> tuple[str, str]:
    """The path of a trained space, and a member's id."""
    members = [row["id"] for row in client.post("/v1/genotypes/published").json()["items"]]
    body = {"genotype_ids": members, "overrides": {"max_epochs": 500, "random_genotypes": 0}}
    job = client.post("/v1/latent-spaces", json=body).raise_for_status().json()
    while job["status"] in ("queued", "running"):
        time.sleep(0.5)
        job = client.get(f"/v1/jobs/{job['id']}").json()
    if job["status"] != "succeeded":
        raise SystemExit(f"the latent space is {job['status']}: {job['error']}")
    return job["links"]["latent_space"], members[0]


def milliseconds(client: httpx.Client, path: str, body: dict[str, Any], times: int) -> "np.ndarray[Any, Any]":
    """How long requests take, each with a seed of its own."""
    taken = []
    for seed in range(times):
        began = time.perf_counter()
        client.post(f"{path}/generate", json={**body, "seed": seed}).raise_for_status()
        taken.append(1000 * (time.perf_counter() - began))
    return np.array(taken)


def decode_per_s() -> float:
    """Genotypes decoded a second by the `default` preset, the median of some rounds."""
    torch.manual_seed(0)
    net = VGAE(DARTS, PRESETS["default"]).eval()
    z = torch.randn(DECODED, DARTS.nodes, net.recipe.latent_dimension)
    rates = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        decode(net, z)
        rates.append(DECODED / (time.perf_counter() - began))
    return float(np.median(rates))


def main() -> None:
    """Prints all figures."""
    with server() as client:
        path, member = latent_space(client)
        near = {"near": {"genotype_id": member}, "gamma": 0.1}
        milliseconds(client, path, {**near, "count": 1}, WARM_UP)
        single = milliseconds(client, path, {**near, "count": 1}, SINGLE)
        twenty = milliseconds(client, path, {**near, "count": 20}, TWENTY)
        limited = {
            "random": "prior",
            "count": LARGE,
            "unique": True,
            "constraints": {"parameters": {"max": 5_000_000}},
        }
        large = milliseconds(client, path, limited, ROUNDS)
    figures = {
        "http_p50_ms": round(float(np.percentile(single, 50)), 2),
        "http_p99_ms": round(float(np.percentile(single, 99)), 2),
        "http_20_p50_ms": round(float(np.percentile(twenty, 50)), 2),
        "architectures_per_s": round(LARGE / (float(np.median(large)) / 1000)),
        "decode_per_s": round(decode_per_s()),
        "device": "cpu",
        "threads": torch.get_num_threads(),
        "database": "sqlite",
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
