"""One training in several processes: torchrun starts them, and the job's worker watches over them.

The worker alone holds the lease and writes to the database. The processes read their training, and the
first of them leaves every epoch as a file in a folder: `<epoch>.pt`, whole or not at all.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed

from app import tables as tables  # so that the metadata knows every table
from app.artifacts import Artifacts
from app.database import Database
from app.settings import Settings, get_settings
from app.trainings import service as trainings
from models.errors import NonFiniteLoss
from models.trainings.retrain import TrainEpoch, Training
from models.trainings.world import World
from worker import memory

START, FAILED = "start.pt", "failed.json"

POLL_SECONDS = 0.1
"""Seconds between two looks at the folder."""


class Processes:
    """A training in several processes, as a `Trainer`; a context manager that ends them however it is left.

    Args:
        settings: of the service.
        training_id: what to train.
        training: the same training in this process, which takes over the state of every epoch.
    """

    def __init__(self, settings: Settings, training_id: str, training: Training) -> None:
        self.settings, self.training_id, self.training = settings, training_id, training
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "Processes":
        self._temporary = tempfile.TemporaryDirectory()
        self._folder = Path(self._temporary.name)
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            _stop(self._process)
        self._temporary.cleanup()

    @property
    def epoch(self) -> int:
        """Epochs that are done."""
        return self.training.epoch

    @property
    def epochs(self) -> int:
        """The number of epochs of the whole training."""
        return self.training.epochs

    @property
    def done(self) -> bool:
        """Whether the training is at its end."""
        return self.training.done

    @property
    def progress(self) -> float:
        """The share of the whole training that is done, 0 to 1, by whole epochs."""
        return self.training.progress

    def run(self, between_steps: Callable[[], None]) -> TrainEpoch:
        """One more epoch, from the processes; the first call starts them.

        Raises:
            NonFiniteLoss: as in one process.
            RuntimeError: the processes ended before their time.
        """
        if self._process is None:
            if self.epoch:
                torch.save(self.training.state_dict(), self._folder / START)
            processes = self.training.recipe.processes
            self._process = _launch(self.settings, self.training_id, processes, self._folder)
        file = self._folder / f"{self.epoch + 1}.pt"
        while True:
            between_steps()
            ended = self._process.poll() is not None  # asked first: what was left before the end is then seen
            if file.exists():
                left = torch.load(file, map_location="cpu", weights_only=True)
                file.unlink()
                self.training.load_state_dict(left["training"])
                return TrainEpoch(**left["epoch"])
            if ended:
                raise _failure(self._folder, self._process.returncode)
            time.sleep(POLL_SECONDS)

    def state_dict(self) -> dict[str, Any]:
        """The state of the training."""
        return self.training.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes back to the end of the epoch at which the state was taken."""
        self.training.load_state_dict(state)


def _launch(settings: Settings, training_id: str, processes: int, folder: Path) -> "subprocess.Popen[bytes]":
    environment = {f"VGAE_NAS_{name.upper()}": str(value) for name, value in settings.model_dump().items()}
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += [f"--nproc-per-node={processes}", "-m", "worker.distributed"]
    command += [training_id, str(folder), "--watcher", str(os.getpid())]
    return subprocess.Popen(command, env={**os.environ, **environment}, start_new_session=True)


def _stop(process: "subprocess.Popen[bytes]") -> None:
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _failure(folder: Path, code: int) -> Exception:
    if (folder / FAILED).exists():
        failed = json.loads((folder / FAILED).read_text())
        return NonFiniteLoss(failed["epoch"], failed["cause"])
    return RuntimeError(f"the processes of the training ended with {code}")


def main() -> None:
    """Runs one of the processes, as torchrun starts it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("training_id")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--watcher", type=int, required=True)
    arguments = parser.parse_args()
    memory.keep_freed()
    settings = get_settings()
    database, artifacts = Database(settings.database_url), Artifacts(settings.artifacts_url)
    rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    on_gpu = settings.device != "cpu" and torch.cuda.is_available()
    device = torch.device(f"cuda:{os.environ['LOCAL_RANK']}" if on_gpu else "cpu")
    torch.distributed.init_process_group("nccl" if on_gpu else "gloo")
    training = trainings.build(
        database, artifacts, settings, arguments.training_id, device, World(rank, size)
    )
    if (arguments.folder / START).exists():
        training.load_state_dict(torch.load(arguments.folder / START, weights_only=True))

    def watched() -> None:
        os.kill(arguments.watcher, 0)  # raises when the worker is gone, and ends this process with it

    try:
        while not training.done:
            epoch = training.run(watched)
            if rank == 0:
                left = {"epoch": epoch.as_dict(), "training": training.state_dict()}
                torch.save(left, arguments.folder / "draft")
                (arguments.folder / "draft").rename(arguments.folder / f"{training.epoch}.pt")
    except NonFiniteLoss as error:
        if rank == 0:
            (arguments.folder / FAILED).write_text(json.dumps({"epoch": error.epoch, "cause": error.cause}))
    torch.distributed.destroy_process_group()
    os._exit(
        0
    )  # gloo's threads can abort the interpreter's own way out (pytorch/pytorch#179291, PyTorch 2.14.1)


if __name__ == "__main__":
    main()
