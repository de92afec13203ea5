"""The job kind `export`: makes a file of a genotype's network and keeps it."""

from typing import Any

from sqlalchemy.orm import Session

from app.exports import service as exports
from app.exports.service import Order
from worker.runner import Finish, Run


def run(run: Run) -> Finish:
    """Makes the file, which takes seconds to minutes."""
    order = Order.from_dict(run.params)
    run.step = f"making {order.file}"
    with run.database.session(reads_only=True) as session:
        content = exports.make(session, order, run.artifacts)
    run.check()
    run.artifacts.put(order.key, content)

    def finish(session: Session) -> tuple[dict[str, Any], dict[str, str]]:
        return {"file": order.file, "bytes": len(content)}, {}

    return finish
