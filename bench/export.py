"""Whether what leaves the service is what was measured: every export beside the evaluation, to the image.

Trains on the digits and on a folder of the same digits as image files of many kinds, by a server of its own
with a worker. The ONNX model and the module run here; the zip runs in a process that has neither PyTorch nor
the service, on the files of the test split. Accuracies are in percent.
"""

import io
import json
import os
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import onnxruntime
import safetensors.torch
import torch
from PIL import Image

from bench.servers import server
from models.datasets.data import ImageData
from models.datasets.sources import load_digits, load_folder

OVERRIDES = {"epochs": 4, "channels": 8}

WITHOUT_TORCH = """
import runpy, sys
sys.modules["torch"] = None
runpy.run_path("predict.py", run_name="__main__")
"""


def main() -> None:
    """Prints the accuracies of all exports on both data sets, and the largest difference."""
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        write_files(load_digits(), root / "files", many_kinds=True)
        write_files(load_digits(), root / "digits", many_kinds=False)
        os.environ["VGAE_NAS_DATA_ROOT"] = name
        with server() as client:
            figures = {
                "digits": measure(client, {"name": "digits"}, load_digits(), root / "digits"),
                "folder": measure(
                    client,
                    {"name": "files", "folder": "files", "image_size": 24},
                    load_folder(root / "files", 24),
                    root / "files",
                ),
            }
    differences = [
        abs(accuracies[export] - accuracies["evaluation_accuracy"])
        for accuracies in figures.values()
        for export in ("onnx_accuracy", "module_accuracy", "zip_accuracy")
    ]
    print(json.dumps({**figures, "largest_difference": max(differences)}))


def write_files(data: ImageData, folder: Path, many_kinds: bool) -> None:
    """Writes a data set as image files in class folders, of one kind or of many in turn."""
    for split, part in (("train", data.train), ("test", data.test)):
        everything = part.pixels(torch.arange(len(part)))
        for position, (pixels, label) in enumerate(zip(everything, part.targets.tolist(), strict=True)):
            place = folder / split / data.classes[label]
            place.mkdir(parents=True, exist_ok=True)
            image = Image.fromarray(pixels[0].numpy())
            if many_kinds:
                write_some_kind(image, place, position)
            else:
                image.save(place / f"{position}.png")


def write_some_kind(image: Image.Image, place: Path, position: int) -> None:
    """Writes a grey image of 8 x 8 pixels as a file of one of eight kinds."""
    large = image.resize((24 + 4 * (position % 3), 24))
    kind = position % 8
    if kind == 0:
        large.convert("RGB").save(place / f"{position}.JPG", quality=90)
    elif kind == 1:  # stored lying, and told so
        exif = Image.Exif()
        exif[0x0112] = 6
        large.convert("RGB").transpose(Image.Transpose.ROTATE_90).save(
            place / f"{position}.jpeg", quality=95, exif=exif
        )
    elif kind == 2:
        large.convert("P").save(place / f"{position}.gif")
    elif kind == 3:
        deep = (np.asarray(large, dtype=np.uint16) << 4) + 3  # 12 bits
        Image.fromarray(deep).save(place / f"{position}.tif")
    elif kind == 4:
        inverse = Image.fromarray(255 - np.asarray(large))
        ink = Image.merge("RGBA", [Image.new("L", large.size)] * 3 + [inverse])
        ink.save(place / f"{position}.png")
    elif kind == 5:
        large.convert("CMYK").save(place / f"{position}.jfif", "JPEG", quality=95)
    elif kind == 6:
        large.save(place / f"{position}.webp", lossless=True)
    else:
        large.save(place / f"{position}.bmp")


def measure(client: httpx.Client, dataset: dict[str, Any], data: ImageData, files: Path) -> dict[str, float]:
    """Trains on a data set, and gives the accuracy of every export on its test split."""
    registered = client.post("/v1/datasets", json=dataset).raise_for_status().json()
    genotype_id = client.post("/v1/genotypes/published").raise_for_status().json()["items"][0]["id"]
    body = {
        "dataset_id": registered["id"],
        "genotype_ids": [genotype_id],
        "recipe": "quick",
        "overrides": OVERRIDES,
    }
    job = finished(client, client.post("/v1/trainings", json=body).raise_for_status().json()["items"][0])
    images = data.test.pixels(torch.arange(len(data.test)))
    labels = data.test.targets
    training_id = job["links"]["training"].rsplit("/", 1)[1]
    genotype = f"/v1/genotypes/{genotype_id}"
    params = {"training_id": training_id}
    onnx = made(client, f"{genotype}/model.onnx", params)
    module = client.get(f"{genotype}/module.py", params=params).raise_for_status().text
    weights = client.get(job["links"]["weights"]).raise_for_status().content
    bundle = made(client, f"{job['links']['training']}/model.zip", {})
    return {
        "evaluation_accuracy": job["result"]["last_test_accuracy"],
        "onnx_accuracy": accuracy(of_onnx(onnx, images), labels),
        "module_accuracy": accuracy(of_module(module, weights, images), labels),
        "zip_accuracy": of_zip(bundle, sorted((files / "test").rglob("*.*"))),
        "test_images": len(labels),
    }


def finished(client: httpx.Client, job: dict[str, Any]) -> dict[str, Any]:
    """A job that has succeeded."""
    while job["status"] in ("queued", "running"):
        time.sleep(0.2)
        job = client.get(f"/v1/jobs/{job['id']}").raise_for_status().json()
    if job["status"] != "succeeded":
        raise SystemExit(f"{job['kind']} is {job['status']}: {job['error']}")
    return job


def made(client: httpx.Client, path: str, params: dict[str, str]) -> bytes:
    """A file that a job makes first."""
    answer = client.get(path, params=params).raise_for_status()
    if answer.status_code == 202:
        finished(client, answer.json())
        answer = client.get(path, params=params).raise_for_status()
    return answer.content


def accuracy(logits: torch.Tensor, labels: torch.Tensor) -> float:
    """Percent of the images that are given their class."""
    return 100 * int((logits.argmax(1) == labels).sum()) / len(labels)


def of_onnx(content: bytes, images: torch.Tensor) -> torch.Tensor:
    """Logits of the ONNX model for uint8 images."""
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    return torch.from_numpy(session.run(["logits"], {"images": images.numpy()})[0])


def of_module(source: str, weights: bytes, images: torch.Tensor) -> torch.Tensor:
    """Logits of the standalone module for uint8 images."""
    names: dict[str, Any] = {"__name__": "exported"}
    exec(compile(source, "module.py", "exec"), names)
    net = names["build"]()
    net.load_state_dict(safetensors.torch.load(weights))
    with torch.no_grad():
        logits: torch.Tensor = net.eval()(images)[0]
    return logits


def of_zip(content: bytes, files: list[Path]) -> float:
    """Percent of the files that `predict.py` of the zip gives the class of their folder."""
    with tempfile.TemporaryDirectory() as folder, zipfile.ZipFile(io.BytesIO(content)) as bundle:
        bundle.extractall(folder)
        command = [sys.executable, "-I", "-c", WITHOUT_TORCH, *map(str, files)]
        told = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True, timeout=3_600)
    classes = [line.split("\t")[1] for line in told.stdout.splitlines()]
    right = [path.parent.name == name for path, name in zip(files, classes, strict=True)]
    return 100 * sum(right) / len(right)


if __name__ == "__main__":
    main()
