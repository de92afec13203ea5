"""Exports over HTTP: pictures, Python files, ONNX models and weights."""

import io
import json
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import onnxruntime
import pytest
import safetensors.torch
import torch
import yaml
from PIL import Image
from safetensors import safe_open

from models.datasets.sources import load_digits
from tests.conftest import ONE_DATABASE, Service
from tests.models.datasets.test_sources import archive

SVG = "{http://www.w3.org/2000/svg}"
TINY = {"channels": 4, "cells": 3, "epochs": 1, "batch_size": 64, "train_images": 128}


def test_the_picture_has_every_operation_of_both_cells_and_no_overlap(
    service: Service, published: list[str]
) -> None:
    row = service.get(f"/v1/genotypes/{published[0]}")
    answer = service.client.get(f"/v1/genotypes/{published[0]}/cells.svg")
    assert answer.headers["content-type"] == "image/svg+xml"
    root = ElementTree.fromstring(answer.content)
    assert root.findtext(f"{SVG}title") == row["name"]
    cells = [group for group in root if group.tag == f"{SVG}g"]
    for cell, name in zip(cells, ("normal", "reduce"), strict=True):
        shown = ["_".join(text.itertext()) for text in cell.iter(f"{SVG}text")]
        operations = [operation for operation, _ in row["genotype"][name]]
        named = [text.text for text in cell.iter(f"{SVG}text") if text.text in operations]
        assert named == operations
        assert {"c_k-2", "c_k-1", "0", "1", "2", "3", "c_k"} <= set(shown)
        boxes = [
            [float(box.attrib[side]) for side in ("x", "y", "width", "height")]
            for box in cell.iter(f"{SVG}rect")
        ]
        for i, (x, y, width, height) in enumerate(boxes):
            for left, top, w, h in boxes[:i]:
                assert x + width <= left or left + w <= x or y + height <= top or top + h <= y


def test_the_picture_marks_what_another_genotype_does_not_have(
    service: Service, published: list[str]
) -> None:
    first, second = (service.get(f"/v1/genotypes/{row}") for row in published[:2])

    def edges(genotype: dict[str, Any]) -> set[tuple[str, int, str, int]]:
        return {
            (cell, i // 2, *edge) for cell in ("normal", "reduce") for i, edge in enumerate(genotype[cell])
        }

    svg = service.client.get(f"/v1/genotypes/{first['id']}/cells.svg", params={"beside": second["name"]})
    different = edges(first["genotype"]) - edges(second["genotype"])
    assert svg.text.count('class="changed"') == len(different) > 0
    same = service.client.get(f"/v1/genotypes/{first['id']}/cells.svg", params={"beside": first["id"]})
    assert "changed" not in same.text
    other = service.post("/v1/genotypes", {"search_space": "nas-bench-201", "text": "000000"})["id"]
    answer = service.client.get(f"/v1/genotypes/{first['id']}/cells.svg", params={"beside": other})
    assert [error["field"] for error in answer.json()["errors"]] == ["beside"]


@ONE_DATABASE
def test_what_is_exported_is_what_was_measured(
    service: Service, digits: str, published: list[str], tmp_path: Path
) -> None:
    body = {"dataset_id": digits, "genotype_ids": published[:1], "recipe": "quick", "overrides": TINY}
    service.post("/v1/trainings", body)
    (job,) = service.run_jobs()
    training_id = service.get(job["links"]["training"])["id"]
    weights = safetensors.torch.load(service.client.get(job["links"]["weights"]).content)
    path, params = f"/v1/genotypes/{published[0]}", {"training_id": training_id}
    module = service.client.get(f"{path}/module.py", params=params)
    assert module.headers["content-type"].startswith("text/x-python")
    names: dict[str, object] = {"__name__": "exported"}
    exec(compile(module.text, "exported.py", "exec"), names)
    net = names["build"]()  # type: ignore[operator]
    net.load_state_dict(weights)
    onnx = service.exported(f"{path}/model.onnx", **params)
    session = onnxruntime.InferenceSession(onnx, providers=["CPUExecutionProvider"])
    data = load_digits()
    images, labels = data.test.images, data.test.labels
    (logits,) = session.run(["logits"], {"images": images.numpy()})
    with torch.no_grad():
        theirs = net.eval()(images)[0]
    torch.testing.assert_close(torch.from_numpy(logits), theirs, rtol=1e-4, atol=1e-4)
    measured = job["result"]["last_test_accuracy"]
    for found in (torch.from_numpy(logits), theirs):
        assert 100 * float((found.argmax(1) == labels).double().mean()) == pytest.approx(measured, abs=1e-4)
    assert names["CLASSES"] == [str(digit) for digit in range(10)]
    metadata = session.get_modelmeta().custom_metadata_map
    assert float(metadata["test_accuracy"]) == pytest.approx(measured, abs=1e-3)
    assert metadata["training_id"] == training_id
    assert metadata["dataset_digest"] == service.get(f"/v1/datasets/{digits}")["digest"]
    with safe_open(weights_file(tmp_path, service, job), framework="pt") as file:
        assert json.loads(file.metadata()["classes"]) == names["CLASSES"]
        assert json.loads(file.metadata()["mean"]) == json.loads(metadata["mean"])
        for fact in ("training_id", "dataset", "dataset_digest", "test_accuracy", "licence"):
            assert file.metadata()[fact] == metadata[fact]


def weights_file(folder: Path, service: Service, job: Any) -> Path:
    path = folder / "weights.safetensors"
    path.write_bytes(service.client.get(job["links"]["weights"]).content)
    return path


def test_a_file_is_ordered_once_and_kept(service: Service, published: list[str]) -> None:
    path, shape = f"/v1/genotypes/{published[0]}/model.onnx", {"channels": 4, "cells": 2, "image_size": 8}
    first, second = (service.client.get(path, params=shape) for _ in range(2))
    assert first.status_code == second.status_code == 202
    assert first.json()["id"] == second.json()["id"]
    other = service.client.get(path, params={**shape, "classes": 3})
    assert other.json()["id"] != first.json()["id"]
    jobs = service.run_jobs()
    assert [job["kind"] for job in jobs] == ["export", "export"]
    contents = [service.client.get(job["links"]["file"]) for job in jobs]
    assert [answer.status_code for answer in contents] == [200, 200]
    assert contents[0].content != contents[1].content
    # the same shape with a default spelled out is the same file
    assert service.client.get(path, params={**shape, "classes": 10}).content == contents[0].content
    assert service.client.delete(f"/v1/genotypes/{published[0]}").status_code == 204


def test_a_cancelled_export_is_ordered_anew_and_a_failed_one_says_why(
    service: Service, digits: str, published: list[str]
) -> None:
    path, shape = f"/v1/genotypes/{published[0]}/model.onnx", {"channels": 4, "cells": 2, "image_size": 8}
    cancelled = service.client.get(path, params=shape).json()
    service.post(f"/v1/jobs/{cancelled['id']}/cancel")
    anew = service.client.get(path, params=shape)
    assert (anew.status_code, anew.json()["status"]) == (202, "queued")
    assert anew.json()["id"] != cancelled["id"]
    body = {"dataset_id": digits, "genotype_ids": published[:1], "recipe": "quick", "overrides": TINY}
    training_id = service.post("/v1/trainings", body)["items"][0]["links"]["training"].rsplit("/", 1)[1]
    service.run_jobs()
    service.artifacts.delete(f"weights/{training_id}.safetensors")
    bundle = f"/v1/trainings/{training_id}/model.zip"
    assert service.client.get(bundle).status_code == 202
    (failed,) = service.run_jobs()
    assert failed["status"] == "failed"
    answer = service.client.get(bundle)
    assert answer.status_code == 409
    assert f"/v1/jobs/{failed['id']}/retry" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("file", "params", "field"),
    [
        ("module.py", {"channels": 1}, "channels"),
        ("module.py", {"cells": "many"}, "cells"),
        ("module.py", {"image_size": 2, "cells": 20}, "image_size"),
        ("module.py", {"depth": 3}, "depth"),
        ("module.py", {"training_id": "tr_x"}, "training_id"),
        ("model.onnx", {"training_id": "tr_x"}, "training_id"),
        ("model.onnx", {"training_id": "tr_x", "cells": 5}, "body"),
    ],
)
@ONE_DATABASE
def test_a_bad_export_names_the_field(
    service: Service, published: list[str], file: str, params: dict[str, str], field: str
) -> None:
    answer = service.client.get(f"/v1/genotypes/{published[0]}/{file}", params=params)
    assert answer.status_code == 422
    assert [error["field"] for error in answer.json()["errors"]] == [field]
    assert service.client.get(f"/v1/genotypes/gen_x/{file}").status_code == 404


def stripes(label: str, split: str, seed: int) -> bytes:
    """A noisy picture with stripes, upright for `a` and level for `b`."""
    rng = np.random.default_rng([seed, split == "test"])
    pattern = np.tile((np.arange(12) // 3 % 2) * 120.0, (12, 1))
    pattern = pattern if label == "a" else pattern.T
    pixels = (pattern[..., None] + rng.integers(0, 136, (12, 12, 3))).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


@ONE_DATABASE
def test_the_bundle_alone_classifies_the_test_files_as_the_training_did(
    service: Service, published: list[str], tmp_path: Path
) -> None:
    files = {
        f"{split}/{label}/{i}.png": stripes(label, split, i)
        for split, count in (("train", 24), ("test", 15))
        for label in "ab"
        for i in range(count)
    }
    upload = {"archive": archive(files)}
    fields = {"name": "stripes", "licence": "CC0-1.0"}
    dataset = service.client.post("/v1/datasets", files=upload, data=fields).json()["id"]
    overrides = {**TINY, "batch_size": 16, "epochs": 2, "train_images": None}
    body = {"dataset_id": dataset, "genotype_ids": published[:1], "recipe": "quick", "overrides": overrides}
    training = service.post("/v1/trainings", body)["items"][0]["links"]["training"]
    assert service.client.get(f"{training}/model.zip").status_code == 409  # it has not ended
    (job,) = service.run_jobs()
    content = service.exported(f"{training}/model.zip")
    answer = service.client.get(f"{training}/model.zip")
    assert answer.headers["content-type"] == "application/zip"
    assert answer.content == content  # made once
    assert service.run_jobs() == []
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    with zipfile.ZipFile(io.BytesIO(answer.content)) as bundle:
        bundle.extractall(tmp_path / "bundle")
    tested = [name for name in files if name.startswith("test/")]
    # without PyTorch and without the service's own code
    program = (
        "import runpy, sys; sys.modules['torch'] = None; runpy.run_path('predict.py', run_name='__main__')"
    )
    command = [sys.executable, "-I", "-c", program, *(str(tmp_path / name) for name in tested)]
    outcome = subprocess.run(command, cwd=tmp_path / "bundle", capture_output=True, text=True, timeout=300)
    assert outcome.returncode == 0, outcome.stderr
    told = [line.split("\t")[1] for line in outcome.stdout.splitlines()]
    right = sum(label == name.split("/")[1] for label, name in zip(told, tested, strict=True))
    assert 100 * right / len(tested) == pytest.approx(job["result"]["last_test_accuracy"], abs=1e-4)
    card = json.loads((tmp_path / "bundle" / "card.json").read_text())
    assert (card["classes"], card["channels"], card["image_size"]) == (["a", "b"], 3, 12)
    assert card["licence"] == "CC0-1.0"
    head, text = (tmp_path / "bundle" / "README.md").read_text().removeprefix("---\n").split("\n---\n")
    (result,) = yaml.safe_load(head)["model-index"][0]["results"]
    measured = job["result"]["last_test_accuracy"]
    assert 100 * result["metrics"][0]["value"] == pytest.approx(measured, abs=1e-3)
    assert "CC0-1.0" in text
    assert f"{measured:.2f} %" in text


def test_a_reference_network_is_not_bundled(service: Service, digits: str) -> None:
    arm = {"kind": "reference", "model": "mobilenet_v3_small"}
    body = {"dataset_ids": [digits], "recipe": "quick", "overrides": TINY, "arms": [arm]}
    service.post("/v1/experiments", body)
    (job,) = service.run_jobs()
    answer = service.client.get(f"{job['links']['training']}/model.zip")
    assert answer.status_code == 409
    assert "mobilenet_v3_small" in answer.json()["detail"]
    assert service.client.get("/v1/trainings/tr_x/model.zip").status_code == 404
