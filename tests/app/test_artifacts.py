"""Files are written whole or not at all, in a folder as in a bucket."""

import os
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from threading import Event
from typing import Any

import fsspec
import pytest
import torch
from fastapi.testclient import TestClient
from moto.server import ThreadedMotoServer

from app.artifacts import Artifacts
from app.database import now
from app.jobs.tables import JobKind
from app.main import create_app
from app.settings import Settings
from tests.app.trainings.test_endpoints import TINY
from tests.conftest import ONE_DATABASE, Service
from worker import train
from worker.runner import Finish, Run


def test_tensors_come_back(tmp_path: Path) -> None:
    artifacts = Artifacts(str(tmp_path))
    artifacts.put_tensors("a/b.pt", {"x": torch.arange(3), "n": [1, {"y": 2.5}]})
    value = artifacts.get_tensors("a/b.pt")
    assert value["x"].tolist() == [0, 1, 2]
    assert value["n"] == [1, {"y": 2.5}]
    artifacts.delete("a")
    artifacts.delete("a")
    with pytest.raises(FileNotFoundError):
        artifacts.get("a/b.pt")


def test_any_fsspec_url_will_do() -> None:
    artifacts = Artifacts("memory://store")
    artifacts.put("k", b"1")
    artifacts.put("k", b"2")
    assert artifacts.get("k") == b"2"


def test_a_write_that_fails_leaves_the_last_version_whole(tmp_path: Path) -> None:
    artifacts = Artifacts(str(tmp_path))
    artifacts.put("checkpoint", b"whole")
    pid = os.fork()
    if pid == 0:  # a process of its own, in which the disk is full after 1,000 bytes
        import resource
        import signal

        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_000, 1_000))
        try:
            artifacts.put("checkpoint", bytes(10_000))
        except OSError:
            os._exit(0)
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert artifacts.get("checkpoint") == b"whole"
    assert os.listdir(tmp_path) == ["checkpoint"]


def test_what_a_killed_writer_left_goes_with_its_key(tmp_path: Path) -> None:
    files = Artifacts(str(tmp_path))
    files.put("folder/kept", b"kept")
    (tmp_path / "folder" / "gone.0123.part").write_bytes(b"half")
    (tmp_path / "folder" / "kept.4567.part").write_bytes(b"half")
    files.delete("folder/gone")
    assert sorted(path.name for path in (tmp_path / "folder").iterdir()) == ["kept", "kept.4567.part"]


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    """The URL of a bucket behind a real S3 API over HTTP."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        patched.setenv("AWS_ACCESS_KEY_ID", "key")
        patched.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        patched.setenv("AWS_DEFAULT_REGION", "us-east-1")
        fsspec.filesystem("s3", skip_instance_cache=True).mkdir("vgae-nas")
        yield "s3://vgae-nas/artifacts"
    server.stop()


def test_a_bucket_keeps_what_a_folder_keeps(bucket: str) -> None:
    artifacts = Artifacts(bucket)
    assert list(artifacts.files()) == []
    artifacts.put_tensors("jobs/job_1/a.pt", {"x": torch.arange(3)})
    artifacts.put("jobs/job_1/a.pt", b"2")
    artifacts.put("weights/tr_1.safetensors", bytes(7 << 20))
    again = Artifacts(bucket)
    assert again.get("jobs/job_1/a.pt") == b"2"
    assert len(again.get("weights/tr_1.safetensors")) == 7 << 20
    written = dict(again.files())
    assert set(written) == {"jobs/job_1/a.pt", "weights/tr_1.safetensors"}
    assert all(abs(now() - moment) < timedelta(hours=1) for moment in written.values())
    again.delete("jobs/job_1")
    again.delete("jobs/job_1")
    with pytest.raises(FileNotFoundError):
        artifacts.get("jobs/job_1/a.pt")
    assert [key for key, _ in artifacts.files()] == ["weights/tr_1.safetensors"]


@ONE_DATABASE
def test_a_training_is_kept_in_a_bucket_and_goes_on_from_its_checkpoint(
    bucket: str, settings: Settings
) -> None:
    there = settings.model_copy(update={"artifacts_url": f"{bucket}/service"})
    app = create_app(there)
    with TestClient(app, base_url="http://localhost") as client:
        service = Service(client, there, app.state.database, app.state.artifacts)
        digits = service.post("/v1/datasets", {"name": "digits"})["id"]
        genotype = service.post("/v1/genotypes/published")["items"][0]["id"]
        body = {"dataset_id": digits, "genotype_ids": [genotype], "recipe": "quick", "overrides": TINY}
        job = service.post("/v1/trainings", body)["items"][0]
        stopping = Event()

        def stop_after_one(run: Run) -> Finish:
            report = run.report

            def reporting(*arguments: Any, **named: Any) -> None:
                report(*arguments, **named)
                stopping.set()

            run.report = reporting  # type: ignore[method-assign]
            return train.run(run)

        service.run_job(job["id"], {JobKind.TRAIN: stop_after_one}, stopping)
        assert service.get(f"/v1/jobs/{job['id']}")["status"] == "queued"
        assert any(key.startswith(f"jobs/{job['id']}/") for key, _ in service.artifacts.files())
        (done,) = service.run_jobs()
        assert done["status"] == "succeeded", done
        assert len(client.get(done["links"]["weights"]).content) > 1_000
        assert not any(key.startswith("jobs/") for key, _ in service.artifacts.files())
