"""The OpenAPI document: what FastAPI tells of the endpoints, and what holds for all of them."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from pydantic.json_schema import models_json_schema

from app.datasets.schemas import DatasetIn
from app.problems import ProblemBody

TAGS = [
    {"name": "datasets", "description": "Labelled images: by name, from an archive, or of a folder."},
    {"name": "proposals", "description": "Architectures for a data set from one call."},
    {"name": "genotypes", "description": "Cells: registered, searched, published or generated."},
    {"name": "searches", "description": "PC-DARTS on a data set."},
    {"name": "latent spaces", "description": "A VGAE on chosen genotypes, and what is generated from it."},
    {"name": "trainings", "description": "Retraining from scratch, and the trained networks."},
    {"name": "evaluations", "description": "What was measured, by training or by report."},
    {
        "name": "experiments",
        "description": "Arms of architectures trained alike, in a table with verdicts.",
    },
    {"name": "campaigns", "description": "Proposing and training in turns, within a budget."},
    {"name": "devices", "description": "What each operation takes on a device, for limits of latency."},
    {"name": "recipes", "description": "Every hyper-parameter, its range, and how long a job takes."},
    {"name": "jobs", "description": "Long work: how far it is, and how to stop it."},
    {"name": "webhooks", "description": "Addresses that are told when jobs end."},
    {"name": "keys", "description": "Who may use the service, for what, and how much."},
    {"name": "probes", "description": "Whether it lives, whether it is ready, and its figures."},
]
"""The groups of operations, in the order of the path."""

RETRY_AFTER = {"description": "Seconds to wait.", "schema": {"type": "integer"}}

ACCEPTED = {
    "Location": {"description": "The path of the job.", "schema": {"type": "string"}},
    "Retry-After": RETRY_AFTER,
}

BEARER = {
    "type": "http",
    "scheme": "bearer",
    "description": "A key of this service, `nas_…`, once it has any; `vgae-nas keys create` makes them.",
}

IDEMPOTENCY_KEY = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "Makes the request safe to repeat: with the same key and body it is answered as it was.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 255},
}


EXAMPLES = Path(__file__).parent / "examples.json"
"""What a fresh service answered to the examples of requests, by operation and status (`make examples`)."""


def install(app: FastAPI) -> None:
    """Completes the document of an application, when it is first asked for."""
    made = app.openapi

    def openapi() -> dict[str, Any]:
        return made() if app.openapi_schema is not None else _complete(made())

    app.openapi = openapi  # type: ignore[method-assign]


def _complete(document: dict[str, Any]) -> dict[str, Any]:
    """Adds the schema of problems, the headers of jobs and keys, in place."""
    _, problems = models_json_schema(
        [(ProblemBody, "serialization"), (DatasetIn, "validation")],
        ref_template="#/components/schemas/{model}",
    )
    components = document.setdefault("components", {})
    components.setdefault("schemas", {}).update(problems["$defs"])
    components["parameters"] = {"IdempotencyKey": IDEMPOTENCY_KEY}
    components["securitySchemes"] = {"key": BEARER}
    document["security"] = [{}, {"key": []}]  # none where the service is open
    examples = json.loads(EXAMPLES.read_text(encoding="utf-8"))
    for method, operation in _operations(document):
        _show(operation, examples.get(operation["operationId"], {}))
        if method == "post":
            key = {"$ref": "#/components/parameters/IdempotencyKey"}
            operation["parameters"] = [*operation.get("parameters", []), key]
        if "202" in operation["responses"]:
            accepted = operation["responses"]["202"]
            several = "JobsOut" in json.dumps(accepted.get("content", {}))
            place = "$response.body#/items/0/id" if several else "$response.body#/id"
            accepted["headers"] = ACCEPTED
            accepted["links"] = {"job": {"operationId": "get_job", "parameters": {"job_id": place}}}
    return document


def _show(operation: dict[str, Any], examples: dict[str, Any]) -> None:
    """Adds the examples of an operation's answers, and takes away the JSON that a file is not."""
    for status, answer in operation["responses"].items():
        content = answer.get("content", {})
        if len(content) > 1 and content.get("application/json") == {"schema": {}}:
            del content["application/json"]
        if status in examples:
            content["application/json"]["example"] = examples[status]


def _operations(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path in document["paths"].values():
        yield from path.items()
