"""One attempt at one job, in this process: how it ends, and what it leaves."""

from collections.abc import Callable
from threading import Event
from typing import Any

import pytest
from sqlalchemy import text

from app.jobs import service as jobs
from app.jobs.tables import Job
from models.datasets.data import DataError
from tests.conftest import Service
from worker.runner import Finish, LeaseLost, Run, execute


def start(service: Service, body: Callable[[Run], Finish], stopping: Event | None = None) -> Job:
    """Runs a job whose kind is the given function; the job afterwards."""
    with service.database.session() as session:
        job_id = jobs.create(session, "search", {}, {}).id
        session.commit()
    kinds = {"search": body}
    execute(job_id, kinds, service.database, service.artifacts, service.settings, stopping or Event())
    with service.database.session(reads_only=True) as session:
        return jobs.get(session, job_id)


def done(_: Any) -> tuple[dict[str, Any], dict[str, str]]:
    return {"answer": 42}, {"thing": "/v1/things/1"}


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
