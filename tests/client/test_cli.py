"""The `vgae-nas` command as people type it, against a real service."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer
from vgae_nas_client.cli import count

from bench.servers import VGAE_NAS, free_port
from tests.serving import PATIENCE_SECONDS


def run(url: str, *words: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    """What a command says."""
    environment = {**os.environ, "VGAE_NAS_URL": url, "COLUMNS": "120"}
    ran = subprocess.run(
        [VGAE_NAS, *words], env=environment, capture_output=True, text=True, timeout=PATIENCE_SECONDS
    )
    assert ran.returncode == code, ran.stdout + ran.stderr
    return ran


def told(url: str, *words: str) -> Any:
    return json.loads(run(url, *words, "--json").stdout)


def test_from_a_folder_to_a_saved_model(url: str, photos: Path, tmp_path: Path) -> None:
    proposed = run(url, "propose", str(photos), "-n", "2", "--max-parameters", "400k")
    assert "2 architectures for" in proposed.stdout
    assert "note: recipe 'quick' was taken" in proposed.stderr
    again = told(url, "propose", photos.name, "-n", "1")
    assert len(again["items"]) == 1
    compared = told(url, "compare", photos.name, "--recipe", "quick", "--name", "of-the-command")
    assert [(row["arm"], row["n"]) for row in compared["items"]] == [("proposal", 1)]
    into = tmp_path / "best"
    saved = told(url, "export", photos.name, str(into))
    assert (into / "model.onnx").is_file()
    assert saved["test_accuracy"] > 0
    jobs = told(url, "jobs", "list", "--status", "succeeded")
    assert any(job["kind"] == "experiment" for job in jobs)
    watched = told(url, "jobs", "watch", jobs[0]["id"])
    assert watched["status"] == "succeeded"


def test_the_same_folder_again_is_the_same_data_set(url: str, photos: Path) -> None:
    first = told(url, "upload", str(photos))
    run(url, "upload", str(photos), code=1)
    again = run(url, "propose", str(photos), "-n", "1", "--json")
    assert json.loads(again.stdout)["dataset_id"] == first["id"]
    assert "sent before" in again.stderr


def test_what_goes_wrong_is_said_in_a_line(url: str) -> None:
    assert "unknown data set 'nothing-here'" in run(url, "propose", "nothing-here", code=1).stderr
    assert "no answer" in run("http://127.0.0.1:9", "jobs", "watch", "job_x", code=1).stderr
    run(url, "propose", "digits", "--max-parameters", "many", code=2)


@pytest.mark.parametrize(
    ("text", "number"), [("500k", 500_000), ("1.5M", 1_500_000), ("2_000", 2_000), ("7", 7), ("1g", 10**9)]
)
def test_counts_are_read_as_people_write_them(text: str, number: int) -> None:
    assert count(text) == number


@pytest.mark.parametrize("text", ["", "k", "5x", "ten"])
def test_what_is_no_count_is_refused(text: str) -> None:
    with pytest.raises(typer.BadParameter):
        count(text)


def test_help_has_the_commands_of_client_and_service_and_loads_neither() -> None:
    code = (
        "import sys; from typer.testing import CliRunner; from vgae_nas_client.cli import _with_others;"
        "told = CliRunner().invoke(_with_others(), ['--help']).output;"
        "assert all(name in told for name in ('upload', 'propose', 'jobs', 'up', 'serve', 'keys')), told;"
        "print([m for m in ('torch', 'fastapi', 'sqlalchemy', 'httpx2', 'pydantic') if m in sys.modules])"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=PATIENCE_SECONDS
    )
    assert ran.stdout.strip() == "[]", ran.stderr


def test_up_makes_everything_ready_and_says_where_it_is(tmp_path: Path) -> None:
    environment = {**os.environ, "VGAE_NAS_HOME": str(tmp_path), "PYTHONUNBUFFERED": "1"}
    port = free_port()
    command = [VGAE_NAS, "up", "--port", str(port), "--workers", "0"]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        line = server.stdout.readline()
        assert f"http://127.0.0.1:{port}" in line
        proposed = told(f"http://127.0.0.1:{port}", "propose", "digits", "-n", "1")
        assert proposed["start"]["kind"] == "nearest"
        server.terminate()
        assert server.wait(PATIENCE_SECONDS) == 0
