"""The job kind `distances`: measures how far a data set is from all others."""

from typing import Any

from sqlalchemy.orm import Session

from app.datasets.neighbors import measure_all
from worker.runner import Finish, Run


def run(run: Run) -> Finish:
    """Measures what is not known yet."""

    def between(done: int, count: int) -> None:
        run.check()
        run.progress, run.step = done / count, f"distance {done + 1} of {count}"

    known = measure_all(run.database, run.params["dataset_id"], run.settings, run.artifacts, between)

    def finish(session: Session) -> tuple[dict[str, Any], dict[str, str]]:
        return {"distances": known}, {}

    return finish
