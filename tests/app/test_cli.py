"""The `vgae-nas` command: migrating, and loading a seed library."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from app.cli import cli
from app.settings import get_settings
from models.genotypes.published import PUBLISHED
from tests.conftest import Service

LIBRARY = {
    "recipe": "quick",
    "settings": {"channels": 16},
    "device": "cpu",
    "date": "2026-11-24",
    "searches": [
        {
            "dataset": "mnist",
            "seed": seed,
            "search_space": "darts",
            "search_accuracy": 97.5,
            "search_hours": 0.1,
            "genotype": PUBLISHED[seed].genotype.as_dict(),
        }
        for seed in (1, 2)
    ],
}


@pytest.fixture
def command(service: Service, monkeypatch: pytest.MonkeyPatch) -> CliRunner:
    """The command, on the service's database."""
    monkeypatch.setenv("VGAE_NAS_DATABASE_URL", service.settings.database_url)
    get_settings.cache_clear()
    return CliRunner()


def test_a_seed_library_is_registered_once_as_what_it_is(
    service: Service, command: CliRunner, tmp_path: Path
) -> None:
    file = tmp_path / "library.json"
    file.write_text(json.dumps(LIBRARY))
    for _ in range(2):
        outcome = command.invoke(cli, ["load", str(file)])
        assert outcome.exit_code == 0, outcome.output
    rows = service.get("/v1/genotypes", origin="searched")["items"]
    assert {row["digest"] for row in rows} == {PUBLISHED[seed].genotype.digest() for seed in (1, 2)}
    assert all(row["source"]["library"] == "quick on cpu, 2026-11-24" for row in rows)
    full = service.get(f"/v1/genotypes/{rows[0]['id']}")
    assert [(e["kind"], e["test_accuracy"]) for e in full["evaluations"]] == [("search", 97.5)]


def test_every_library_that_comes_with_the_code_loads(service: Service, command: CliRunner) -> None:
    files = sorted((Path(__file__).parents[2] / "bench" / "results").glob("searches-*.json"))
    for file in files:
        outcome = command.invoke(cli, ["load", str(file)])
        assert outcome.exit_code == 0, outcome.output
    loaded = service.get("/v1/genotypes", origin="searched", limit=500)["items"]
    assert len(loaded) == sum(len(json.loads(file.read_text())["searches"]) for file in files)


@pytest.mark.parametrize(
    "change",
    [
        {"searches": []},
        {"searches": [{**LIBRARY["searches"][0], "dataset": "unknown"}]},
        {"searches": [LIBRARY["searches"][0], {**LIBRARY["searches"][1], "genotype": {"normal": []}}]},
    ],
)
def test_a_bad_library_is_refused_whole(
    service: Service, command: CliRunner, tmp_path: Path, change: dict[str, object]
) -> None:
    file = tmp_path / "library.json"
    file.write_text(json.dumps({**LIBRARY, **change}))
    outcome = command.invoke(cli, ["load", str(file)])
    assert outcome.exit_code == 1
    assert "searches" in outcome.output
    assert service.get("/v1/genotypes")["items"] == []
