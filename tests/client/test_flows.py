"""Flows step by step: what is repeated, how long is waited, and that the two clients are the same."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from vgae_nas_client import errors, flows
from vgae_nas_client.flows import Answer, Attempt, Call, Flow, Pause

CLIENT = Path(__file__).parents[2] / "client"
SYNC = sorted((CLIENT / "vgae_nas_client" / "sync").glob("*.py"))


def driven(flow: Flow[Any], answers: list[Answer]) -> tuple[Any, list[Call], list[float]]:
    """What a flow returns, what it asked, and how long it paused."""
    calls, pauses, sent = [], [], None
    left = iter(answers)
    while True:
        try:
            step = flow.send(sent)
        except StopIteration as end:
            return end.value, calls, pauses
        if isinstance(step, Attempt):
            calls.append(step.call)
            sent = next(left)
        else:
            assert isinstance(step, Pause)
            pauses.append(step.seconds)
            sent = None


OK = Answer(200, json={"ok": True})


@given(st.lists(st.sampled_from([0, *flows.PASSING]), max_size=5))
def test_what_fails_in_passing_is_asked_again_under_the_same_key(statuses: list[int]) -> None:
    answers = [*(Answer(status) for status in statuses), OK]
    answer, calls, pauses = driven(flows.send(Call("POST", "/v1/searches", json={}), 5), answers)
    assert answer is OK
    assert len(calls) == len(statuses) + 1
    assert len({call.headers["Idempotency-Key"] for call in calls}) == 1
    assert len(pauses) == len(statuses)
    assert all(0 < pause <= flows.LONGEST_PAUSE for pause in pauses)


@given(st.integers(1, 100))
def test_the_service_says_how_long_to_wait(seconds: int) -> None:
    busy = Answer(429, {"retry-after": str(seconds)})
    _, _, pauses = driven(flows.send(Call("GET", "/v1/jobs"), 5), [busy, OK])
    assert pauses[0] >= seconds


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (401, errors.NeedsKey),
        (403, errors.NeedsKey),
        (404, errors.NotFound),
        (409, errors.Conflict),
        (422, errors.InvalidRequest),
        (413, errors.Refused),
        (500, errors.ServiceFailed),
    ],
)
def test_what_another_attempt_cannot_change_is_raised_at_once(status: int, kind: type[Exception]) -> None:
    problem = {"detail": "no", "errors": [{"field": "name", "detail": "no"}]}
    with pytest.raises(kind) as raised:
        driven(flows.send(Call("GET", "/"), 5), [Answer(status, json=problem)])
    assert type(raised.value) is kind
    assert raised.value.errors == problem["errors"]  # type: ignore[attr-defined]


def test_attempts_end() -> None:
    with pytest.raises(errors.ServiceUnreachable, match="refused"):
        driven(flows.send(Call("GET", "/"), 2), [Answer(0, text="refused")] * 3)
    with pytest.raises(errors.TooManyRequests):
        driven(flows.send(Call("GET", "/"), 1), [Answer(429, {"retry-after": "7"})] * 2)


def test_a_post_that_is_still_worked_on_is_waited_for() -> None:
    busy = Answer(409, {"retry-after": "1"})
    answer, _, pauses = driven(flows.send(Call("POST", "/"), 5), [busy, OK])
    assert answer is OK
    assert pauses[0] >= 1


@pytest.mark.parametrize(
    "path", sorted((CLIENT / "vgae_nas_client" / "sync").glob("*.py")), ids=lambda p: p.name
)
def test_the_client_to_be_awaited_is_written_from_the_other(path: Path) -> None:
    sys.path.insert(0, str(CLIENT))
    try:
        from unasync import converted  # type: ignore[import-not-found]
    finally:
        sys.path.remove(str(CLIENT))
    text, into = converted(path.read_text(encoding="utf-8")), path.parents[1] / "aio" / path.name
    for command in (["check", "--fix", "--quiet"], ["format", "--quiet"]):
        ran = subprocess.run(
            [str(Path(sys.executable).parent / "ruff"), *command, "--stdin-filename", str(into), "-"],
            input=text,
            capture_output=True,
            text=True,
            cwd=CLIENT.parent,
            timeout=120,
        )
        text = ran.stdout
    assert text == into.read_text(encoding="utf-8")
