"""Sends jobs to an MLflow server: a run each, with parameters, metrics by epoch, and the exported model.

It reads the jobs' events from the database, beside the requests of an API process, so that a server that is
slow or away delays no job and loses nothing: what was not sent is sent later.
"""

import io
import json
import logging
import tempfile
import threading
import zipfile
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Select, func, or_, select, update
from sqlalchemy.exc import IntegrityError, SQLAlchemyError
from sqlalchemy.orm import Session

from app.artifacts import Artifacts
from app.database import Database, now
from app.datasets.tables import Dataset
from app.jobs.tables import Job, JobEvent, JobKind, JobStatus
from app.latent_spaces.tables import LatentSpace
from app.searches.tables import Search
from app.settings import Settings
from app.tracking.tables import TrackedJob
from app.trainings.tables import Training

logger = logging.getLogger(__name__)

KINDS = (JobKind.SEARCH, JobKind.FIT, JobKind.TRAIN, JobKind.EXPORT)
EXPERIMENT = "vgae-nas"
POLL_SECONDS = 2.0
AT_ONCE = 50
"""Jobs of one look, and events of one request in hundreds."""

ENDS = {JobStatus.SUCCEEDED: "FINISHED", JobStatus.FAILED: "FAILED", JobStatus.CANCELLED: "KILLED"}
"""What MLflow calls the ends of jobs."""


class Mirror:
    """Sends what happens in jobs for as long as a process lives.

    Args:
        database, settings, artifacts: of the service; the settings name the server.
    """

    def __init__(self, database: Database, settings: Settings, artifacts: Artifacts) -> None:
        from mlflow import MlflowClient  # an extra: `pip install vgae-nas[mlflow]`

        self.database, self.artifacts = database, artifacts
        self.client = MlflowClient(tracking_uri=settings.mlflow_url, registry_uri=settings.mlflow_url)
        self._began = now()
        self._experiment: str | None = None
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._until_stopped, daemon=True)

    def start(self) -> None:
        """Begins."""
        self._thread.start()

    def stop(self) -> None:
        """Ends after what is in hand."""
        self._stopping.set()
        self._thread.join(10)

    def once(self) -> int:
        """Sends what has happened since the last time; in how many jobs."""
        with self.database.session(reads_only=True) as session:
            found = session.execute(_changed(self._began)).all()
        for job, events in found:
            if self._stopping.is_set():
                break
            self._send(job, events or 0)
        return len(found)

    def _until_stopped(self) -> None:
        from mlflow.exceptions import MlflowException

        while not self._stopping.wait(POLL_SECONDS):
            try:
                self.once()
            except (SQLAlchemyError, MlflowException, OSError) as error:
                logger.warning("jobs are not tracked for now (%s)", str(error)[:500])

    def _send(self, job: Job, sent: int) -> None:
        """Sends the events of a job with numbers above `sent`, and its end."""
        if job.kind is JobKind.EXPORT:
            self._send_model(job)
            return self._note(job.id, job.event_count)
        run_id = self._run(job)
        if run_id is None:
            return  # another process has it
        with self.database.session(reads_only=True) as session:
            query = select(JobEvent).where(JobEvent.job_id == job.id, JobEvent.number > sent)
            events = session.scalars(query.order_by(JobEvent.number)).all()
        metrics = [metric for event in events for metric in _metrics(event)]
        for start in range(0, len(metrics), 500):
            self.client.log_batch(run_id, metrics=metrics[start : start + 500])
        if job.status.is_final:
            last = {name: value for name, value in (job.result or {}).items() if _is_number(value)}
            self.client.log_batch(
                run_id, metrics=[_metric(name, v, job.finished_at, 0) for name, v in last.items()]
            )
            ended = None if job.finished_at is None else _milliseconds(job.finished_at)
            self.client.set_terminated(run_id, ENDS[job.status], ended)
        self._note(job.id, max([sent, *(event.number for event in events)]))

    def _run(self, job: Job) -> str | None:
        """The run of a job, made if there is none; `None` while another process makes it."""
        with self.database.session() as session:
            row = session.get(TrackedJob, job.id)
            if row is not None:
                return row.run_id
            session.add(TrackedJob(job_id=job.id, events=0, created_at=now()))
            try:
                session.commit()
            except IntegrityError:
                return None
            parameters = _parameters(session, job)
        if self._experiment is None:
            known = self.client.get_experiment_by_name(EXPERIMENT)
            self._experiment = known.experiment_id if known else self.client.create_experiment(EXPERIMENT)
        tags = {"vgae_nas.job_id": job.id, "vgae_nas.kind": job.kind.value, "mlflow.runName": job.id}
        try:
            run = self.client.create_run(self._experiment, _milliseconds(job.created_at), tags, job.id)
            self.client.log_batch(run.info.run_id, params=[_parameter(*item) for item in parameters.items()])
        except BaseException:
            with self.database.session() as session:  # so that another attempt is made
                session.delete(session.get_one(TrackedJob, job.id))
                session.commit()
            raise
        run_id: str = run.info.run_id
        with self.database.session() as session:
            session.execute(update(TrackedJob).where(TrackedJob.job_id == job.id).values(run_id=run_id))
            session.commit()
        return run_id

    def _send_model(self, job: Job) -> None:
        """Adds an exported model to the run of its training, and registers it."""
        training_id = job.params["asked"].get("training_id")
        if job.status is not JobStatus.SUCCEEDED or job.params["file"] != "model.zip" or training_id is None:
            return
        with self.database.session(reads_only=True) as session:
            query = select(TrackedJob.run_id, Training.dataset_id).join(
                Training, Training.job_id == TrackedJob.job_id
            )
            found = session.execute(query.where(Training.id == training_id)).first()
            if found is None or found.run_id is None:
                return
            dataset = session.get_one(Dataset, found.dataset_id).name
        from app.exports.service import Order

        content = self.artifacts.get(Order.from_dict(job.params).key)
        with tempfile.TemporaryDirectory(prefix="vgae-nas-") as folder:
            with zipfile.ZipFile(io.BytesIO(content)) as archive:
                archive.extractall(folder)
            (Path(folder) / "MLmodel").write_text(_mlmodel(found.run_id), encoding="utf-8")
            self.client.log_artifacts(found.run_id, folder, "model")
        name = f"vgae-nas-{dataset}"
        if not self.client.search_registered_models(f"name = '{name}'"):
            self.client.create_registered_model(name)
        source = f"{self.client.get_run(found.run_id).info.artifact_uri}/model"
        self.client.create_model_version(name, source, found.run_id, {"vgae_nas.training_id": training_id})

    def _note(self, job_id: str, events: int) -> None:
        with self.database.session() as session:
            row = session.get(TrackedJob, job_id)
            if row is None:
                session.add(TrackedJob(job_id=job_id, events=events, created_at=now()))
            else:
                row.events = events
            session.commit()


def _changed(began: datetime) -> Select[Job, int]:
    """The jobs in which something has happened that was not sent, with the number of the last event that was.

    What was over when the process began and is no run yet is left as it is.
    """
    sent = func.coalesce(TrackedJob.events, 0)
    query = select(Job, TrackedJob.events).outerjoin(TrackedJob, TrackedJob.job_id == Job.id)
    lives = or_(Job.finished_at.is_(None), Job.finished_at >= began, TrackedJob.job_id.is_not(None))
    starts = or_(Job.kind != JobKind.EXPORT, Job.status == JobStatus.SUCCEEDED)
    return (
        query.where(Job.kind.in_(KINDS), Job.event_count > sent, lives, starts)
        .order_by(Job.id)
        .limit(AT_ONCE)
    )


def _parameters(session: Session, job: Job) -> Mapping[str, Any]:
    """What was asked of a job: its recipe with every field, its seed and data set."""
    tables = {JobKind.SEARCH: Search, JobKind.FIT: LatentSpace, JobKind.TRAIN: Training}
    table: Any = tables[job.kind]
    row = session.scalars(select(table).where(table.job_id == job.id)).one()
    told = {
        name: getattr(row, name, None)
        for name in ("recipe", "preset", "seed", "genotype_id", "reference", "arm")
    }
    dataset_id = getattr(row, "dataset_id", None)
    if dataset_id is not None:
        told["dataset"] = session.get_one(Dataset, dataset_id).name
    return {name: value for name, value in {**told, **row.settings}.items() if value is not None}


def _metrics(event: JobEvent) -> Iterator[Any]:
    """The figures of a report of progress, by its epoch."""
    if event.type != "progress":
        return
    epoch = int(event.data.get("epoch", event.number))
    flat = {**event.data, **(event.data.get("losses") or {})}
    for name, value in flat.items():
        if name != "epoch" and _is_number(value):
            yield _metric(name, value, event.at, epoch)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _metric(name: str, value: float, at: datetime | None, step: int) -> Any:
    from mlflow.entities import Metric

    return Metric(name, float(value), _milliseconds(at or now()), step)


def _parameter(name: str, value: Any) -> Any:
    from mlflow.entities import Param

    return Param(name, str(value)[:6_000])


def _milliseconds(moment: datetime) -> int:
    return int(1_000 * moment.timestamp())


def _mlmodel(run_id: str) -> str:
    """The description by which MLflow loads the folder as an ONNX model; JSON, which is YAML too."""
    flavors = {
        "onnx": {"data": "model.onnx", "code": None},
        "python_function": {"loader_module": "mlflow.onnx", "data": "model.onnx", "env": None},
    }
    return json.dumps({"artifact_path": "model", "flavors": flavors, "run_id": run_id}, indent=1)
