"""Docs without a network, probes, problems, limits and idempotency."""

import base64
import io
import json
import re
import time
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Event
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image
from sqlalchemy import update

from app import idempotency
from app.database import now
from app.idempotency import IdempotencyKey
from app.main import ROUTERS, create_app
from app.problems import Problem
from app.routes import Route
from app.settings import Settings
from models.genotypes.published import PUBLISHED
from models.genotypes.text import to_text
from tests.conftest import ONE_DATABASE, Service


def test_the_docs_need_no_network(service: Service) -> None:
    page = service.client.get("/docs")
    assert page.status_code == 200
    addresses = re.findall(r"""(?:src|href)=["']([^"']+)["']|url: ["']([^"']+)["']""", page.text)
    loaded = [first or second for first, second in addresses]
    assert len(loaded) >= 3
    for address in loaded:
        assert address.startswith("/"), address
        assert service.client.get(address).status_code == 200, address
    script = next(a for a in loaded if a.endswith(".js"))
    assert len(service.client.get(script).content) > 100_000


def test_the_schema_describes_every_endpoint(service: Service) -> None:
    paths = service.get("/openapi.json")["paths"]
    for path, methods in paths.items():
        for method, operation in methods.items():
            if path != "/metrics":
                assert operation.get("description"), f"{method} {path}"
    assert "multipart/form-data" in paths["/v1/datasets"]["post"]["requestBody"]["content"]


def test_probes_answer(service: Service) -> None:
    assert service.get("/healthz") == {"status": "ok"}
    assert service.get("/readyz") == {"status": "ok", "workers": 0, "queued_jobs": 0, "warnings": []}
    assert "http_requests_total" in service.client.get("/metrics").text


@pytest.mark.parametrize(
    ("method", "path", "status", "name"),
    [
        ("GET", "/v1/nothing", 404, "not-found"),
        ("GET", "/v1/jobs/job_x", 404, "not-found"),
        ("GET", "/v1/genotypes/gen_x", 404, "not-found"),
        ("GET", "/v1/datasets/ds_x", 404, "not-found"),
        ("GET", "/v1/datasets/ds_x/leaderboard", 404, "not-found"),
        ("GET", "/v1/searches/se_x", 404, "not-found"),
        ("GET", "/v1/trainings/tr_x", 404, "not-found"),
        ("GET", "/v1/latent-spaces/lat_x", 404, "not-found"),
        ("GET", "/v1/latent-spaces/lat_x/map", 404, "not-found"),
        ("GET", "/v1/jobs/job_x/events", 404, "not-found"),
        ("POST", "/v1/jobs/job_x/cancel", 404, "not-found"),
        ("POST", "/v1/jobs/job_x/retry", 404, "not-found"),
        ("DELETE", "/v1/datasets/ds_x", 404, "not-found"),
        ("DELETE", "/v1/genotypes/gen_x", 404, "not-found"),
        ("PUT", "/v1/jobs", 405, "method-not-allowed"),
        ("GET", "/v1/jobs?limit=0", 422, "invalid-request"),
        ("GET", "/v1/jobs?limit=1000000", 422, "invalid-request"),
        ("GET", "/v1/jobs?cursor=x", 422, "invalid-request"),
        ("GET", "/v1/jobs?status=lost", 422, "invalid-request"),
    ],
)
def test_every_error_is_a_problem(service: Service, method: str, path: str, status: int, name: str) -> None:
    answer = service.client.request(method, path)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json()
    assert body["type"] == f"urn:vgae-nas:problem:{name}"
    assert body["status"] == status
    assert body["detail"]


def test_text_that_a_database_cannot_keep_is_no_fault_of_the_service(service: Service) -> None:
    assert service.client.get("/v1/genotypes/a%00b").status_code in (404, 422)
    body = {"text": to_text(PUBLISHED[0].genotype), "name": "a\0b"}
    assert service.client.post("/v1/genotypes", json=body).status_code in (201, 422)


def test_malformed_json_is_a_problem(service: Service) -> None:
    for path in ("/v1/genotypes", "/v1/datasets", "/v1/searches"):
        answer = service.client.post(path, content=b"{", headers={"content-type": "application/json"})
        assert answer.status_code == 422
        assert "JSON" in answer.json()["detail"]


def test_a_fault_of_the_service_is_a_problem_too(service: Service) -> None:
    @service.client.app.get("/fault")
    def fault() -> None:
        raise RuntimeError("secret")

    answer = service.client.get("/fault")
    assert answer.status_code == 500
    assert answer.json()["type"] == "urn:vgae-nas:problem:internal"
    assert "secret" not in answer.text


def test_every_problem_has_a_name_and_a_title_of_its_own() -> None:
    kinds = Problem.__subclasses__()
    assert len({kind.name for kind in kinds}) == len({kind.title for kind in kinds}) == len(kinds)
    assert all(kind.__doc__ for kind in kinds)


@pytest.fixture
def narrow(settings: Settings) -> Iterator[TestClient]:
    """A service that takes bodies of 1,000 bytes, and uploads of 2,000."""
    limited = settings.model_copy(update={"max_body_bytes": 1_000, "max_upload_bytes": 2_000})
    with TestClient(
        create_app(limited), base_url="http://localhost", raise_server_exceptions=False
    ) as client:
        yield client


@pytest.mark.parametrize("headers", [{}, {"Idempotency-Key": "k"}])
def test_a_body_over_the_limit_is_refused_stated_or_streamed(
    narrow: TestClient, headers: dict[str, str]
) -> None:
    headers = {"content-type": "application/json", **headers}
    stated = narrow.post("/v1/genotypes", content=b" " * 1_001, headers=headers)
    streamed = narrow.post("/v1/genotypes", content=iter([b" " * 600, b" " * 600]), headers=headers)
    upload = narrow.post("/v1/datasets", files={"archive": bytes(3_000)}, data={"name": "x"})
    for answer in (stated, streamed, upload):
        assert answer.status_code == 413, answer.text
        assert answer.headers["content-type"] == "application/problem+json"
        assert "limit" in answer.json()["detail"]


def test_a_repeated_post_with_its_key_is_done_once(service: Service, digits: str) -> None:
    body = {"dataset_id": digits, "recipe": "quick"}
    headers = {"Idempotency-Key": "one"}
    first = service.client.post("/v1/searches", json=body, headers=headers)
    again = service.client.post("/v1/searches", json=body, headers=headers)
    assert first.status_code == again.status_code == 202
    assert first.json() == again.json()
    assert again.headers["Location"] == first.headers["Location"]
    assert again.headers["Idempotency-Replayed"] == "true"
    assert len(service.get("/v1/jobs")["items"]) == 1


def test_a_key_belongs_to_one_request(service: Service, digits: str) -> None:
    headers = {"Idempotency-Key": "two"}
    assert service.client.post("/v1/datasets", json={"name": "digits"}, headers=headers).status_code == 201
    other = service.client.post("/v1/datasets", json={"name": "mnist"}, headers=headers)
    assert other.status_code == 422
    assert other.json()["errors"][0]["field"] == "Idempotency-Key"


def test_a_key_in_use_is_a_conflict_and_is_free_after_a_fault(service: Service) -> None:
    until = now() + timedelta(seconds=60)
    with service.database.session() as session:
        session.add(IdempotencyKey(key="busy", fingerprint="", created_at=now(), lease_expires_at=until))
        session.commit()
    body, headers = {"name": "digits"}, {"Idempotency-Key": "busy"}
    busy = service.client.post("/v1/datasets", json=body, headers=headers)
    assert busy.status_code == 409
    assert busy.headers["Retry-After"] == "1"
    with service.database.session() as session:  # its process was killed
        session.execute(update(IdempotencyKey).values(lease_expires_at=now()))
        session.commit()
    assert service.client.post("/v1/datasets", json=body, headers=headers).status_code == 201
    assert service.client.post("/v1/datasets", json=body, headers=headers).headers["Idempotency-Replayed"]

    @service.client.app.post("/fault")
    def fault() -> None:
        raise RuntimeError

    for _ in range(2):
        assert service.client.post("/fault", headers={"Idempotency-Key": "f"}).status_code == 500


def test_an_upload_is_told_by_its_content_and_not_by_its_boundary(service: Service) -> None:
    def post(content: bytes, name: str = "photos") -> Any:
        headers = {"Idempotency-Key": "upload"}
        files = {"archive": ("a.zip", content)}
        return service.client.post("/v1/datasets", files=files, data={"name": name}, headers=headers)

    first, other = zip_of_digits(seed=0), zip_of_digits(seed=1)
    assert len(first) == len(other)
    answer = post(first)
    assert answer.status_code == 201, answer.text
    again = post(first)  # with another boundary, as clients draw one each time
    assert again.headers["Idempotency-Replayed"] == "true"
    assert again.json() == answer.json()
    for refused in (post(other), post(first, "others"), post(first + b"x")):
        assert refused.status_code == 422
        assert refused.json()["errors"][0]["field"] == "Idempotency-Key"
    assert len(service.get("/v1/datasets")["items"]) == 1


@pytest.mark.parametrize("headers", [{}, {"Idempotency-Key": "k"}])
@pytest.mark.parametrize(
    ("boundary", "body"),
    [
        (b"boundary=" + b"x" * 1_000, b"--" + b"x" * 1_000),
        (b"boundary=", b"--"),
        (b"boundary=a", b"--a\r\n" + b"H: v\r\n" * 100),
        (b"boundary=a", b"no form"),
        (b'boundary="\xe9"', b"no form"),
        (b"", b""),
    ],
)
@ONE_DATABASE
def test_what_is_no_form_is_refused(
    service: Service, headers: dict[str, str], boundary: bytes, body: bytes
) -> None:
    kind: Any = {**headers, "content-type": b"multipart/form-data; " + boundary}
    answer = service.client.post("/v1/datasets", content=body, headers=kind)
    assert answer.status_code == 422, answer.text
    assert answer.headers["content-type"] == "application/problem+json"


def zip_of_digits(seed: int) -> bytes:
    """A zip of a few images of noise, as long for every seed."""
    rng = np.random.default_rng(seed)
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for number in range(20):
            image = io.BytesIO()
            Image.fromarray(rng.integers(0, 256, (8, 8), np.uint8)).save(image, "bmp")
            archive.writestr(f"{number % 2}/{number:02}.bmp", image.getvalue())
    return file.getvalue()


def test_a_key_is_renewed_while_its_request_lives(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(idempotency, "LEASE_SECONDS", 0.3)
    started, done = Event(), Event()

    @service.client.app.post("/slow")
    def slow() -> str:
        started.set()
        done.wait(60)
        return "done"

    headers = {"Idempotency-Key": "slow"}
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(service.client.post, "/slow", headers=headers)
        assert started.wait(60)
        time.sleep(1)  # several leases
        assert service.client.post("/slow", headers=headers).status_code == 409
        done.set()
        assert first.result().json() == "done"
    assert service.client.post("/slow", headers=headers).headers["Idempotency-Replayed"] == "true"


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/datasets", '{"name": "a", "folder": "a\\u0000b"}'),
        ("/v1/datasets", '{"name": "a", "folder": "\\ud800"}'),
        ("/v1/datasets", '{"name": "a", "folder": "LONG"}'),
        ("/v1/genotypes", '{"genotype": "\\ud800"}'),
        ("/v1/genotypes", '{"genotype": {"normal": [["\\ud800", 0]]}, "name": "\\ud800"}'),
        ("/v1/trainings", '{"dataset_id": "\\ud800", "genotype_ids": ["g"]}'),
        ("/v1/trainings", '{"dataset_id": "d", "genotype_ids": ["\\ud800"]}'),
        ("/v1/trainings", '{"dataset_id": "d", "genotype_ids": ["g"], "overrides": {"\\ud800": 1}}'),
        ("/v1/trainings", '{"dataset_id": "d", "genotype_ids": ["g"], "recipe": "\\ud800"}'),
        ("/v1/trainings", '{"dataset_id": "d", "genotype_ids": ["g"], "seeds": [DIGITS]}'),
        ("/v1/latent-spaces", '{"genotype_ids": ["g"], "overrides": {"kl_weight": NaN}}'),
    ],
)
def test_hostile_text_is_refused(service: Service, path: str, body: str) -> None:
    dataset = service.post("/v1/datasets", {"name": "digits"})["id"]
    body = body.replace('"d"', f'"{dataset}"').replace("LONG", "x" * 400).replace("DIGITS", "9" * 400)
    answer = service.client.post(path, content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 422, answer.text
    assert answer.json()["detail"]


@pytest.mark.parametrize("values", ['[true, "x"]', f'[{10**200}, "x"]', "[null]", "{}", '["a", "b"]'])
def test_a_cursor_of_another_list_is_refused(service: Service, digits: str, values: str) -> None:
    cursor = base64.urlsafe_b64encode(values.encode()).decode()
    answer = service.client.get(f"/v1/datasets/{digits}/leaderboard", params={"cursor": cursor})
    assert answer.status_code == 422
    assert [error["field"] for error in answer.json()["errors"]] == ["cursor"]


def test_every_route_gives_its_connection_back_with_its_endpoint() -> None:
    routes = [route for router in ROUTERS for route in router.routes]
    assert len(routes) > 40
    assert all(isinstance(route, Route) for route in routes)


def test_every_reference_of_the_openapi_document_resolves(service: Service) -> None:
    document = service.get("/openapi.json")
    found = re.findall(r'"\$ref": "([^"]+)"', json.dumps(document))
    assert len(found) > 100
    for reference in set(found):
        part = document
        assert reference.startswith("#/components/"), reference
        for name in reference.removeprefix("#/").split("/"):
            part = part[name]


def test_the_openapi_document_tells_what_holds_for_all_operations(service: Service) -> None:
    document = service.get("/openapi.json")
    assert document == service.get("/openapi.json")
    key = {"$ref": "#/components/parameters/IdempotencyKey"}
    operations = [(m, o) for path in document["paths"].values() for m, o in path.items()]
    for method, operation in operations:
        assert {"4XX", "503"} <= set(operation["responses"]), operation["operationId"]
        assert (key in operation.get("parameters", [])) == (method == "post")
        if "202" in operation["responses"]:
            assert set(operation["responses"]["202"]["headers"]) == {"Location", "Retry-After"}
    assert len({operation["operationId"] for _, operation in operations}) == len(operations)


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PUT", "/v1/genotypes", "GET, POST"),
        ("POST", "/v1/genotypes/gen_x", "DELETE, GET, PATCH"),
        ("GET", "/v1/genotypes/batch/x", None),
        ("DELETE", "/healthz", "GET"),
    ],
)
def test_a_method_that_a_path_does_not_take_is_answered_with_those_it_takes(
    service: Service, method: str, path: str, allowed: str | None
) -> None:
    answer = service.client.request(method, path)
    assert answer.status_code == (405 if allowed else 404)
    assert answer.headers.get("allow") == allowed
