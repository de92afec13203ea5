"""What can go wrong: one family of errors, so that one `except` catches all of it.

NasError
├── ServiceUnreachable      no answer came, after every retry
├── Refused                 the service answered with a problem
│   ├── InvalidRequest      422: `errors` names the fields
│   ├── NotFound            404
│   ├── Conflict            409
│   ├── NeedsKey            401, 403
│   ├── TooManyRequests     429, after every retry
│   └── ServiceFailed       5xx, after every retry
└── JobFailed               a job that was waited for failed or was cancelled
"""

from typing import Any


class NasError(Exception):
    """Everything that this package raises."""


class ServiceUnreachable(NasError):
    """No answer came from the service."""


class Refused(NasError):
    """The service answered with a problem.

    Args:
        status: of the answer.
        detail: what is wrong and what would be right.
        errors: the fields at fault, each with `field` and `detail`.
    """

    def __init__(self, status: int, detail: str, errors: list[dict[str, str]]) -> None:
        super().__init__(detail)
        self.status, self.detail, self.errors = status, detail, errors


class InvalidRequest(Refused):
    """A field of the request is at fault."""


class NotFound(Refused):
    """There is nothing of this id or name."""


class Conflict(Refused):
    """The state of the thing does not allow this now."""


class NeedsKey(Refused):
    """The service wants a key, or one for more than the given one is for."""


class TooManyRequests(Refused):
    """The key has nothing left for now."""


class ServiceFailed(Refused):
    """The fault is the service's, or it is overloaded."""


class JobFailed(NasError):
    """A job that was waited for ended without a result.

    Args:
        job_id: the job.
        status: `failed` or `cancelled`.
        detail: why.
    """

    def __init__(self, job_id: str, status: str, detail: str) -> None:
        super().__init__(f"job {job_id} {status}: {detail}")
        self.job_id, self.status, self.detail = job_id, status, detail


_KINDS: dict[int, type[Refused]] = {
    401: NeedsKey,
    403: NeedsKey,
    404: NotFound,
    409: Conflict,
    422: InvalidRequest,
    429: TooManyRequests,
}


def of_answer(status: int, body: Any, text: str) -> Refused:
    """The error of an answer that is none of success."""
    problem = body if isinstance(body, dict) else {}
    detail = str(problem.get("detail") or text[:200] or f"the service answered {status}")
    kind = ServiceFailed if status >= 500 else _KINDS.get(status, Refused)
    return kind(status, detail, list(problem.get("errors") or []))
