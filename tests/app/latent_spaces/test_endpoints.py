"""Latent spaces over HTTP: training, encoding, generating, drawing."""

import io
import re
from typing import Any

import pytest
import torch
from PIL import Image

from app.latent_spaces import figures
from models.genotypes.published import PUBLISHED
from tests.app.generation.test_ranked import FORMS, evaluate
from tests.conftest import ONE_DATABASE, Service
from tests.models.genotypes.test_genotype import continuous


def test_a_space_knows_its_members_recipe_losses_and_version(
    service: Service, published: list[str], latent_space: str
) -> None:
    space = service.get(latent_space)
    assert space["ready"]
    assert space["genotype_ids"] == published[:6]
    assert (space["preset"], space["seed"], space["epochs"]) == ("default", 2024, 100)
    assert set(space["losses"]) == {"total", "positive", "negative", "edge", "kl"}
    assert 0 <= space["members_exact"] <= 1
    assert space["code_version"]


@ONE_DATABASE
def test_the_curve_is_in_the_events(service: Service, published: list[str]) -> None:
    small = {"embedding": 8, "hidden": 16, "max_epochs": 1_000, "random_genotypes": 0}
    body = {"genotype_ids": published[:3], "overrides": small}
    job_id = service.post("/v1/latent-spaces", body)["id"]
    service.run_jobs()
    events = service.get(f"/v1/jobs/{job_id}/events")["items"]
    curve = [event["data"]["epoch"] for event in events if event["type"] == "progress"]
    assert curve == [500, 1_000]


def test_more_genotypes_are_encoded_without_training(
    service: Service, published: list[str], latent_space: str
) -> None:
    latents = service.post(f"{latent_space}/encode", {"genotype_ids": published[5:8]})["items"]
    assert [latent["genotype_id"] for latent in latents] == published[5:8]
    assert len(latents[0]["mu"]) == 14
    assert len(latents[0]["mu"][0]) == 10


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"genotype_ids": []}, "genotype_ids"),
        ({"genotype_ids": ["one"]}, "genotype_ids"),
        ({"genotype_ids": ["gen_x", "gen_y"]}, "genotype_ids[0]"),
        ({"preset": "best"}, "preset"),
        ({"overrides": {"latent_dimension": 0}}, "overrides.latent_dimension"),
        ({"overrides": {"max_epochs": 500_001}}, "overrides.max_epochs"),
        ({"overrides": {"encoder": "gin"}}, "overrides.encoder"),
        ({"overrides": {"hidden": 30}}, "overrides"),
    ],
)
@ONE_DATABASE
def test_a_bad_space_names_the_field_and_starts_nothing(
    service: Service, published: list[str], change: dict[str, Any], field: str
) -> None:
    assert service.refused("/v1/latent-spaces", {"genotype_ids": published[:2], **change}) == [field]
    assert all(space["shipped"] for space in service.get("/v1/latent-spaces")["items"])
    assert service.get("/v1/jobs")["items"] == []


def test_a_repeated_member_is_refused(service: Service, published: list[str]) -> None:
    body = {"genotype_ids": [published[0], published[1], published[0]]}
    assert service.refused("/v1/latent-spaces", body) == ["genotype_ids[2]"]


def test_a_space_that_is_still_training_is_a_conflict(service: Service, published: list[str]) -> None:
    space = service.post("/v1/latent-spaces", {"genotype_ids": published[:2]})["links"]["latent_space"]
    assert not service.get(space)["ready"]
    for path, body in (
        ("generate", {"random": "uniform"}),
        ("encode", {"genotype_ids": published[:1]}),
    ):
        assert service.client.post(f"{space}/{path}", json=body).status_code == 409
    assert service.client.get(f"{space}/map").status_code == 409


def test_the_map_is_json_svg_and_png(service: Service, published: list[str], latent_space: str) -> None:
    service.post(f"{latent_space}/generate", {"random": "uniform", "count": 25})
    space_map = service.get(f"{latent_space}/map")
    assert [point["genotype_id"] for point in space_map["items"]] == published[:6]
    assert {point["dataset"] for point in space_map["items"]} == {"cifar10"}
    assert len(space_map["explained_variance"]) == 2
    assert space_map["silhouette"] is None  # all of one data set
    assert space_map["items"][1]["accuracy"] == 97.24
    assert sum(space_map["items"][0]["operations"].values()) == pytest.approx(1)
    with_generated = service.get(f"{latent_space}/map", generated=True)
    assert len(with_generated["items"]) == 31
    places = {point["genotype_id"]: (point["x"], point["y"]) for point in with_generated["items"]}
    for point in space_map["items"]:  # it stays the same map
        assert places[point["genotype_id"]] == pytest.approx((point["x"], point["y"]))
    tsne = {"format": "svg", "method": "tsne", "generated": True}
    svg = service.client.get(f"{latent_space}/map", params=tsne)
    assert svg.headers["content-type"] == "image/svg+xml"
    assert b"<svg" in svg.content
    png = service.client.get(f"{latent_space}/map", params={"format": "png", "generated": True})
    assert png.headers["content-type"] == "image/png"
    (service.settings.home / "map.png").write_bytes(png.content)
    with Image.open(service.settings.home / "map.png") as picture:
        assert picture.size == (1_050, 750)


def test_a_map_of_too_many_points_shows_some_and_says_which(
    service: Service, latent_space: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(figures, "MAP_LIMIT", 6)
    service.post(f"{latent_space}/generate", {"random": "prior", "count": 7})
    newest = [row["id"] for row in service.get("/v1/genotypes", origin="random", limit=3)["items"]]
    shown = service.get(f"{latent_space}/map", generated=True)
    assert len(shown["items"]) == 6
    assert [point["genotype_id"] for point in shown["items"]][3:] == newest[::-1]
    assert shown["warnings"] == [
        "3 of the 6 members are shown, drawn with the seed 2024",
        "3 of the 7 generated genotypes are shown, the newest",
    ]
    assert service.get(f"{latent_space}/map")["warnings"] == []


def test_the_map_tells_best_points_starts_and_accuracies_of_one_data_set(
    service: Service, published: list[str], digits: str, latent_space: str
) -> None:
    service.post("/v1/datasets", {"name": "digits"})
    body = {"genotype": PUBLISHED[3].genotype.as_dict()}
    other = service.post(
        "/v1/genotypes", body | {"evaluation": {"dataset": "digits", "test_accuracy": 99.5}}
    )["id"]
    near = {"near": {"dataset": "cifar10"}, "count": 2}
    made = service.post(f"{latent_space}/generate", near)
    start = made["start"]["points"][0]["genotype_id"]
    space_map = service.get(f"{latent_space}/map", generated=True)
    assert space_map["accuracy_dataset"] == "cifar10"
    best = {point["genotype_id"]: point["best_on"] for point in space_map["items"] if point["best_on"]}
    assert best == {start: ["cifar10"]}  # that of digits is no member
    starts = [point["start_genotype_id"] for point in space_map["items"]]
    assert starts == [None] * 6 + [start] * 2 + [None]  # the start itself is shown too
    assert space_map["items"][-1]["genotype_id"] == start
    on_digits = service.get(f"{latent_space}/map", dataset="digits")
    assert on_digits["accuracy_dataset"] == "digits"
    assert {point["accuracy"] for point in on_digits["items"]} == {None}
    params = {"format": "svg", "colour": "accuracy", "generated": True}
    svg = service.client.get(f"{latent_space}/map", params=params).text
    assert "accuracy on cifar10" in svg
    assert "none" not in re.findall(r"<!-- (.*?) -->", svg)
    assert latent_space.rsplit("/", 1)[1] not in svg
    service.client.delete(f"/v1/genotypes/{other}")


@pytest.mark.parametrize("colour", ["origin", "accuracy", "parameters", "operation"])
def test_the_map_is_coloured_by_numbers_too(service: Service, latent_space: str, colour: str) -> None:
    service.post(f"{latent_space}/generate", {"random": "uniform", "count": 2})
    params = {"format": "svg", "colour": colour, "operation": "sep_conv_3x3", "generated": True}
    svg = service.client.get(f"{latent_space}/map", params=params)
    assert svg.status_code == 200, svg.text
    plain = service.client.get(f"{latent_space}/map", params={"format": "svg", "generated": True})
    assert svg.content != plain.content


def test_the_meaning_of_the_directions_is_told(service: Service, latent_space: str) -> None:
    meaning = service.get(f"{latent_space}/meaning")
    assert meaning["members"] == 6
    assert len(meaning["items"]) == 5
    names = set(meaning["items"][0]["correlations"])
    assert {"parameters", "depth", "skip_connect", "accuracy:cifar10"} <= names
    known = [
        value for item in meaning["items"] for value in item["correlations"].values() if value is not None
    ]
    assert len(known) > 20
    assert all(-1 <= value <= 1 for value in known)


def test_a_continuous_space_takes_genotypes_as_their_search_left_them(service: Service) -> None:
    soft = service.post("/v1/genotypes", {"continuous": continuous(0.6)})["id"]
    other = service.post("/v1/genotypes", {"genotype": PUBLISHED[0].genotype.as_dict()})["id"]
    latents = {}
    for form in ("discrete", "continuous"):
        body = {"genotype_ids": [soft, other], "form": form, "overrides": {"max_epochs": 20}}
        space = service.post("/v1/latent-spaces", body)["links"]["latent_space"]
        assert service.run_jobs()[0]["status"] == "succeeded"
        assert service.get(space)["form"] == form
        items = service.post(f"{space}/encode", {"genotype_ids": [soft, other]})["items"]
        latents[form] = [item["mu"] for item in items]
    assert latents["discrete"][0] != latents["continuous"][0]


def test_a_projection_that_needs_more_points_says_so(service: Service, published: list[str]) -> None:
    body = {"genotype_ids": published[:2], "overrides": {"max_epochs": 1}}
    space = service.post("/v1/latent-spaces", body)["links"]["latent_space"]
    service.run_jobs()
    answer = service.client.get(f"{space}/map", params={"method": "tsne"})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == "method"


@ONE_DATABASE
def test_a_space_learns_the_accuracies_of_its_members(service: Service, digits: str) -> None:
    evaluate(service, digits, FORMS[:24])
    ids = [row["id"] for row in service.get("/v1/genotypes", limit=100)["items"]]
    overrides = {"max_epochs": 20, "random_genotypes": 8, "accuracy_weight": 1.0}
    body = {"genotype_ids": ids, "overrides": overrides}
    path = service.post("/v1/latent-spaces", body)["links"]["latent_space"]
    (job,) = service.run_jobs()
    assert job["status"] == "succeeded", job
    assert job["result"]["evaluated_members"] == {digits: 24}
    space = service.get(path)
    assert space["losses"]["accuracy"] > 0
    assert space["settings"]["accuracy_weight"] == 1.0
    made = service.post(f"{path}/generate", {"near": {"dataset_id": digits}, "count": 2})
    assert len(made["items"]) == 2


@ONE_DATABASE
def test_a_space_of_members_without_accuracies_cannot_learn_them(service: Service, digits: str) -> None:
    evaluate(service, digits, FORMS[:7])
    ids = [row["id"] for row in service.get("/v1/genotypes", limit=100)["items"]]
    body = {"genotype_ids": ids, "overrides": {"accuracy_weight": 1.0}}
    assert service.refused("/v1/latent-spaces", body) == ["overrides.accuracy_weight"]
    assert service.run_jobs() == []


def test_members_are_graphs_for_pyg(service: Service, latent_space: str, published: list[str]) -> None:
    from torch_geometric.data import Data
    from torch_geometric.loader import DataLoader

    file = io.BytesIO(service.client.get(f"{latent_space}/graphs.pt").content)
    told = torch.load(file, weights_only=True)
    graphs = [Data(**graph) for graph in told["graphs"]]
    assert [graph.genotype_id for graph in graphs] == published[:6]
    (batch,) = DataLoader(graphs, batch_size=6)
    assert batch.num_graphs == 6
    assert batch.x.shape == (6 * 14,)
    assert batch.edge_attr.shape == (batch.edge_index.shape[1], len(told["operations"]))
    assert batch.edge_attr.sum(1).allclose(torch.ones(len(batch.edge_attr)))
    encoded = service.post(f"{latent_space}/encode", {"genotypes": published[:6]})["items"]
    for graph, latent in zip(graphs, encoded, strict=True):
        assert torch.allclose(graph.mu, torch.tensor(latent["mu"]), atol=1e-5)
    assert told["accuracies"]["cifar10"][published[0]] > 90
