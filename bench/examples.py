"""Writes `app/examples.json`: what a fresh service answers to the examples of its own OpenAPI document.

The document shows them beside its operations; long lists and texts are cut.
"""

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from alembic import command
from fastapi.testclient import TestClient

from app.database import alembic_config
from app.main import create_app
from app.openapi import EXAMPLES
from app.settings import Settings

WITHOUT_EXAMPLE = ("create_device",)
"""Operations whose bodies nobody writes: `measure.py` does."""

SECRET = ("create_key", "create_webhook")
"""Operations whose answers hold what is shown once; from the first on every request needs a key."""

UNSHOWN = ("/metrics", "/events", "svg", "png", ".pt", ".py", ".onnx", "picture", "map", "confusion", "zip")
"""Parts of paths that answer with files, streams or pages of figures."""

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
        return operation["operationId"] == SECRET[0], method != "POST", path.count("{")

    return sorted(
        (
            each
            for each in found
            if each[2]["operationId"] not in WITHOUT_EXAMPLE and "{device_id}" not in each[1]
        ),
        key=order,
    )


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
        for kind in ("experiment", "campaign", "proposal"):
            if name == f"create_{kind}" and answer.is_success:
                known[f"{kind}_id"] = answer.json()["links"][kind].rsplit("/", 1)[-1]
        if answer.is_success and name == "create_searches":
            job = answer.json()["items"][0]
            known |= {"job_id": job["id"], "search_id": job["links"]["search"].rsplit("/", 1)[-1]}
        yield name, answer


def shortened(value: Any) -> Any:
    """A value with long lists and texts cut."""
    if isinstance(value, list):
        return [shortened(item) for item in value[:ITEMS]]
    if isinstance(value, dict):
        return {key: shortened(item) for key, item in value.items()}
    return value if not isinstance(value, str) or len(value) <= TEXT else f"{value[:TEXT]}…"


def main() -> None:
    """Writes the file."""
    with tempfile.TemporaryDirectory() as home:
        url = f"sqlite:///{home}/examples.db"
        command.upgrade(alembic_config(url), "head")
        app = create_app(Settings(home=Path(home), database_url=url))
        with TestClient(app, base_url="http://localhost") as client:
            client.post("/v1/datasets", json={"name": "digits"}).raise_for_status()
            client.post("/v1/genotypes/published").raise_for_status()
            document = client.get("/openapi.json").json()
            space = client.get("/v1/latent-spaces").json()["items"][-1]["id"]
            known = {"dataset_id": "digits", "genotype_id": "DARTS-V2", "latent_space_id": space}
            answers: dict[str, Any] = {}
            for name, answer in sent(client, document, known):
                if name == SECRET[0]:
                    break
                answer.raise_for_status()
                if name not in SECRET:
                    answers[name] = shortened(answer.json())
            for method, path, operation in operations(document):
                if method == "GET" and not any(part in path for part in UNSHOWN):
                    try:
                        answer = client.get(path.format(**known))
                    except KeyError:
                        continue  # of what no example makes
                    if answer.status_code == 200:
                        answers[operation["operationId"]] = shortened(answer.json())
    EXAMPLES.write_text(
        json.dumps(answers, indent=1, ensure_ascii=False, sort_keys=True) + "\n", encoding="utf-8"
    )
    print(json.dumps({"operations": len(answers), "bytes": EXAMPLES.stat().st_size}))


if __name__ == "__main__":
    main()
