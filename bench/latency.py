"""How well latencies are told that are added up from a device's table.

On this machine (`onnxruntime`, one thread), the models of `vgae-nas profile` are timed for the DARTS space,
then `--networks` random networks that the table has not seen. `median_relative_error` and `spearman` are of
its standard network; `small` has the same of one of 16 channels and 8 cells. `per_second` counts
architectures whose latency is told.

Of NAS-Bench-201's latencies (Raspberry Pi 4, Pixel 3, Jetson), `devices` has the error, R² and Spearman of
an additive table that is fitted to 100 architectures, on all others: the mean of `--seeds` draws.
"""

import argparse
import json
import os
import platform
import tempfile
import time
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.stats import spearmanr
from sklearn.linear_model import Ridge

from app.devices.schemas import DeviceIn
from app.devices.service import of_request
from app.settings import get_settings
from bench.tables import columns, whole
from models.exports import measure
from models.exports.export import onnx_bytes
from models.exports.kit import kit
from models.generation.features import operations
from models.genotypes.genotype import from_tensor, random_tensor
from models.genotypes.latency import NANOSECONDS, latency
from models.genotypes.search_space import DARTS, NAS_BENCH_201
from models.genotypes.size import NetworkShape, standard_network

SMALL = (16, 8)
DEVICES = {"raspi4": "raspi4_ms", "pixel3": "pixel3_ms", "edgegpu": "edgegpu_ms"}
FITTED = 100
ASKED = 100_000


def here(shape: NetworkShape, networks: int) -> dict[str, Any]:
    """The figures of one shape on this machine."""
    began = time.perf_counter()
    files = kit(DARTS, [shape])
    made = time.perf_counter() - began
    with tempfile.TemporaryDirectory() as folder:
        for name, content in files.items():
            (Path(folder) / name).write_bytes(content)
        began = time.perf_counter()
        plan = json.loads(files["plan.json"])
        measured = measure.measure(plan, Path(folder), 1, "CPUExecutionProvider", 0.02)
        timed = time.perf_counter() - began
    table = of_request(DeviceIn(name="here", **measured))
    genotypes = random_tensor(networks, DARTS, torch.Generator().manual_seed(5))
    told = latency(genotypes, DARTS, shape, table).numpy() / NANOSECONDS
    models = [
        measure.session(onnx_bytes(shape.network(genotype), shape), 1, "CPUExecutionProvider")
        for genotype in from_tensor(genotypes, DARTS)
    ]
    # in turn, so that what else the machine does hits all alike
    taken = np.median(
        [[np.median(measure.rounds(model, 0.01)) for model in models] for _ in range(3)], axis=0
    )
    many = random_tensor(ASKED, DARTS, torch.Generator().manual_seed(6))
    began = time.perf_counter()
    latency(many, DARTS, shape, table)
    return {
        "channels": shape.channels,
        "cells": shape.cells,
        "networks": networks,
        "ms": [round(float(value), 3) for value in (taken.min(), np.median(taken), taken.max())],
        "median_relative_error": round(float(np.median(np.abs(told / taken - 1))), 4),
        "spearman": round(float(spearmanr(told, taken)[0]), 3),
        "per_second": round(ASKED / (time.perf_counter() - began)),
        "seconds_to_make": round(made, 1),
        "seconds_to_measure": round(timed, 1),
    }


def elsewhere(seeds: int) -> dict[str, Any]:
    """The figures of an additive table on NAS-Bench-201's devices."""
    folder = get_settings().data_root / "benchmarks"
    table, measured = whole(folder, NAS_BENCH_201), columns(folder, "nas-bench-201")
    parts = operations(table.genotypes, NAS_BENCH_201)
    figures = {}
    for name, column in DEVICES.items():
        taken, found = measured[column], []
        for seed in range(seeds):
            rows = np.random.default_rng(seed).permutation(len(taken))
            known, others = rows[:FITTED], rows[FITTED:]
            told = Ridge(1e-2).fit(parts[known], taken[known]).predict(parts[others])
            away = taken[others] - told
            found.append(
                (
                    np.median(np.abs(away / taken[others])),
                    1 - away.var() / taken[others].var(),
                    spearmanr(told, taken[others])[0],
                )
            )
        error, r2, spearman = np.mean(found, axis=0)
        figures[name] = {
            "median_relative_error": round(float(error), 4),
            "r2": round(float(r2), 3),
            "spearman": round(float(spearman), 3),
        }
    return figures


def main() -> None:
    """Prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--networks", type=int, default=30)
    parser.add_argument("--seeds", type=int, default=20)
    asked = parser.parse_args()
    figures: dict[str, Any] = {
        "date": date.today().isoformat(),
        "machine": f"{platform.machine()}, {platform.system()}, {os.cpu_count()} cores",
        "devices": elsewhere(asked.seeds),
    }
    print(figures["devices"], flush=True)
    figures["small"] = here(NetworkShape(*SMALL), asked.networks)
    print(figures["small"], flush=True)
    figures |= here(standard_network(DARTS), asked.networks)
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
