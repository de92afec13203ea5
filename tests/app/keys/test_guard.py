"""Keys: every route asks for one once there is any, and each opens what it is for."""

import re
import time
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient

from app.keys import guard, service
from app.keys.guard import PUBLIC
from app.keys.schemas import KeyIn
from app.keys.tables import KeyScope
from app.main import create_app
from app.settings import Settings
from tests.conftest import ONE_DATABASE, Service


@pytest.fixture(autouse=True)
def _fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was made or revoked a moment ago is known."""
    monkeypatch.setattr(guard, "FRESH_SECONDS", 0.0)


def key(running: Service, scope: str = "write", name: str | None = None, **limits: str) -> dict[str, str]:
    """The header of a new key."""
    request = KeyIn.model_validate({"name": name or scope, "scope": scope, **limits})
    with running.database.session() as session:
        return {"Authorization": f"Bearer {service.create(session, request)[1]}"}


def routes(running: Service) -> Iterator[tuple[str, str]]:
    """Every method and path of the application, with something in the place of its parameters."""
    for path, methods in running.get("/openapi.json")["paths"].items():
        for method in methods:
            yield method.upper(), re.sub(r"\{[^}]*\}", "x", path)


def test_every_route_needs_a_key_once_there_is_one(service: Service) -> None:
    walked = list(routes(service))
    assert len(walked) >= 80
    reader = key(service, "read")
    for method, path in walked:
        answer = service.client.request(method, path)
        if path in PUBLIC:
            assert answer.status_code == 200, path
            continue
        assert answer.status_code == 401, (method, path)
        assert answer.headers["www-authenticate"] == "Bearer"
        assert answer.headers["content-type"] == "application/problem+json"
        answer = service.client.request(method, path, headers=reader)
        changes = method != "GET" or path.startswith("/v1/keys")
        assert (answer.status_code == 403) == changes, (method, path)


def test_a_service_without_keys_is_open_and_one_with_keys_opens_by_setting(settings: Settings) -> None:
    for is_open, status in ((False, 401), (True, 200)):
        app = create_app(settings.model_copy(update={"open": is_open}))
        with TestClient(app, base_url="http://localhost") as client:
            running = Service(client, settings, app.state.database, app.state.artifacts)
            if not is_open:
                assert client.get("/v1/jobs").status_code == 200
                key(running)
            assert client.get("/v1/jobs").status_code == status


@ONE_DATABASE
def test_where_others_reach_it_the_service_starts_with_a_key_alone(settings: Settings) -> None:
    reachable = settings.model_copy(update={"host": "0.0.0.0", "allowed_hosts": ("*",)})
    app = create_app(reachable)
    with pytest.raises(service.UnguardedError, match="keys create"), TestClient(app):
        pass
    with TestClient(create_app(reachable.model_copy(update={"open": True}))) as client:
        assert client.get("/v1/jobs").status_code == 200
    app = create_app(settings)
    with TestClient(app, base_url="http://localhost") as client:
        key(Service(client, settings, app.state.database, app.state.artifacts))
    with TestClient(create_app(reachable)) as client:
        assert client.get("/v1/jobs").status_code == 401


def test_a_key_opens_what_it_is_for(service: Service) -> None:
    writer, admin = key(service, "write"), key(service, "admin")
    made = service.client.post("/v1/datasets", json={"name": "digits"}, headers=writer)
    assert made.status_code == 201
    assert service.client.get("/v1/keys", headers=writer).status_code == 403
    body = {"name": "reader", "scope": "read"}
    new = service.client.post("/v1/keys", json=body, headers=admin)
    assert new.status_code == 201
    reader = {"Authorization": f"Bearer {new.json()['key']}"}
    assert service.client.get("/v1/datasets", headers=reader).status_code == 200
    refused = service.client.delete("/v1/datasets/digits", headers=reader)
    assert refused.json()["detail"] == "key 'reader' is for read; this needs write"
    listed = service.client.get("/v1/keys", headers=admin).json()["items"]
    assert {row["name"] for row in listed} == {"write", "admin", "reader"}
    assert all("key" not in row for row in listed)
    assert [row["last_used_at"] is not None for row in listed] == [True] * 3
    assert service.client.delete("/v1/keys/reader", headers=admin).json()["revoked_at"] is not None
    assert service.client.get("/v1/datasets", headers=reader).status_code == 401


@ONE_DATABASE
def test_the_text_of_a_key_is_kept_nowhere(service: Service) -> None:
    repeatable = {"Idempotency-Key": "once", **key(service, "admin")}
    new = service.client.post("/v1/keys", json={"name": "n"}, headers=repeatable).json()["key"]
    with service.database.reading.connect() as connection:
        names = (
            connection.exec_driver_sql("SELECT name FROM sqlite_master WHERE type = 'table'").scalars().all()
        )
        for name in names:
            assert new not in str(connection.exec_driver_sql(f'SELECT * FROM "{name}"').all())


def test_an_idempotency_key_belongs_to_its_caller(service: Service) -> None:
    headers = [{"Idempotency-Key": "same", **key(service, name=name)} for name in ("one", "other")]
    bodies: list[Any] = [{"name": "digits"}, {"folder": "x", "name": "y"}]
    answers = [
        service.client.post("/v1/datasets", json=body, headers=header)
        for body, header in zip(bodies, headers, strict=True)
    ]
    assert [answer.status_code for answer in answers] == [201, 422]
    again = service.client.post("/v1/datasets", json=bodies[0], headers=headers[0])
    assert again.headers["idempotency-replayed"] == "true"


def test_a_key_has_its_rate_and_is_told_what_is_left(service: Service) -> None:
    header = key(service, "read", rate="3/minute")
    answers = [service.client.get("/v1/jobs", headers=header) for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
    assert answers[0].headers["ratelimit-policy"] == '"rate";q=3;w=60'
    left = [re.match(r'"rate";r=(\d);t=\d+', answer.headers["ratelimit"]) for answer in answers[:3]]
    assert [found and found[1] for found in left] == ["2", "1", "0"]
    assert 1 <= int(answers[3].headers["retry-after"]) <= 60
    other = key(service, "read", name="other")
    assert "ratelimit" not in service.client.get("/v1/jobs", headers=other).headers


def test_a_key_may_start_so_many_jobs(service: Service) -> None:
    header = key(service, quota="2/hour")
    service.client.post("/v1/datasets", json={"name": "digits"}, headers=header)
    body = {"dataset": "digits", "method": "random"}
    answers = [service.client.post("/v1/searches", json=body, headers=header) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [202, 202, 429]
    assert "may start jobs 2 per 1 hour" in answers[2].json()["detail"]
    assert service.client.get("/v1/jobs", headers=header).status_code == 200


@pytest.mark.parametrize(("scope", "opens"), [("read", 1), ("write", 2), ("admin", 3)])
def test_scopes_are_in_order(scope: str, opens: int) -> None:
    assert sum(KeyScope(scope).opens(needed) for needed in KeyScope) == opens


@ONE_DATABASE
def test_without_redis_nobody_is_refused(settings: Settings, service: Service) -> None:
    header = key(service, "read", rate="1/minute")
    dead = settings.model_copy(update={"broker_url": "redis://127.0.0.1:1/0"})
    with TestClient(create_app(dead), base_url="http://localhost") as client:
        began = time.monotonic()
        assert [client.get("/v1/jobs", headers=header).status_code for _ in range(2)] == [200, 200]
        assert time.monotonic() - began < 60
