"""Files are written whole or not at all."""

import os
from pathlib import Path

import pytest
import torch

from app.artifacts import Artifacts


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
