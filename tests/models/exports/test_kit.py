"""What is taken to a device: it needs onnxruntime and numpy alone, and measures what networks need."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

from app.devices.schemas import DeviceIn
from app.devices.service import of_request
from models.exports import kit as kits
from models.exports import measure
from models.genotypes.search_space import NAS_BENCH_201
from models.genotypes.size import NetworkShape, edges_of
from tests.conftest import LONG

SHAPE = NetworkShape(4, 3, image_size=8)


def test_the_script_needs_onnxruntime_and_numpy_alone() -> None:
    needed = set()
    for statement in ast.walk(ast.parse(kits.SCRIPT.read_text(encoding="utf-8"))):
        if isinstance(statement, ast.Import):
            needed |= {alias.name.split(".")[0] for alias in statement.names}
        elif isinstance(statement, ast.ImportFrom):
            needed.add((statement.module or "").split(".")[0])
    assert needed - set(sys.stdlib_module_names) == {"numpy", "onnxruntime"}


@LONG
def test_a_kit_measures_every_operation_where_a_network_has_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kits, "WHOLE", 3)
    monkeypatch.setattr(kits, "REPEATS", 2)
    for name, content in kits.kit(NAS_BENCH_201, [SHAPE]).items():
        (tmp_path / name).write_bytes(content)
    command = [sys.executable, "measure.py", "--device", "here", "--seconds", "0.001"]
    subprocess.run(command, cwd=tmp_path, check=True, timeout=300, capture_output=True)
    request = DeviceIn.model_validate_json((tmp_path / "table.json").read_bytes())
    assert (request.name, request.search_space, request.image_size) == ("here", "nas-bench-201", 8)
    measured = {(one.operation, one.channels, one.size, one.stride) for one in request.operations}
    names = [NAS_BENCH_201.operations[i] for i in NAS_BENCH_201.choices]
    expected = {
        (name, *edge[2:]) for edge in edges_of(NAS_BENCH_201, SHAPE) for name in names if name != "none"
    }
    assert measured == expected
    assert all(one.low <= one.ms <= one.high for one in request.operations)
    table = of_request(request)
    assert table.shapes == [(4, 3)]
    costs = table.costs(NAS_BENCH_201, SHAPE)
    least, most = costs.bounds(NAS_BENCH_201)
    assert 0 < least < most


def test_a_measurement_is_a_median_with_its_interval() -> None:
    import numpy as np

    told = measure.told(np.arange(15, dtype=np.float64))
    assert told == {"ms": 7.0, "low": 3.0, "high": 11.0}
    assert json.dumps(told)
