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
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
import torch.distributed

from app.artifacts import Artifacts
from app.database import Database
from app.settings import Settings, get_settings
from models.search import NonFiniteLoss
from models.world import World
from worker import memory
from worker.runner import Run

START, FAILED = "start.pt", "failed.json"

POLL_SECONDS = 0.1
"""Between two looks at the folder."""


def epochs(run: Run, training_id: str, processes: int, state: Any | None) -> Iterator[dict[str, Any]]:
    """What every epoch left: `epoch`, as it is reported, and `training`, a state.

    The processes end when the iterator does, however that is.

    Args:
        run: of the job.
        training_id: what to train.
        processes: how many.
        state: a training's state to go on from.

    Raises:
        NonFiniteLoss: as in one process.
        RuntimeError: the processes ended before their time.
        Cancelled, LeaseLost, Stopping: what the run was told meanwhile.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if state is not None:
            torch.save(state, folder / START)
        process = _launch(run.settings, training_id, processes, folder)
        number = state["epoch"] if state is not None else 0
        try:
            while True:
                run.check()
                ended = process.poll() is not None  # asked first: what was left before the end is then seen
                found = folder / f"{number + 1}.pt"
                if found.exists():
                    number += 1
                    yield torch.load(found, map_location="cpu", weights_only=True)
                    found.unlink()
                elif ended:
                    return _raise_if_failed(folder, process.returncode)
                else:
                    time.sleep(POLL_SECONDS)
        finally:
            _stop(process)


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


def _raise_if_failed(folder: Path, code: int) -> None:
    if (folder / FAILED).exists():
        failed = json.loads((folder / FAILED).read_text())
        raise NonFiniteLoss(failed["epoch"], failed["cause"])
    if code:
        raise RuntimeError(f"the processes of the training ended with {code}")


def main() -> None:
    """One of the processes, as torchrun starts it."""
    from worker.train import build

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
    training = build(database, artifacts, settings, arguments.training_id, device, World(rank, size))
    if (arguments.folder / START).exists():
        training.load_state_dict(torch.load(arguments.folder / START, weights_only=True))

    def watched() -> None:
        os.kill(arguments.watcher, 0)  # raises when the worker is gone, and ends this process with it

    try:
        while training.epoch < training.recipe.epochs:
            epoch = training.run_epoch(watched)
            if rank == 0:
                left = {"epoch": epoch.as_dict(), "training": training.state_dict()}
                torch.save(left, arguments.folder / "draft")
                (arguments.folder / "draft").rename(arguments.folder / f"{training.epoch}.pt")
    except NonFiniteLoss as error:
        if rank == 0:
            (arguments.folder / FAILED).write_text(json.dumps({"epoch": error.epoch, "cause": error.cause}))
    torch.distributed.destroy_process_group()
    os._exit(0)  # now and then gloo's threads abort the interpreter's own way out


if __name__ == "__main__":
    main()
