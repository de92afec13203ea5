"""Writes `app/examples.json`: what a fresh service answers to the examples of its own OpenAPI document, and
once a training has ended.

The document shows them beside its operations; long lists and texts are cut.
"""

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from threading import Event
from typing import Any
from unittest.mock import patch

from alembic import command
from fastapi import FastAPI
from fastapi.testclient import TestClient

from app.database import alembic_config
from app.datasets import neighbors
from app.devices.schemas import EXAMPLE as DEVICE
from app.jobs import service as jobs
from app.main import create_app
from app.openapi import EXAMPLES
from app.settings import Settings
from app.webhooks import service as webhooks
from worker.main import KINDS
from worker.runner import execute

FIRST_KEY = "create_key"
"""The operation from which on every request needs a key."""

SECRETS = {"key": "nas_…", "secret": "whsec_…"}
"""Fields that are shown once, and what stands in their place."""

UNSHOWN = ("/metrics", "svg", "png", ".pt", ".py", "picture", "confusion")
"""Parts of paths that answer with files and figures."""

TRAINING = {
    "dataset": "digits",
    "genotypes": ["DARTS-V2"],
    "recipe": "quick",
    "overrides": {"epochs": 1, "channels": 4, "cells": 2},
}
"""A training of seconds, which is run to its end."""

ITEMS, TEXT = 2, 200
"""The most of a list and of a text that is shown."""


def operations(document: Any) -> Iterator[tuple[str, str, Any]]:
    """Every operation of a document: method, path and itself."""
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield method.upper(), path, operation


def example(document: Any, operation: Any) -> Any:
    """The example of an operation's JSON body; `None` where it has no such body."""
    content = operation.get("requestBody", {}).get("content", {}).get("application/json")
    if content is None:
        return None
    if "example" in content:
        return content["example"]
    name = content["schema"]["$ref"].rsplit("/", 1)[-1]
    return document["components"]["schemas"][name].get("examples", [None])[0]


def asked(document: Any) -> list[tuple[str, str, Any]]:
    """The operations that have a body in JSON, in an order in which their examples work."""
    found = [each for each in operations(document) if "application/json" in str(each[2].get("requestBody"))]

    def order(each: tuple[str, str, Any]) -> tuple[bool, bool, int]:
        method, path, operation = each
        return operation["operationId"] == FIRST_KEY, method != "POST", path.count("{")

    return sorted(found, key=order)


def named(operation_id: str, answer: Any) -> dict[str, str]:
    """What an answer tells of ids, by the parameters of paths that they stand in."""
    rows = [answer] if "id" in answer else answer.get("items", [])
    row = rows[0] if rows else {}
    links = row.get("links", {})
    found = {
        f"{kind}_id": link.rsplit("/", 1)[-1]
        for kind, link in links.items()
        if link.rpartition("/")[0].endswith((f"{kind}s", f"{kind}es"))
    }
    if row.get("evaluations"):
        found["evaluation_id"] = row["evaluations"][0]["id"]
    if "id" in row:
        kind = "job" if "progress" in row else operation_id.partition("_")[2]
        kind = f"{kind.removesuffix('ies')}y" if kind.endswith("ies") else kind.removesuffix("s")
        found.setdefault(f"{kind}_id", row["id"])
    return found


def sent(client: Any, document: Any, known: dict[str, str]) -> Iterator[tuple[str, Any]]:
    """The answers to all examples, by operation.

    Args:
        client: of a service that has the digits and the published genotypes.
        document: its OpenAPI document.
        known: what stands in paths, by parameter; what the examples make is added.
    """
    for method, path, operation in asked(document):
        name = operation["operationId"]
        answer = client.request(method, path.format(**known), json=example(document, operation))
        if answer.is_success:
            known |= named(name, answer.json()) | known
        yield name, answer


def read(client: Any, document: dict[str, Any], known: dict[str, str]) -> Iterator[tuple[str, Any]]:
    """The answers to all that is asked without a body and leaves something, by operation."""
    order = ("GET", "POST", "DELETE")
    found = [
        each
        for each in operations(document)
        if "requestBody" not in each[2] and "204" not in each[2]["responses"]
    ]
    for method, path, operation in sorted(found, key=lambda each: (order.index(each[0]), each[1].count("{"))):
        wanted = {part["name"] for part in operation.get("parameters", []) if part.get("in") == "path"}
        if wanted <= known.keys() and not any(part in path for part in UNSHOWN):
            name, answer = operation["operationId"], client.request(method, path.format(**known))
            if answer.is_success and "json" in answer.headers["content-type"]:
                known |= named(name, answer.json()) | known
                yield name, answer


def trained(app: FastAPI, client: TestClient) -> str:
    """Runs a training to its end, and writes the messages about it to webhooks; the training's id."""
    (job,) = client.post("/v1/trainings", json=TRAINING).raise_for_status().json()["items"]
    state = app.state
    with state.database.session() as session:
        claimed = jobs.claim(session, job["id"], state.settings.lease_seconds)
    assert claimed is not None
    execute(claimed, KINDS, state.database, state.artifacts, state.settings, Event())
    with state.database.session() as session:
        webhooks.tell(session)
    return named("create_trainings", job)["training_id"]


def shortened(value: Any) -> Any:
    """A value with long lists and texts cut, and without secrets."""
    if isinstance(value, list):
        return [shortened(item) for item in value[:ITEMS]]
    if isinstance(value, dict):
        return {key: SECRETS.get(key) or shortened(item) for key, item in value.items()}
    return value if not isinstance(value, str) or len(value) <= TEXT else f"{value[:TEXT]}…"


def main() -> None:
    """Writes the file."""
    with tempfile.TemporaryDirectory() as home:
        url = f"sqlite:///{home}/examples.db"
        command.upgrade(alembic_config(url), "head")
        app = create_app(Settings(home=Path(home), database_url=url))
        with TestClient(app, base_url="http://localhost") as client:
            key = client.post("/v1/keys", json={"name": "maker", "scope": "admin"}).json()["key"]
            client.headers["Authorization"] = f"Bearer {key}"  # as `sent` makes another
            client.post("/v1/datasets", json={"name": "digits"}).raise_for_status()
            client.post("/v1/genotypes/published").raise_for_status()
            document = client.get("/openapi.json").json()
            space = client.get("/v1/latent-spaces").json()["items"][-1]["id"]
            known = {"dataset_id": "digits", "genotype_id": "DARTS-V2", "latent_space_id": space}
            answers: dict[str, dict[str, Any]] = {}

            def show(name: str, answer: Any) -> None:
                answer.raise_for_status()
                answers.setdefault(name, {})[str(answer.status_code)] = shortened(answer.json())

            with patch.object(neighbors, "AT_ONCE_SECONDS", 0.0):  # as where there is much to measure
                show("list_neighbors", client.get("/v1/datasets/digits/neighbors"))
            for name, answer in sent(client, document, known):
                show(name, answer)
            known["training_id"] = trained(app, client)
            replaced = client.post("/v1/devices", json=DEVICE)  # takes the place of the first
            show("create_device", replaced)
            known["device_id"] = replaced.json()["id"]
            for name, answer in read(client, document, known):
                show(name, answer)
    EXAMPLES.write_text(
        json.dumps(answers, indent=1, ensure_ascii=False, sort_keys=True) + "\n", encoding="utf-8"
    )
    print(json.dumps({"operations": len(answers), "bytes": EXAMPLES.stat().st_size}))


if __name__ == "__main__":
    main()
