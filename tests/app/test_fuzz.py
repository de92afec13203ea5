"""A slice of the requests that Schemathesis makes, with all its checks (`make fuzz` has all of them)."""

import json
from itertools import cycle
from pathlib import Path

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.config import SchemathesisConfig

from bench import fuzz
from bench.fuzz_hooks import FILE
from tests.conftest import ONE_DATABASE, Service

EXAMPLES = 1
"""Requests for each operation, of valid and of invalid data in turn."""


@ONE_DATABASE
def test_no_request_of_the_documents_breaks_a_check(
    service: Service, digits: str, published: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = tmp_path / "ids.json"
    ids.write_text(json.dumps({"dataset_id": [digits], "genotype_id": published}))
    monkeypatch.setenv(FILE, str(ids))
    schema = schemathesis.openapi.from_asgi(
        "/openapi.json",
        service.client.app,
        config=SchemathesisConfig.from_path(Path(fuzz.CONFIG)),
        headers={"Host": "localhost"},
    )
    schema.config.update(base_url="http://localhost")
    operations = [result.ok() for result in schema.get_all_operations()]
    assert len(operations) > 50
    for operation, mode in zip(operations, cycle(schemathesis.GenerationMode), strict=False):

        @given(case=operation.as_strategy(generation_mode=mode))
        @settings(
            max_examples=EXAMPLES,
            deadline=None,
            database=None,
            derandomize=True,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        def ask(case: schemathesis.Case) -> None:
            case.call_and_validate(headers={"Host": "localhost"})

        try:
            ask()
        except Exception as error:
            if "Unsatisfiable" not in type(error).__name__:
                pytest.fail(f"{operation.label}: {error}")
