"""The OpenAPI document: what FastAPI tells of the endpoints, and what holds for all of them."""

from collections.abc import Iterator
from typing import Any

from fastapi import FastAPI
from pydantic.json_schema import models_json_schema

from app.problems import ProblemBody

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


def install(app: FastAPI) -> None:
    """Completes the document of an application, when it is first asked for."""
    made = app.openapi

    def openapi() -> dict[str, Any]:
        return made() if app.openapi_schema is not None else _complete(made())

    app.openapi = openapi  # type: ignore[method-assign]


def _complete(document: dict[str, Any]) -> dict[str, Any]:
    """Adds the schema of problems, the headers of jobs and keys, in place."""
    _, problems = models_json_schema(
        [(ProblemBody, "serialization")], ref_template="#/components/schemas/{model}"
    )
    components = document.setdefault("components", {})
    components.setdefault("schemas", {}).update(problems["$defs"])
    components["parameters"] = {"IdempotencyKey": IDEMPOTENCY_KEY}
    components["securitySchemes"] = {"key": BEARER}
    document["security"] = [{}, {"key": []}]  # none where the service is open
    for method, operation in _operations(document):
        if method == "post":
            key = {"$ref": "#/components/parameters/IdempotencyKey"}
            operation["parameters"] = [*operation.get("parameters", []), key]
        if "202" in operation["responses"]:
            operation["responses"]["202"]["headers"] = ACCEPTED
    return document


def _operations(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path in document["paths"].values():
        yield from path.items()
