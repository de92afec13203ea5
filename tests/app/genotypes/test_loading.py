"""Whole tables of trained architectures through the command."""

from itertools import product
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from app.cli import cli
from app.settings import get_settings
from tests.conftest import ONE_DATABASE, Service

SPACE = ["--space", "nas-bench-201"]
CIFAR10 = ["--dataset", "cifar10=accuracy"]


@pytest.fixture
def command(service: Service, monkeypatch: pytest.MonkeyPatch) -> CliRunner:
    """The command, on the service's database."""
    monkeypatch.setenv("VGAE_NAS_DATABASE_URL", service.settings.database_url)
    get_settings.cache_clear()
    return CliRunner()


def write(path: Path, rows: list[tuple[Any, ...]], header: str = "arch,accuracy,other") -> str:
    path.write_text("\n".join([header, *(",".join(map(str, row)) for row in rows)]) + "\n")
    return str(path)


def load(command: CliRunner, *arguments: str) -> str:
    outcome = command.invoke(cli, ["load", *arguments])
    assert outcome.exit_code == 0, outcome.output
    return outcome.output


def test_a_table_is_registered_once_with_its_accuracies(
    service: Service, command: CliRunner, tmp_path: Path
) -> None:
    digits = ["".join(d) for d in product("01234", repeat=3)]
    file = write(tmp_path / "bench.csv", [(f"222{d}", 50 + i / 10, i / 2) for i, d in enumerate(digits)])
    both = [file, *SPACE, *CIFAR10, "--dataset", "cifar100=other"]
    assert "125 genotypes of bench.csv are registered, 125 of them new" in load(command, *both)
    assert "0 of them new, with 250 evaluations, 0 of them new" in load(command, *both)
    datasets = {row["name"]: row["id"] for row in service.get("/v1/datasets")["items"]}
    (first, *_) = service.get(f"/v1/datasets/{datasets['cifar10']}/leaderboard")["items"]
    assert (first["test_accuracy"], first["kind"], first["recipe"]) == (62.4, "reported", "bench")
    row = service.get(f"/v1/genotypes/{first['genotype_id']}")
    assert row["source"] == {"table": "bench"}
    assert row["text"].startswith("|nor_conv_3x3~0|+|nor_conv_3x3~0|")
    assert sorted(e["test_accuracy"] for e in row["evaluations"]) == [62.0, 62.4]
    near = {"near": {"dataset_id": datasets["cifar100"]}, "gamma": 0.0}
    answer = service.post("/v1/latent-spaces/generate?search_space=nas-bench-201", near)
    assert answer["items"][0]["digest"] == row["digest"]
    assert answer["start"]["points"][0]["member"]


def test_the_figures_of_a_space_follow_what_is_loaded(
    service: Service, command: CliRunner, tmp_path: Path
) -> None:
    rows = [(f"2{i}{j}222", 80 + i, j) for i in range(5) for j in range(5)]
    load(command, write(tmp_path / "one.csv", rows), *SPACE, *CIFAR10)
    spaces = service.get("/v1/latent-spaces")["items"]
    (path,) = [f"/v1/latent-spaces/{row['id']}" for row in spaces if row["search_space"] == "nas-bench-201"]
    first = service.get(f"{path}/map")
    assert first == service.get(f"{path}/map")
    assert {point["accuracy"] for point in first["items"]} == {80, 81, 82, 83, 84}
    assert "accuracy:cifar100" not in service.get(f"{path}/meaning")["items"][0]["correlations"]
    load(command, write(tmp_path / "two.csv", rows), *SPACE, "--dataset", "cifar100=other")
    assert "accuracy:cifar100" in service.get(f"{path}/meaning")["items"][0]["correlations"]
    load(command, write(tmp_path / "three.csv", [("000000", 99, 0)]), *SPACE, *CIFAR10)
    again = service.get(f"{path}/map")["items"]
    assert len(again) == 26
    assert max(point["accuracy"] for point in again) == 99
    service.post("/v1/latent-spaces/generate?search_space=nas-bench-201", {"random": "uniform", "count": 3})
    assert len(service.get(f"{path}/map", generated=True)["items"]) == 29
    assert service.client.get(f"{path}/map", params={"format": "svg"}).status_code == 200


@pytest.mark.parametrize(
    ("rows", "arguments", "told"),
    [
        ([("222222", 90, 0)], ["--space", "nas-bench-102", *CIFAR10], "space: unknown search space"),
        ([("222222", 90, 0)], SPACE, "dataset: give at least one"),
        (
            [("222222", 90, 0)],
            [*SPACE, "--dataset", "cifar10=accurac"],
            "dataset.cifar10: there is no",
        ),
        (
            [("222222", 90, 0)],
            [*SPACE, "--dataset", "cifar11=accuracy"],
            "dataset.cifar11: there is no",
        ),
        ([("222222", 90, 0), ("22222", 90, 0)], [*SPACE, *CIFAR10], "line 3.arch: has 5 digits"),
        ([("222222", 90, 0), ("222227", 90, 0)], [*SPACE, *CIFAR10], "line 3.arch: digit 6 is 7"),
        ([("222222", 90, 0), ("|a~0|", 90, 0)], [*SPACE, *CIFAR10], "line 3.arch: has 1 nodes"),
        (
            [("222222", 90, 0), ("222221", 100.1, 0)],
            [*SPACE, *CIFAR10],
            "line 3.accuracy: must be an",
        ),
        ([("222222", 90, 0), ("222221", -1, 0)], [*SPACE, *CIFAR10], "line 3.accuracy: must be an"),
        (
            [("222222", 90, 0), ("222221", "nan", 0)],
            [*SPACE, *CIFAR10],
            "line 3.accuracy: must be an",
        ),
        ([("222222", 90, 0), ("222221", "", 0)], [*SPACE, *CIFAR10], "line 3.accuracy: must be an"),
        ([("222222", 90, 0), ("222221",)], [*SPACE, *CIFAR10], "line 3.accuracy: must be an"),
        ([("222222", 90, 0), ("222222", 91, 0)], [*SPACE, *CIFAR10], "line 3.arch: repeats that of line 2"),
        ([], [*SPACE, *CIFAR10], "arch: the table has no rows"),
        ([("222224", 90, 0)], ["--space", "transnas-bench-101-micro", *CIFAR10], "line 2.arch: digit 6 is 4"),
        ([("222222", 90, 0)], ["--space", "darts", *CIFAR10], "line 2.arch: is of another search space"),
    ],
)
@ONE_DATABASE
def test_a_bad_table_is_refused_whole(
    service: Service,
    command: CliRunner,
    tmp_path: Path,
    rows: list[tuple[Any, ...]],
    arguments: list[str],
    told: str,
) -> None:
    outcome = command.invoke(cli, ["load", write(tmp_path / "bench.csv", rows), *arguments])
    assert outcome.exit_code == 1
    assert told in outcome.output
    assert service.get("/v1/genotypes")["items"] == []
    assert service.get("/v1/datasets")["items"] == []


def test_another_accuracy_of_a_table_of_the_same_name_is_refused(
    service: Service, command: CliRunner, tmp_path: Path
) -> None:
    file = write(tmp_path / "bench.csv", [("222222", 90, 0)])
    load(command, file, *SPACE, *CIFAR10)
    write(tmp_path / "bench.csv", [("222221", 80, 0), ("222222", 91, 0)])
    outcome = command.invoke(cli, ["load", file, *SPACE, *CIFAR10])
    assert outcome.exit_code == 1
    assert "line 3: says 91; the table 'bench' said 90 before" in outcome.output
    assert len(service.get("/v1/genotypes")["items"]) == 1


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("bench.csv", []),
        ("bench.csv", [*SPACE, "--dataset", "cifar10"]),
        ("bench.csv", [*SPACE, *CIFAR10, *CIFAR10]),
        ("bench.json", SPACE),
    ],
)
@ONE_DATABASE
def test_arguments_that_do_not_go_together_are_refused(
    service: Service, command: CliRunner, tmp_path: Path, name: str, arguments: list[str]
) -> None:
    file = write(tmp_path / name, [("222222", 90, 0)])
    assert command.invoke(cli, ["load", file, *arguments]).exit_code == 2
    assert service.get("/v1/genotypes")["items"] == []
