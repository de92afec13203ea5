"""Every request has an id, headers that keep browsers safe, a host that is checked, and is counted."""

import json
import logging

import pytest
from fastapi.testclient import TestClient

from app import logs
from app.main import create_app
from app.settings import Settings
from tests.conftest import ONE_DATABASE, Service


def test_a_request_id_is_kept_if_it_is_one_and_made_if_not(service: Service) -> None:
    given = service.client.get("/v1/jobs", headers={"X-Request-ID": "build-17.a"})
    assert given.headers["x-request-id"] == "build-17.a"
    made = [service.client.get("/v1/jobs").headers["x-request-id"] for _ in range(2)]
    assert len({*made}) == 2
    for bad in ("", "a b", "x" * 200, "\xe9"):
        answer = service.client.get("/v1/jobs", headers={"X-Request-ID": bad.encode("latin-1")})
        assert answer.headers["x-request-id"] not in (bad, "")


def test_a_job_keeps_the_id_of_its_request(service: Service, digits: str) -> None:
    body = {"dataset_id": digits, "recipe": "quick", "method": "random"}
    answer = service.client.post("/v1/searches", json=body, headers={"X-Request-ID": "mine"})
    job = service.get(answer.headers["Location"])
    assert job["request_id"] == "mine"
    assert service.client.get("/v1/jobs/none").headers["x-request-id"] != "mine"


@ONE_DATABASE
def test_a_fault_of_the_service_is_answered_and_logged_with_the_id(
    service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    @service.client.app.get("/fault")
    def fault() -> None:
        raise RuntimeError("secret")

    answer = service.client.get("/fault", headers={"X-Request-ID": "lost"})
    assert (answer.status_code, answer.headers["x-request-id"]) == (500, "lost")
    (record,) = [record for record in caplog.records if record.exc_info and record.name == "app.problems"]
    assert record.__dict__["request_id"] == "lost"


@ONE_DATABASE
def test_browsers_are_told_what_they_may_do_with_answers(service: Service) -> None:
    for path in ("/v1/jobs", "/v1/nothing", "/docs", "/metrics"):
        headers = service.client.get(path).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert "script-src" not in service.client.get("/v1/jobs").headers["content-security-policy"]
    assert "script-src 'self'" in service.client.get("/docs").headers["content-security-policy"]


@pytest.mark.parametrize(
    ("allowed", "host", "status"),
    [
        ((), "localhost:8000", 200),
        ((), "127.0.0.1", 200),
        ((), "[::1]:8000", 200),
        ((), "evil.example", 421),
        ((), "localhost.evil.example", 421),
        ((), "[::", 421),
        ((), "", 421),
        (("nas.example.org", "*.lab.example"), "nas.example.org:443", 200),
        (("nas.example.org", "*.lab.example"), "a.lab.example", 200),
        (("nas.example.org", "*.lab.example"), "lab.example", 421),
        (("nas.example.org", "*.lab.example"), "localhost", 200),
        (("nas.example.org", "*.lab.example"), "example.org", 421),
        (("*",), "anything", 200),
    ],
)
@ONE_DATABASE
def test_a_request_for_another_host_is_refused(
    settings: Settings, allowed: tuple[str, ...], host: str, status: int
) -> None:
    named = Settings(**{**settings.model_dump(), "allowed_hosts": allowed})
    with TestClient(create_app(named), base_url="http://localhost") as client:
        answer = client.get("/v1/jobs", headers={"Host": host})
    assert answer.status_code == status
    if status == 421:
        assert "allowed_hosts" in answer.json()["detail"]


@ONE_DATABASE
def test_requests_are_counted_by_the_path_of_their_route(service: Service, digits: str) -> None:
    for _ in range(3):
        service.client.get("/v1/jobs/job_x")
    service.post("/v1/searches", {"dataset_id": digits, "recipe": "quick", "method": "random"})
    text = service.client.get("/metrics").text
    counted = 'http_requests_total{handler="/v1/jobs/{job_id}",method="GET",status="404"}'
    (line,) = [line for line in text.splitlines() if line.startswith(counted)]
    assert float(line.split()[-1]) >= 3
    assert 'vgae_nas_jobs{kind="search",status="queued"} 1.0' in text
    assert 'vgae_nas_jobs{kind="fit",status="queued"} 0.0' in text
    assert "vgae_nas_workers 0.0" in text


def test_the_log_is_json_for_programs_with_what_a_line_belongs_to(capfd: pytest.CaptureFixture[str]) -> None:
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    try:
        logs.configure("json")
        logs.bind(request_id="r", job_id=None)
        logging.getLogger("app.test").warning("it is %s", "so", extra={"status": 404})
        logs.unbind()
        logging.getLogger("app.test").warning("and so on")
    finally:
        root.handlers[:] = before
        root.setLevel(level)
    first, second = [json.loads(line) for line in capfd.readouterr().err.splitlines()]
    assert (first["event"], first["request_id"], first["status"]) == ("it is so", "r", 404)
    assert (first["level"], first["logger"]) == ("warning", "app.test")
    assert "job_id" not in first
    assert "request_id" not in second
