"""The ceiling of `make bench-api`: FastAPI as its tutorial writes it, and one query by primary key."""

import os
from typing import Any

from fastapi import FastAPI
from sqlalchemy import create_engine, select

from app.jobs.tables import Job


def create_app() -> FastAPI:
    """The application, on the database of `VGAE_NAS_DATABASE_URL`."""
    engine = create_engine(os.environ["VGAE_NAS_DATABASE_URL"], pool_size=10, max_overflow=10)
    app = FastAPI()

    @app.get("/jobs/{job_id}")
    def get_job(job_id: str) -> dict[str, Any]:
        columns = (Job.id, Job.kind, Job.status, Job.progress, Job.step, Job.created_at)
        with engine.connect() as connection:
            row = connection.execute(select(*columns).where(Job.id == job_id)).one()
        return dict(row._mapping)

    return app
