"""One attempt at one job, in this process: how it ends, and what it leaves."""

import base64
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Any

import pytest
import torch
from sqlalchemy import text

from app.database import now
from app.jobs import service as jobs
from app.jobs.tables import Job
from models.datasets.data import DataError
from tests.conftest import Service
from worker.runner import Finish, LeaseLost, Run, without_paths


def start(service: Service, body: Callable[[Run], Finish], stopping: Event | None = None) -> Job:
    """Runs a job whose kind is the given function; the job afterwards."""
    with service.database.session() as session:
        job_id = jobs.create(session, "search", {}, {}, seconds=60).id
        session.commit()
    service.run_job(job_id, {"search": body}, stopping)
    with service.database.session(reads_only=True) as session:
        return jobs.get(session, job_id)


def done(_: Any) -> tuple[dict[str, Any], dict[str, str]]:
    return {"answer": 42}, {"thing": "/v1/things/1"}


@dataclass(frozen=True)
class Steps:
    """The report of a trainer that only takes its time."""

    epoch: int

    def as_dict(self) -> dict[str, Any]:
        return {"epoch": self.epoch}


class Slow:
    """A trainer of two epochs of many short steps, which looks at its job after each."""

    STEPS = 40

    def __init__(self, look: Callable[[], Job]) -> None:
        self.epoch, self.epochs, self.fraction, self.look = 0, 2, 0.0, look
        self.seen: list[tuple[float, str, float | None]] = []

    @property
    def done(self) -> bool:
        return self.epoch >= self.epochs

    @property
    def progress(self) -> float:
        return (self.epoch + self.fraction) / self.epochs

    def run(self, between_steps: Callable[[], None]) -> Steps:
        for step in range(self.STEPS):
            between_steps()
            time.sleep(0.05)
            self.fraction = (step + 1) / self.STEPS
            job = self.look()
            left = None if job.eta_at is None else (job.eta_at - now()).total_seconds()
            self.seen.append((job.progress, job.step, left))
        self.epoch, self.fraction = self.epoch + 1, 0.0
        return Steps(self.epoch)

    def state_dict(self) -> dict[str, Any]:
        return {"epoch": self.epoch}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.epoch = state["epoch"]


def test_progress_and_the_expected_end_move_within_an_epoch(service: Service) -> None:
    trainers: list[Slow] = []

    def body(run: Run) -> Finish:
        def look() -> Job:
            with service.database.session(reads_only=True) as session:
                return jobs.get(session, run.job_id)

        trainers.append(Slow(look))
        assert [report["epoch"] for report in run.epochs(trainers[0]).history] == [1, 2]
        return done

    job = start(service, body)
    assert (job.status, job.progress, job.eta_at) == ("succeeded", 1.0, None)
    seen = trainers[0].seen
    within_the_first = {progress for progress, _, _ in seen[: Slow.STEPS]} - {0.0}
    assert len(within_the_first) >= 3
    assert max(within_the_first) < 0.5
    progresses = [progress for progress, _, _ in seen]
    assert progresses == sorted(progresses)
    assert {step for _, step, _ in seen} >= {"epoch 1 of 2", "epoch 2 of 2"}
    expected = [left for _, _, left in seen if left is not None]
    assert expected
    assert expected[-1] < expected[0]


def test_a_checkpoint_of_an_earlier_version_starts_the_job_anew(service: Service) -> None:
    def body(run: Run) -> Finish:
        run.report(0.5, "half", checkpoint={"search": {"epoch": 1}, "history": [], "seconds": 1.0})
        trainer = Slow(lambda: Job(progress=0.0, step="", eta_at=None))
        assert len(run.epochs(trainer).history) == 2
        return done

    assert start(service, body).status == "succeeded"


def test_a_finished_job_keeps_its_result_and_drops_its_checkpoints(service: Service) -> None:
    def body(run: Run) -> Finish:
        run.report(0.5, "half", {"n": 1}, {"state": [1, 2]})
        assert run.load_checkpoint() == {"state": [1, 2]}
        return done

    job = start(service, body)
    assert (job.status, job.result, job.links) == ("succeeded", {"answer": 42}, {"thing": "/v1/things/1"})
    assert job.checkpoint_key is not None
    with pytest.raises(FileNotFoundError):
        service.artifacts.get(job.checkpoint_key)


@pytest.mark.parametrize(
    ("error", "detail"),
    [
        (DataError("the images are gone"), "the images are gone"),
        (
            OSError(28, "No space left on device"),
            "a file could not be read or written: No space left on device",
        ),
        (ZeroDivisionError("x"), "ZeroDivisionError: x (in body)"),
    ],
)
def test_an_error_fails_the_job_with_its_cause(service: Service, error: Exception, detail: str) -> None:
    def body(run: Run) -> Finish:
        run.report(0.5, "half", checkpoint={"n": 1})
        raise error

    job = start(service, body)
    assert job.status == "failed"
    assert job.error is not None
    assert job.error["detail"] == detail
    assert job.checkpoint_key is not None
    assert service.artifacts.get_tensors(job.checkpoint_key) == {"n": 1}  # kept, for a retry


def test_a_worker_that_is_stopping_gives_the_job_back(service: Service) -> None:
    stopping = Event()

    def body(run: Run) -> Finish:
        run.report(0.5, "half", checkpoint={"n": 1})
        stopping.set()
        run.check()
        return done

    job = start(service, body, stopping)
    assert (job.status, job.attempt, job.progress) == ("queued", 0, 0.5)
    folder = service.settings.broker_url.removeprefix("filesystem://")
    (message,) = (Path(folder) / "messages").iterdir()  # for whoever is idle
    content = json.loads(message.read_text())
    assert job.id in base64.b64decode(content["body"]).decode()


def test_a_worker_that_lost_its_lease_leaves_everything(service: Service) -> None:
    def body(run: Run) -> Finish:
        run.report(0.5, "half", checkpoint={"n": 1})
        with service.database.session() as session:
            session.execute(text("UPDATE jobs SET lease_token = 'other'"))
            session.commit()
        with pytest.raises(LeaseLost):
            run.report(0.7, "late", checkpoint={"n": 2})
        return done

    job = start(service, body)
    assert (job.status, job.progress, job.result) == ("running", 0.5, None)


def test_what_a_job_made_and_its_end_are_one_transaction(service: Service) -> None:
    def body(run: Run) -> Finish:
        def fails_half_way(session: Any) -> tuple[dict[str, Any], dict[str, str]]:
            session.execute(text('UPDATE jobs SET links = \'{"half": "written"}\''))
            raise ValueError("half-way")

        return fails_half_way

    job = start(service, body)
    assert (job.status, job.links) == ("failed", {})


def test_a_missing_checkpoint_starts_the_job_anew(service: Service) -> None:
    def body(run: Run) -> Finish:
        run.report(0.5, "half", checkpoint={"n": 1})
        service.artifacts.delete("jobs")
        assert run.load_checkpoint() is None
        return done

    assert start(service, body).status == "succeeded"


def test_the_next_job_tries_all_threads_again(service: Service) -> None:
    before = torch.get_num_threads()

    def body(run: Run) -> Finish:
        torch.set_num_threads(before + 1)
        return done

    assert start(service, body).status == "succeeded"
    assert torch.get_num_threads() == before


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("no file '/srv/nas/artifacts/jobs/a.pt'", "no file 'a.pt'"),
        ("[Errno 2] /srv/x: gone", "[Errno 2] x: gone"),
        ("3/4 of https://example.org/a/b and 1 / 2", "3/4 of https://example.org/a/b and 1 / 2"),
        ("expected [16, 3] and/or [16]", "expected [16, 3] and/or [16]"),
        ('File "/usr/lib/python3.11/site-packages/torch/nn.py", line 3', 'File "nn.py", line 3'),
    ],
)
def test_a_failure_tells_no_path_of_the_machine(text: str, told: str) -> None:
    assert without_paths(text) == told
