"""What Schemathesis is told of a running service: ids that are really there, for paths and bodies."""

import json
import os
import random
from pathlib import Path
from typing import Any

import schemathesis

FILE = "BENCH_FUZZ_IDS"
"""The variable that names a JSON file of ids by the name of the field that holds one."""

SHARE = 0.7
"""The share of requests whose ids are there."""


@schemathesis.hook
def map_path_parameters(context: Any, path_parameters: Any) -> Any:
    """Puts real ids into paths."""
    return _with_ids(path_parameters) if isinstance(path_parameters, dict) else path_parameters


@schemathesis.hook
def map_body(context: Any, body: Any) -> Any:
    """Puts real ids into bodies, at any depth."""
    draw = random.Random(repr(body))
    return _deep(body, draw) if draw.random() < SHARE else body


def _with_ids(values: dict[str, Any]) -> dict[str, Any]:
    known, draw = json.loads(Path(os.environ[FILE]).read_text()), random.Random(repr(values))
    return {
        name: draw.choice(known[name]) if name in known and draw.random() < SHARE else value
        for name, value in values.items()
    }


def _deep(value: Any, draw: random.Random) -> Any:
    if isinstance(value, list):
        return [_deep(part, draw) for part in value]
    if not isinstance(value, dict):
        return value
    known = json.loads(Path(os.environ[FILE]).read_text())
    plural = {f"{name}s": ids for name, ids in known.items()}
    made = {}
    for name, part in value.items():
        if name in known and isinstance(part, str):
            made[name] = draw.choice(known[name])
        elif name in plural and isinstance(part, list):
            made[name] = draw.sample(plural[name], min(len(plural[name]), draw.randint(1, 4)))
        else:
            made[name] = _deep(part, draw)
    return made
