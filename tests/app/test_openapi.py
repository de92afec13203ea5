"""The OpenAPI document: its examples work as they stand, and a generated client does the path."""

import importlib
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from app import openapi
from bench.examples import operations, sent
from tests.conftest import ONE_DATABASE, Service


@pytest.fixture
def document(service: Service) -> Any:
    """The document."""
    return service.get("/openapi.json")


@ONE_DATABASE
def test_operations_have_names_of_their_own_and_stand_in_the_order_of_the_path(document: Any) -> None:
    ids = [operation["operationId"] for _, _, operation in operations(document)]
    assert len(set(ids)) == len(ids)
    assert all(re.fullmatch(r"[a-z_]+", name) for name in ids)
    known = [tag["name"] for tag in openapi.TAGS]
    assert document["tags"] == openapi.TAGS
    used = {tag for _, _, operation in operations(document) for tag in operation["tags"]}
    assert used == set(known)
    assert all(tag["description"].endswith(".") for tag in openapi.TAGS)


@ONE_DATABASE
def test_what_starts_a_job_links_to_it(document: Any) -> None:
    accepted = [o["responses"]["202"] for _, _, o in operations(document) if "202" in o["responses"]]
    assert len(accepted) >= 8
    for answer in accepted:
        assert answer["links"]["job"]["operationId"] == "get_job"
        assert set(answer["headers"]) == {"Location", "Retry-After"}


@ONE_DATABASE
def test_every_example_works_on_a_fresh_service(
    service: Service, document: Any, published: list[str], digits: str
) -> None:
    space = service.get("/v1/latent-spaces")["items"][-1]["id"]
    known = {"dataset_id": "digits", "genotype_id": "DARTS-V2", "latent_space_id": space}
    names = []
    for name, answer in sent(service.client, document, known):
        assert answer.is_success, f"{name}: {answer.text}"
        names.append(name)
    assert len(names) >= 22


@ONE_DATABASE
def test_answers_that_are_shown_are_of_the_schema(document: Any) -> None:
    shown = 0
    for _, path, operation in operations(document):
        for status, answer in operation["responses"].items():
            content = answer.get("content", {}).get("application/json", {})
            if status.startswith("2") and "example" in content:
                schema = {**content["schema"], "components": document["components"]}
                jsonschema.Draft202012Validator(schema).validate(content["example"])
                properties = resolved(document, content["schema"]).get("properties", {})
                assert set(content["example"]) == set(properties), f"{path}: run `make examples`"
                shown += 1
    assert shown >= 68


def resolved(document: Any, schema: Any) -> Any:
    """A schema, or the one that it names."""
    return (
        document["components"]["schemas"][schema["$ref"].rsplit("/", 1)[-1]] if "$ref" in schema else schema
    )


@ONE_DATABASE
def test_a_generated_client_does_the_path(
    service: Service, document: Any, published: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "openapi.json").write_text(json.dumps(document))
    (tmp_path / "config.yml").write_text("post_hooks: []\npackage_name_override: generated_client\n")
    command = [str(Path(sys.executable).parent / "openapi-python-client"), "generate", "--meta", "none"]
    command += ["--path", "openapi.json", "--config", "config.yml", "--output-path", "generated_client"]
    made = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=600)
    assert made.returncode == 0, made.stdout + made.stderr
    assert "Warning" not in made.stdout, made.stdout
    monkeypatch.syspath_prepend(str(tmp_path))
    generated = importlib.import_module("generated_client")
    models = importlib.import_module("generated_client.models")

    def call(tag: str, name: str, *words: Any, **fields: Any) -> Any:
        operation = importlib.import_module(f"generated_client.api.{tag}.{name}")
        return operation.sync(*words, client=client, **fields)

    client = generated.Client("http://localhost").set_httpx_client(service.client)
    dataset = call("datasets", "create_dataset", body=models.DatasetIn(name="digits"))
    asked = models.ProposalIn(dataset_id=dataset.id, count=2)
    proposal = call("proposals", "create_proposal", body=asked)
    assert len(proposal.items) == 2
    ids = [item.genotype_id for item in proposal.items]
    settings = models.TrainingInOverrides.from_dict({"epochs": 1, "channels": 4, "cells": 2})
    training = models.TrainingIn(dataset_id=dataset.id, genotype_ids=ids, recipe="quick", overrides=settings)
    (job, _) = call("trainings", "create_trainings", body=training).items
    service.run_jobs()
    assert call("jobs", "get_job", job.id).status == "succeeded"
    board = call("genotypes", "get_leaderboard", dataset.id)
    assert {row.genotype_id for row in board.items} == set(ids)
