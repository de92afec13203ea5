"""Times the operations beside this file on this device: `python measure.py --device my-pi`.

It needs onnxruntime and numpy. With `--url http://host:8000` the table is posted to the service; it is
written to `table.json` either way.
"""

import argparse
import json
import platform
import time
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

FOLDER = Path(__file__).parent
ROUNDS = 15
"""Of each measurement; the median is told, and the interval that holds it with 95 %."""


def session(content: Any, threads: int, provider: str) -> Any:
    """A model ready to run, given as bytes or as the path of its file."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    return onnxruntime.InferenceSession(content, options, providers=[provider])


def rounds(model: Any, seconds: float) -> "np.ndarray[tuple[int], np.dtype[np.float64]]":
    """Milliseconds of a run, as the mean of each round of so many seconds."""
    feeds = {
        one.name: np.random.default_rng(0).standard_normal([1, *one.shape[1:]], dtype=np.float32)
        for one in model.get_inputs()
    }
    for _ in range(3):
        model.run(None, feeds)
    began = time.perf_counter()
    model.run(None, feeds)
    runs = max(1, round(seconds / max(time.perf_counter() - began, 1e-7)))
    found = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        for _ in range(runs):
            model.run(None, feeds)
        found.append((time.perf_counter() - began) * 1000 / runs)
    return np.array(found)


def told(values: "np.ndarray[tuple[int], np.dtype[np.float64]]") -> dict[str, float]:
    """The median of rounds with its 95 % interval, by order (of 15 the 4th and the 12th)."""
    ordered = np.sort(values)
    return {
        name: round(float(value), 6)
        for name, value in zip(
            ("ms", "low", "high"), (np.median(values), ordered[3], ordered[-4]), strict=True
        )
    }


def measure(
    plan: dict[str, Any], folder: Path, threads: int, provider: str, seconds: float
) -> dict[str, Any]:
    """The table of a plan whose models are in a folder."""
    empty = {}
    operations, networks = [], []
    for place, block in enumerate(plan["blocks"], start=1):
        taken = rounds(session(folder / block["file"], threads, provider), seconds)
        if block["operation"] is None:
            empty[block["channels"], block["size"], block["stride"]] = np.median(taken)
            continue
        without = empty[block["channels"], block["size"], block["stride"]]
        each = told(((taken - without) / block["repeats"]).clip(min=0))
        operations.append({name: block[name] for name in ("operation", "channels", "size", "stride")} | each)
        print(f"{place} of {len(plan['blocks'])}: {block['operation']} {each['ms']:.4f} ms", flush=True)
    for network in plan["networks"]:
        each = told(rounds(session(folder / network["file"], threads, provider), seconds))
        networks.append({name: network[name] for name in ("genotype", "channels", "cells")} | each)
        print(f"a network of {network['cells']} cells: {each['ms']:.3f} ms", flush=True)
    return {
        "search_space": plan["search_space"],
        "image_size": plan["image_size"],
        "runtime": {
            "onnxruntime": onnxruntime.__version__,
            "provider": provider,
            "threads": threads,
            "machine": f"{platform.machine()} {platform.system()}",
        },
        "operations": operations,
        "networks": networks,
    }


def main() -> None:
    """Measures, writes the table and posts it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--device", required=True, help="the name that requests will give")
    parser.add_argument("--url", help="of the service")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--provider", default="CPUExecutionProvider")
    parser.add_argument("--seconds", type=float, default=0.02, help="of each of 15 rounds")
    asked = parser.parse_args()
    if asked.url and not asked.url.startswith(("http://", "https://")):
        parser.error("--url must begin with http:// or https://")
    plan = json.loads((FOLDER / "plan.json").read_text(encoding="utf-8"))
    table = {"name": asked.device, **measure(plan, FOLDER, asked.threads, asked.provider, asked.seconds)}
    (FOLDER / "table.json").write_text(json.dumps(table, indent=1), encoding="utf-8")
    if asked.url:
        request = urllib.request.Request(
            f"{asked.url.rstrip('/')}/v1/devices",
            json.dumps(table).encode(),
            {"Content-Type": "application/json"},
        )
        # its scheme is checked above
        with urllib.request.urlopen(request, timeout=60) as answer:  # nosec B310
            print(answer.read().decode())


if __name__ == "__main__":
    main()
