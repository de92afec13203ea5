"""How fast a store of a million genotypes answers, against one of ten thousand.

Both stores are databases of one PostgreSQL of the bench's own, each with a server of its own; requests go to
both in turn. Genotypes are random ones of the DARTS space with latents, nine tenths of them kept as
generated; each has a reported evaluation on one of two data sets. The published genotypes are in both stores.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from statistics import median
from typing import Any

import httpx
import numpy as np
import psycopg
import torch
from sqlalchemy import insert
from sqlalchemy.engine import make_url
from sqlalchemy.orm import Session

from app import tables as tables  # so that the metadata knows every table
from app.database import Database, new_ids, now
from app.evaluations.tables import Evaluation, EvaluationKind
from app.genotypes import ranking
from app.genotypes.tables import Genotype, Origin
from bench.servers import Postgres, machine, postgres, server
from models.genotypes.genotype import described, random_tensor
from models.genotypes.search_space import DARTS
from models.genotypes.size import count_macs, count_parameters

SMALL, LARGE = 10_000, 1_000_000
TOGETHER, ROUNDS, WARM_UP = 10_000, 30, 5
SPACE = "lat_00000000000000000000000001"
"""The latent space that ships for the DARTS space."""

DIMENSION = 4


@dataclass
class Store:
    """One of the two: its database, its server, and the data sets that evaluations are on."""

    database: Database
    client: httpx.Client
    datasets: list[str]
    empty: str
    start: str


def rows(count: int, seed: int, datasets: list[str]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """So many genotypes and their evaluations."""
    generator = torch.Generator().manual_seed(seed)
    tensor = random_tensor(count, DARTS, generator)
    parameters, macs = count_parameters(tensor, DARTS).tolist(), count_macs(tensor, DARTS).tolist()
    latents = torch.randn((count, DARTS.nodes, DIMENSION), generator=generator).numpy().astype(np.float32)
    accuracies = (95 + 1.5 * torch.randn(count, generator=generator)).clamp(10, 99.5).tolist()
    ids, moment = new_ids("gen", count), now()
    genotypes = [
        {
            "id": ids[i],
            "search_space": DARTS.name,
            "origin": Origin.RANDOM if i % 10 == 9 else Origin.GENERATED,
            "genotype": form,
            "digest": digest,
            "parameters": parameters[i],
            "macs": macs[i],
            "source": {"kind": "near", "gamma": 0.1, "seed": seed, "edits": i % 9},
            "latent_space_id": SPACE,
            "latent": latents[i].tobytes(),
            "created_at": moment,
        }
        for i, (form, digest) in enumerate(described(tensor, DARTS))
    ]
    evaluations = [
        {
            "id": evaluation_id,
            "genotype_id": ids[i],
            "search_space": DARTS.name,
            "dataset_id": datasets[i % len(datasets)],
            "kind": EvaluationKind.REPORTED,
            "recipe": "table",
            "test_accuracy": accuracies[i],
            "parameters": parameters[i],
            "macs": macs[i],
            "created_at": moment,
        }
        for i, evaluation_id in enumerate(new_ids("ev", count))
    ]
    return genotypes, evaluations


def fill(store: Store, count: int) -> None:
    """Puts so many genotypes into a store, and lets the database learn what it has."""
    for seed in range(-(-count // TOGETHER)):
        genotypes, evaluations = rows(min(TOGETHER, count), seed, store.datasets)
        with store.database.session() as session:
            keep(session, genotypes, evaluations)
        print(f"{min(count, (seed + 1) * TOGETHER)} of {count}", file=sys.stderr, end="\r")
    print(file=sys.stderr)
    with store.database.reading.connect() as connection:
        connection.exec_driver_sql("SET statement_timeout = 0")
        connection.exec_driver_sql("VACUUM ANALYZE")


def keep(session: Session, genotypes: list[dict[str, Any]], evaluations: list[dict[str, Any]]) -> None:
    """Stores rows as generation and tables do."""
    session.execute(insert(Genotype.__table__), genotypes)  # type: ignore[arg-type]
    session.execute(insert(Evaluation.__table__), evaluations)  # type: ignore[arg-type]
    session.commit()


def inserts_per_s(store: Store, seed: int) -> float:
    """Genotypes with evaluations that are stored a second."""
    genotypes, evaluations = rows(TOGETHER, seed, store.datasets)
    began = time.perf_counter()
    with store.database.session() as session:
        keep(session, genotypes, evaluations)
    return TOGETHER / (time.perf_counter() - began)


def filters(store: Store) -> dict[str, dict[str, Any]]:
    """Every documented filter of the list of genotypes, with what matches many, few or nothing."""
    evaluated = store.datasets[0]
    return {
        "search_space": {"search_space": "darts"},
        "search_space, nothing": {"search_space": "nas-bench-201"},
        "dataset_id": {"dataset_id": evaluated},
        "dataset_id, nothing": {"dataset_id": store.empty},
        "origin": {"origin": "random"},
        "origin, nothing": {"origin": "registered"},
        "min_accuracy": {"min_accuracy": 95},
        "min_accuracy, nothing": {"min_accuracy": 100},
        "min_parameters": {"min_parameters": 3_000_000},
        "min_parameters, nothing": {"min_parameters": 10**9},
        "max_parameters": {"max_parameters": 3_000_000},
        "max_parameters, nothing": {"max_parameters": 1},
        "dataset_id and min_accuracy": {"dataset_id": evaluated, "min_accuracy": 95},
        "dataset_id and min_accuracy, nothing": {"dataset_id": evaluated, "min_accuracy": 100},
        "origin and dataset_id": {"origin": "random", "dataset_id": store.datasets[1]},
        "origin and dataset_id, nothing": {"origin": "published", "dataset_id": evaluated},
    }


def calls(store: Store) -> dict[str, Callable[[], object]]:
    """What is measured, by name."""

    def get(path: str, **params: Any) -> Callable[[], object]:
        return lambda: store.client.get(path, params=params).raise_for_status()

    def generate() -> object:
        near = {"near": {"genotype_id": store.start}, "count": 1}
        return store.client.post(f"/v1/latent-spaces/{SPACE}/generate", json=near).raise_for_status()

    def best_point() -> object:
        with store.database.session(reads_only=True) as session:
            return ranking.best_point(session, DARTS.name, store.datasets[0])

    named: dict[str, Callable[[], object]] = {
        "list": get("/v1/genotypes"),
        "best_point": best_point,
        "leaderboard": get(f"/v1/datasets/{store.datasets[0]}/leaderboard"),
        "generate": generate,
    }
    return named | {
        f"filter: {name}": get("/v1/genotypes", **asked) for name, asked in filters(store).items()
    }


def milliseconds(small: Callable[[], object], large: Callable[[], object]) -> tuple[float, float]:
    """The medians of a call to both stores, in turn."""
    taken: tuple[list[float], list[float]] = ([], [])
    for turn in range(WARM_UP + ROUNDS):
        for call, kept in ((small, taken[0]), (large, taken[1])):
            began = time.perf_counter()
            call()
            if turn >= WARM_UP:
                kept.append(1e3 * (time.perf_counter() - began))
    return median(taken[0]), median(taken[1])


@contextmanager
def opened(running: Postgres, name: str) -> Iterator[Store]:
    """A store in a new database."""
    url = make_url(running.url)
    with psycopg.connect(
        url.set(drivername="postgresql").render_as_string(hide_password=False), autocommit=True
    ) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
    own = url.set(database=name).render_as_string(hide_password=False)
    with server(0, environment={"VGAE_NAS_DATABASE_URL": own}) as client:
        published = client.post("/v1/genotypes/published").raise_for_status().json()["items"]
        found = client.get("/v1/datasets").raise_for_status().json()["items"]
        empty = client.post("/v1/datasets", json={"name": "digits"}).raise_for_status().json()["id"]
        database = Database(own)
        yield Store(database, client, [row["id"] for row in found][:2], empty, published[0]["id"])
        database.close()


def main() -> None:
    """Prints the figures at both sizes and their ratios."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--small", type=int, default=SMALL)
    parser.add_argument("--large", type=int, default=LARGE)
    arguments = parser.parse_args()
    with ExitStack() as stack:
        running = stack.enter_context(postgres())
        small, large = (stack.enter_context(opened(running, name)) for name in ("small", "large"))
        fill(small, arguments.small)
        fill(large, arguments.large)
        told: dict[str, dict[str, float]] = {}
        for (name, ours), theirs in zip(calls(small).items(), calls(large).values(), strict=True):
            few, many = milliseconds(ours, theirs)
            told[name] = {"small": round(few, 2), "large": round(many, 2), "ratio": round(many / few, 2)}
            print(name, told[name], file=sys.stderr)
        rates = [[inserts_per_s(store, 10**6 + turn) for turn in range(3)] for store in (small, large)]
    plain = {f"{name}_p50_ms": row for name, row in told.items() if not name.startswith("filter")}
    figures = {
        "small": arguments.small,
        "large": arguments.large,
        **plain,
        "filter_p50_ms": {
            name.removeprefix("filter: "): row for name, row in told.items() if name.startswith("filter")
        },
        "insert_per_s": {"small": round(median(rates[0])), "large": round(median(rates[1]))},
        "worst_ratio": max(row["ratio"] for row in told.values()),
    }
    print(json.dumps({**machine(), "command": "make bench-store", **figures}))


if __name__ == "__main__":
    main()
