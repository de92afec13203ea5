"""The client on a real service: from a folder to a saved model, and what goes wrong on the way."""

import asyncio
import json
import subprocess
import sys
from pathlib import Path

import pytest
from vgae_nas_client import (
    AsyncClient,
    Client,
    Conflict,
    InvalidRequest,
    JobFailed,
    NasError,
    NotFound,
    ServiceUnreachable,
)

from tests.serving import PATIENCE_SECONDS

BRIEF = {"epochs": 1, "channels": 4, "cells": 2, "batch_size": 16}


def test_a_folder_becomes_a_model_that_stands_alone(nas: Client, photos: Path, tmp_path: Path) -> None:
    data = nas.upload(photos)
    assert (data.info.classes, data.info.image_size) == (2, 16)
    assert data.info.train_count + data.info.test_count == 48
    five = data.propose(5, max_parameters=400_000, overrides=BRIEF)
    assert len(five) == 5
    assert all(one.parameters <= 400_000 for one in five)
    assert five[1].info.genotype_id in five.table
    assert "<pre>" in five._repr_html_()
    report = data.compare(five, references=["mobilenet_v3_small"]).wait(PATIENCE_SECONDS)
    assert [(row.arm, row.n) for row in report.rows] == [("proposal", 5), ("mobilenet_v3_small", 1)]
    assert "mobilenet_v3_small" in report.table
    assert len(report.trained) == 6
    best = report.best
    assert best.training.genotype_id in {one.info.genotype_id for one in five}
    saved = best.save(tmp_path / "best")
    assert {"model.onnx", "module.py", "weights.safetensors", "card.json", "predict.py"} <= {
        path.name for path in saved.iterdir()
    }
    command = [sys.executable, "predict.py", str(photos / "light" / "0.jpg")]
    told = subprocess.run(command, cwd=saved, capture_output=True, text=True, timeout=PATIENCE_SECONDS)
    assert told.returncode == 0, told.stderr
    assert "light" in told.stdout or "dark" in told.stdout
    board = list(data.leaderboard())
    assert len(board) == 6
    assert board[0].test_accuracy >= board[-1].test_accuracy


def test_an_architecture_is_a_module_and_a_picture(nas: Client, photos: Path, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    (one,) = nas.upload(photos).propose(1)
    net = one.to_torch()
    assert sum(weight.numel() for weight in net.parameters()) == one.parameters
    logits, _ = net.eval()(torch.zeros(2, 3, 16, 16))
    assert logits.shape == (2, 2)
    assert one._repr_svg_().lstrip().startswith(("<svg", "<?xml"))
    assert {path.name for path in one.save(tmp_path / "one").iterdir()} == {"module.py", "cells.svg"}


def test_what_is_refused_is_an_error_that_names_the_field(nas: Client, photos: Path, tmp_path: Path) -> None:
    data = nas.upload(photos)
    with pytest.raises(InvalidRequest) as refused:
        data.propose(5, recipe="best")
    assert refused.value.errors[0]["field"] == "recipe"
    with pytest.raises(Conflict):
        nas.upload(photos)
    with pytest.raises(NotFound):
        nas.proposal("none")
    with pytest.raises(FileNotFoundError, match="no folder and no archive"):
        nas.upload(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="no file"):
        nas.upload(tmp_path / "empty")
    with pytest.raises(NasError, match="no architecture"):
        _ = data.compare(data.propose(1)).report().best


def test_a_job_is_followed_cancelled_and_retried(nas: Client) -> None:
    digits = nas.dataset("digits")
    (job,) = digits.search(recipe="quick", overrides={"epochs": 900, "channels": 16}, seeds=[3])
    with pytest.raises(TimeoutError, match="goes on"):
        job.wait(0.5)
    job.cancel()
    with pytest.raises(JobFailed) as failed:
        job.wait(PATIENCE_SECONDS)
    assert failed.value.status == "cancelled"
    assert next(event.type for event in job.events()) == "queued"
    assert job.refresh().is_over
    assert job.id in {each.id for each in nas.jobs("cancelled")}


def test_a_service_that_is_not_there_is_said_to_be(nas: Client) -> None:
    with (
        Client("http://127.0.0.1:9", retries=0) as nobody,
        pytest.raises(ServiceUnreachable, match="no answer"),
    ):
        nobody.dataset("digits")


def test_genotypes_are_registered_and_found(nas: Client) -> None:
    from models.genotypes.published import PUBLISHED
    from models.genotypes.text import to_text

    nas.dataset("digits")
    text = to_text(PUBLISHED[3].genotype)
    made = nas.register(text, name="of-the-client", dataset="digits", test_accuracy=90.0)
    assert [row.id for row in nas.genotypes(name="of-the-client")] == [made.id]
    again = nas.register(PUBLISHED[3].genotype.as_dict())
    assert again.digest == made.digest
    assert len(list(nas.datasets())) >= 1


def test_the_client_to_be_awaited_does_the_same(url: str, photos: Path, tmp_path: Path) -> None:
    async def path() -> tuple[int, list[str]]:
        async with AsyncClient(url) as nas:
            data = await nas.upload(photos)
            two, other = await asyncio.gather(data.propose(2, overrides=BRIEF), data.propose(1))
            job = await data.compare([*two, other[0]], recipe="quick", overrides=BRIEF)
            report = await job.wait(PATIENCE_SECONDS)
            await report.best.save(tmp_path / "best")
            names = [each.name async for each in nas.datasets()]
            return len(report.trained), names

    trained, names = asyncio.run(path())
    assert trained == 3
    assert photos.name in names
    assert json.loads((tmp_path / "best" / "card.json").read_text())["classes"] == ["dark", "light"]
