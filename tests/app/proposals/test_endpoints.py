"""Proposals: one call from a data set to architectures for it."""

import io
import zipfile

import numpy as np
import pytest
from PIL import Image

from models.genotypes.published import PUBLISHED
from tests.conftest import ONE_DATABASE, Service


def photos(service: Service, name: str = "photos", size: int = 24) -> str:
    """An uploaded data set of two classes; its id."""
    generator = np.random.default_rng(0)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for label, level in (("dark", 60), ("light", 180)):
            for number in range(20):
                pixels = generator.normal(level, 30, (size, size, 3)).clip(0, 255).astype(np.uint8)
                file = io.BytesIO()
                Image.fromarray(pixels).save(file, "PNG")
                archive.writestr(f"{label}/{number}.png", file.getvalue())
    answer = service.client.post(
        "/v1/datasets", data={"name": name}, files={"archive": ("photos.zip", buffer.getvalue())}
    )
    assert answer.status_code == 201, answer.text
    dataset_id: str = answer.json()["id"]
    return dataset_id


def test_a_fresh_service_proposes_for_an_upload_with_no_other_call(service: Service) -> None:
    dataset_id = photos(service)
    made = service.post("/v1/proposals", {"dataset": "photos", "count": 5})
    assert made["dataset_id"] == dataset_id
    assert made["start"]["kind"] == "nearest"
    assert made["start"]["nearest"]["name"] == made["start"]["dataset"]
    assert made["start"]["genotype_name"] in {published.name for published in PUBLISHED}
    assert len({item["digest"] for item in made["items"]}) == len(made["items"]) == 5
    told = " ".join(made["warnings"])
    assert "published genotypes were registered" in told
    assert "recipe 'quick' was taken" in told
    assert "the ready space" in told
    for item in made["items"]:
        network = item["network"]
        assert (network["image_size"], network["image_channels"], network["classes"]) == (24, 3, 2)
        assert (network["channels"], network["cells"]) == (16, 5)
        assert network["parameters"] < item["standard"]["parameters"]
        assert item["edits"] >= 0
        assert item["estimated_seconds"] > 0
    assert service.get(f"/v1/proposals/{made['id']}") == made
    assert [row["id"] for row in service.get("/v1/proposals", dataset="photos")["items"]] == [made["id"]]


@ONE_DATABASE
def test_a_proposal_tells_by_what_its_architectures_were_drawn(service: Service) -> None:
    photos(service)
    for asked, gamma, deviations in (
        ({}, 0.1, None),
        ({"gamma": 0.2}, 0.2, None),
        ({"deviations": 3}, None, 3),
    ):
        made = service.post("/v1/proposals", {"dataset": "photos", "count": 1, **asked})
        assert (made["gamma"], made["deviations"]) == (gamma, deviations)
        assert service.get(f"/v1/proposals/{made['id']}") == made
    both = {"dataset": "photos", "gamma": 0.1, "deviations": 3}
    assert service.refused("/v1/proposals", both) == ["body"]


@ONE_DATABASE
def test_the_exports_of_a_proposal_have_the_size_that_it_tells(service: Service) -> None:
    photos(service)
    (item,) = service.post("/v1/proposals", {"dataset": "photos", "count": 1})["items"]
    assert service.client.get(item["links"]["picture"]).headers["content-type"] == "image/svg+xml"
    module: dict[str, object] = {}
    exec(service.client.get(item["links"]["module"]).text, module)
    net = module["build"]()  # type: ignore[operator]
    assert sum(weight.numel() for weight in net.parameters()) == item["network"]["parameters"]


@ONE_DATABASE
def test_limits_are_of_the_network_for_these_images(service: Service) -> None:
    photos(service)
    few = {"parameters": {"max": 150_000}}
    made = service.post("/v1/proposals", {"dataset": "photos", "count": 3, "limits": few, "name": "small"})
    assert all(item["network"]["parameters"] <= 150_000 for item in made["items"])
    assert made["limits"] == few
    assert service.get("/v1/proposals/small")["id"] == made["id"]
    assert [row["network"]["channels"] < 16 for row in made["items"]] == [True] * 3
    assert any("channels are chosen for each" in warning for warning in made["warnings"])
    many = service.post(
        "/v1/proposals", {"dataset": "photos", "count": 3, "limits": {"macs": {"max": 10**9}}}
    )
    assert all(item["network"]["channels"] == 16 for item in many["items"])
    budget = {"network": {"parameters": {"max": 900_000}}}
    made = service.post("/v1/proposals", {"dataset": "photos", "count": 3, "limits": budget})
    assert all(750_000 < item["network"]["parameters"] <= 900_000 for item in made["items"])


@ONE_DATABASE
@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"dataset": "nowhere"}, "dataset_id"),
        ({"limits": {"parameters": {"max": 10}}}, "limits"),
        ({"limits": {"network": {"image_size": 32}}}, "limits.network.image_size"),
        ({"limits": {"operations": {"conv_9x9": {"max": 1}}}}, "limits.operations"),
        ({"latent_space_id": "lat_none"}, "latent_space_id"),
        ({"recipe": "best"}, "recipe"),
        ({"overrides": {"channels": "wide"}}, "overrides.channels"),
        ({"search_space": "none"}, "search_space"),
        ({"count": 0}, "count"),
        ({"rank": {"by": "latency", "device": "phone"}}, "rank.device"),
    ],
)
def test_what_cannot_be_proposed_is_refused_by_the_name_of_its_field(
    service: Service, change: dict[str, object], field: str
) -> None:
    photos(service)
    fields = service.refused("/v1/proposals", {"dataset": "photos", **change})
    assert len(fields) == 1
    assert fields[0].startswith(field)
    assert service.get("/v1/proposals")["items"] == []


@ONE_DATABASE
def test_a_data_set_that_is_known_starts_from_its_own_best_point(
    service: Service, digits: str, published: list[str]
) -> None:
    reported = {"dataset": "digits", "test_accuracy": 97.5}
    genotype = {"text": service.get(f"/v1/genotypes/{published[0]}")["text"], "evaluation": reported}
    best = service.post("/v1/genotypes", genotype)["id"]
    made = service.post("/v1/proposals", {"dataset_id": digits})
    assert made["start"]["kind"] == "own"
    assert made["start"]["point"]["genotype_id"] == best
    assert made["start"]["nearest"] is None


@ONE_DATABASE
def test_an_experiment_trains_what_was_proposed(service: Service) -> None:
    photos(service)
    brief = {"epochs": 1, "channels": 4, "cells": 2}
    body = {"dataset": "photos", "count": 2, "overrides": brief, "name": "two"}
    made = service.post("/v1/proposals", body)
    job = service.post(
        "/v1/experiments",
        {"proposal": "two", "arms": [{"kind": "reference", "model": "mobilenet_v3_small"}]},
    )
    experiment = service.get(job["links"]["experiment"])
    assert experiment["dataset_ids"] == [made["dataset_id"]]
    assert (experiment["settings"]["epochs"], experiment["settings"]["channels"]) == (1, 4)
    ours, reference = experiment["arms"]
    assert ours["genotype_ids"] == [item["genotype_id"] for item in made["items"]]
    assert reference["reference"] == "mobilenet_v3_small"
    service.run_jobs()
    table = service.get(job["links"]["table"])["items"]
    assert [(row["arm"], row["n"]) for row in table] == [("proposal", 2), ("mobilenet_v3_small", 1)]
    trained = service.get(f"/v1/genotypes/{ours['genotype_ids'][0]}")["evaluations"][0]
    assert trained["parameters"] == made["items"][0]["network"]["parameters"]


@ONE_DATABASE
def test_a_campaign_tries_what_was_proposed_first(service: Service) -> None:
    photos(service)
    brief = {"epochs": 1, "channels": 4, "cells": 2, "validation_share": 0.2}
    limits = {"parameters": {"max": 40_000}}
    body = {"dataset": "photos", "count": 2, "overrides": brief, "limits": limits, "name": "two"}
    made = service.post("/v1/proposals", body)
    job = service.post("/v1/campaigns", {"proposal": "two", "budget": {"trainings": 3}, "rungs": 1})
    campaign = service.get(job["links"]["campaign"])
    assert campaign["proposal_id"] == made["id"]
    assert campaign["settings"]["channels"] == 4
    for _ in range(8):
        service.run_jobs()
    tried = service.get(job["links"]["table"])["items"]
    proposed = [item["genotype_id"] for item in made["items"]]
    assert [row["genotype_id"] for row in tried[:2]] == proposed
    assert [row["why"] for row in tried[:2]] == ["proposed", "proposed"]
    assert tried[2]["genotype_id"] not in proposed
    assert all(row["parameters"] <= 40_000 for row in tried)
    answer = service.client.delete("/v1/proposals/two")
    assert answer.status_code == 409
    assert campaign["id"] in answer.json()["detail"]


@ONE_DATABASE
def test_a_proposal_is_removed_and_its_architectures_stay(service: Service) -> None:
    photos(service)
    made = service.post("/v1/proposals", {"dataset": "photos", "count": 1})
    kept = made["items"][0]["genotype_id"]
    assert service.client.delete(f"/v1/genotypes/{kept}").status_code == 409
    assert service.client.delete(f"/v1/proposals/{made['id']}").status_code == 204
    assert service.client.get(f"/v1/proposals/{made['id']}").status_code == 404
    assert service.client.delete(f"/v1/genotypes/{kept}").status_code == 204
