"""What the client does, step by step, for both kinds of client.

A flow is a generator: it yields what is to be done, a request or a pause, is sent what came of it, and
returns its result. So each is written once, and `Client` and `AsyncClient` differ in how they do a step.
"""

import time
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from random import SystemRandom
from typing import Any, TypeVar
from uuid import uuid4

from vgae_nas_client.errors import JobFailed, NotFound, ServiceUnreachable, of_answer
from vgae_nas_client.shapes import JobInfo

T = TypeVar("T")

LONGEST_PAUSE = 30.0
"""Seconds between two attempts, unless the service asks for more."""

FIRST_PAUSE = 0.5

WAIT_SECONDS = 20
"""Seconds for which the service holds a question for a job that is not over."""

PAGE = 200

PASSING = (408, 425, 429, 502, 503, 504)
"""Answers that another attempt can change."""


@dataclass(frozen=True)
class Call:
    """A request.

    Args:
        method, path: of it.
        params: of its query; `None` values are left out.
        json: its body.
        form: the fields of a form, in the place of `json`.
        file: a file of that form, as its field and path.
        headers: of it.
    """

    method: str
    path: str
    params: Mapping[str, Any] = field(default_factory=dict)
    json: Any = None
    form: Mapping[str, Any] | None = None
    file: tuple[str, Path] | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Attempt:
    """One attempt at a call."""

    call: Call


@dataclass(frozen=True)
class Pause:
    """Some seconds in which nothing is done."""

    seconds: float


@dataclass(frozen=True)
class Answer:
    """What came of an attempt; `status` 0 where no answer came, with the reason in `text`."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    content: bytes = b""
    json: Any = None
    text: str = ""


Step = Attempt | Pause
Flow = Generator[Step, Any, T]
Watch = Callable[[JobInfo], None]


def send(call: Call, retries: int) -> Flow[Answer]:
    """A call that is repeated while that can help; a POST carries a key, so that repeating is safe.

    Raises:
        ServiceUnreachable: no answer came at the last attempt.
        Refused: the service answered with a problem.
    """
    if call.method == "POST":
        call = Call(**{**vars(call), "headers": {"Idempotency-Key": uuid4().hex, **call.headers}})
    pause = FIRST_PAUSE
    for left in range(retries, -1, -1):
        answer: Answer = yield Attempt(call)
        if answer.status and answer.status < 400:
            return answer
        passing = answer.status == 0 or answer.status in PASSING or _is_busy(answer)
        if not left or not passing:
            break
        asked = answer.headers.get("retry-after", "")
        yield Pause(max(float(asked) if asked.isdigit() else 0.0, pause * SystemRandom().uniform(0.5, 1.0)))
        pause = min(2 * pause, LONGEST_PAUSE)
    if not answer.status:
        raise ServiceUnreachable(f"no answer from the service: {answer.text}")
    raise of_answer(answer.status, answer.json, answer.text)


def _is_busy(answer: Answer) -> bool:
    """Whether an earlier attempt with the same key is still being worked on."""
    return answer.status == 409 and "retry-after" in answer.headers


def get(path: str, retries: int, **params: Any) -> Flow[Any]:
    """The JSON of a GET."""
    answer = yield from send(Call("GET", path, params), retries)
    return answer.json


def post(path: str, retries: int, body: Any = None) -> Flow[Any]:
    """The JSON of a POST; what is `None` in its body is left out."""
    if isinstance(body, dict):
        body = {key: value for key, value in body.items() if value is not None}
    answer = yield from send(Call("POST", path, json=body), retries)
    return answer.json


def page(path: str, retries: int, cursor: str | None, **params: Any) -> Flow[tuple[list[Any], str | None]]:
    """One page of a list, and the cursor of the next."""
    found = yield from get(path, retries, cursor=cursor, limit=PAGE, **params)
    return found["items"], found["next_cursor"]


def wait(job_id: str, retries: int, seconds: float | None, watch: Watch | None) -> Flow[JobInfo]:
    """A job once it is over.

    Args:
        job_id: the job.
        retries: of each request.
        seconds: to wait at most; `None` for as long as it takes.
        watch: called with what the job is, now and then.

    Raises:
        TimeoutError: it was not over in time; it goes on.
        JobFailed: it failed or was cancelled.
    """
    began = time.monotonic()
    while True:
        left = None if seconds is None else seconds - (time.monotonic() - began)
        held = WAIT_SECONDS if left is None else max(0.0, min(WAIT_SECONDS, left))
        if watch is not None:
            held = min(held, 1.0)
        job = JobInfo.model_validate((yield from get(f"/v1/jobs/{job_id}", retries, wait=round(held, 2))))
        if watch is not None:
            watch(job)
        if job.status == "succeeded":
            return job
        if job.is_over:
            detail = str((job.error or {}).get("detail", "it was asked to stop"))
            raise JobFailed(job.id, job.status, detail)
        if left is not None and left <= 0:
            raise TimeoutError(f"job {job.id} is {job.status} after {seconds} s, and goes on")


def file(path: str, retries: int, **params: Any) -> Flow[bytes]:
    """A file that the service has, or that a job makes first."""
    answer = yield from send(Call("GET", path, params), retries)
    if answer.status == 202:
        yield from wait(answer.json["id"], retries, None, None)
        answer = yield from send(Call("GET", path, params), retries)
    return answer.content


def upload(archive: Path, fields: Mapping[str, Any], retries: int) -> Flow[Any]:
    """The data set of an archive of images."""
    form = {key: str(value) for key, value in fields.items() if value is not None}
    call = Call("POST", "/v1/datasets", form=form, file=("archive", archive))
    answer = yield from send(call, retries)
    return answer.json


def known_dataset(name: str, retries: int, download: bool) -> Flow[Any]:
    """A data set by name: one that is there, or that the service knows."""
    try:
        found = yield from get(f"/v1/datasets/{name}", retries)
        if found["source"] != "facts":
            return found
    except NotFound:
        pass
    return (yield from post("/v1/datasets", retries, {"name": name, "download": download}))


def archive_members(folder: Path) -> Iterator[tuple[Path, str]]:
    """The files of a folder of images with their names in an archive; hidden ones are left out."""
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        if path.is_file() and not any(part.startswith((".", "__MACOSX")) for part in name.parts):
            yield path, name.as_posix()
