"""The job kind `round`: chooses what a campaign trains next."""

from typing import Any

from sqlalchemy.orm import Session

from app.campaigns import rounds
from worker.runner import Finish, Run


def run(run: Run) -> Finish:
    """Looks at what has ended, and starts what comes next."""
    campaign_id = run.params["campaign_id"]
    planned = rounds.plan(run.database, campaign_id, run.settings, run.artifacts)
    run.check()

    def finish(session: Session) -> tuple[dict[str, Any], dict[str, str]]:
        started = rounds.store(session, campaign_id, run.job_id, planned)
        return {"started": len(started), "ended": planned.ended}, {}

    return finish
