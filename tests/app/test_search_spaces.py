"""The whole path over HTTP in search spaces beside `darts`."""

import io
import zipfile
from typing import Any
from xml.etree import ElementTree

import numpy as np
import onnxruntime
import pytest
import safetensors.torch
import torch

from models.genotypes.published import PUBLISHED
from models.genotypes.search_space import SEARCH_SPACES
from models.genotypes.text import to_text
from tests.conftest import ONE_DATABASE, Service

CELL = "|nor_conv_3x3~0|+|none~0|nor_conv_3x3~1|+|skip_connect~0|none~1|nor_conv_3x3~2|"
DIGITS = "210212", "220223", "012321", "333333", "100012"
SPACES = pytest.mark.parametrize("space", ["nas-bench-201", "transnas-bench-101-micro"])
FIT = {"max_epochs": 60, "random_genotypes": 16}
TRAIN = {"epochs": 1, "cells": 3, "channels": 8, "train_images": 400}
SEARCH = {
    "channels": 8,
    "cells": 3,
    "epochs": 2,
    "warmup_epochs": 1,
    "batch_size": 32,
    "train_images": 300,
}
NETWORK = {"channels": 8, "cells": 3, "classes": 10, "image_channels": 1, "image_size": 8}


def register(service: Service, space: str) -> list[str]:
    """Five genotypes of a space."""
    items = [{"search_space": space, "text": digits} for digits in DIGITS]
    return [row["id"] for row in service.post("/v1/genotypes/batch", {"items": items})["items"]]


@SPACES
def test_text_digits_and_json_are_one_genotype(service: Service, space: str) -> None:
    by_text = service.post("/v1/genotypes", {"search_space": space, "text": CELL})
    full = service.get(f"/v1/genotypes/{by_text['id']}")
    assert full["text"] == CELL
    assert full["genotype"]["cell"][:3] == [["nor_conv_3x3", 0], ["none", 0], ["nor_conv_3x3", 1]]
    assert (full["parameters"], full["macs"]) == (802_426, 113_951_360)  # as NATS-Bench tells
    for form in ({"text": DIGITS[0]}, {"genotype": full["genotype"]}):
        row = service.post("/v1/genotypes", {"search_space": space, **form})
        assert row["digest"] == by_text["digest"]
    assert (
        service.post("/v1/genotypes", {"search_space": space, "text": DIGITS[1]})["digest"] != full["digest"]
    )


@SPACES
@pytest.mark.parametrize(
    ("form", "field"),
    [
        ({"text": to_text(PUBLISHED[0].genotype)}, "text"),
        ({"genotype": PUBLISHED[0].genotype.as_dict()}, "genotype.normal"),
        ({"text": "22022"}, "text"),
        ({"text": "220225"}, "text"),
        ({"text": CELL.replace("nor_conv_3x3", "sep_conv_3x3")}, "text.cell[0]"),
        ({"genotype": {"cell": [["none", 0]] * 5}}, "genotype.cell"),
        ({"genotype": {"cell": [["none", 1]] * 6}}, "genotype.cell[0]"),
        ({"genotype": {"cell": [["none", 0]] * 6}}, "genotype.cell[2]"),
        ({"continuous": {"cell": [[1.0, 0.0]] * 6}}, "continuous.cell"),
    ],
)
@ONE_DATABASE
def test_what_is_no_genotype_of_the_space_names_the_field(
    service: Service, space: str, form: dict[str, Any], field: str
) -> None:
    assert service.refused("/v1/genotypes", {"search_space": space, **form}) == [field]
    assert service.get("/v1/genotypes")["items"] == []


@SPACES
@pytest.mark.parametrize("preset", ["paper", "paper-gcn", "default"])
@ONE_DATABASE
def test_a_latent_space_of_any_preset_is_trained_mapped_and_generated_from(
    service: Service, space: str, preset: str
) -> None:
    ids = register(service, space)
    overrides = FIT if preset == "default" else {"max_epochs": 60}
    body = {"genotype_ids": ids, "preset": preset, "overrides": overrides}
    path = service.post("/v1/latent-spaces", body)["links"]["latent_space"]
    (job,) = service.run_jobs()
    assert job["status"] == "succeeded", job
    assert len(service.get(f"{path}/map")["items"]) == 5
    properties = service.get(f"{path}/meaning")["items"][0]["correlations"]
    assert {"parameters", "depth", "none", "nor_conv_3x3"} <= set(properties)
    (latent,) = service.post(f"{path}/encode", {"genotype_ids": ids[:1]})["items"]
    assert len(latent["mu"]) == 4
    answer = service.post(f"{path}/generate", {"random": "prior", "count": 20})
    assert len(answer["items"]) == 20
    assert all(set(row["genotype"]) == {"cell"} for row in answer["items"])


@SPACES
def test_the_ready_space_generates_within_limits(service: Service, space: str) -> None:
    ids = register(service, space)
    path = f"/v1/latent-spaces/generate?search_space={space}"
    near = {"near": {"genotype_id": ids[1]}, "count": 1, "gamma": 0.0}
    (same,) = service.post(path, near)["items"]
    assert same["digest"] == service.get(f"/v1/genotypes/{ids[1]}")["digest"]
    limits = {
        "operations": {"none": {"max": 1}, "nor_conv_3x3": {"min": 2}},
        "edits": {"min": 1, "max": 2},
        "depth": {"min": 2},
        "parameters": {"max": 1_200_000},
    }
    body = {"near": {"genotype_id": ids[1]}, "count": 20, "unique": True, "constraints": limits}
    answer = service.post(path, body)
    assert answer["gamma"] == SEARCH_SPACES[space].gamma
    assert len(answer["items"]) >= 10
    for row in answer["items"]:
        operations = [operation for operation, _ in row["genotype"]["cell"]]
        assert operations.count("none") <= 1
        assert operations.count("nor_conv_3x3") >= 2
        assert row["parameters"] <= 1_200_000
        assert 1 <= row["source"]["edits"] <= 2
        assert row["source"]["network"]["channels"] == 16
    for constraints, field in (
        ({"operations": {"sep_conv_3x3": {"min": 1}}}, "constraints.operations.sep_conv_3x3"),
        ({"edits": {"min": 7}}, "constraints.edits"),
        ({"depth": {"min": 4}}, "constraints.depth"),
        ({"parameters": {"min": 1_600_000}}, "constraints.parameters"),
    ):
        assert service.refused(path, {**near, "constraints": constraints}) == [field]


@SPACES
@ONE_DATABASE
def test_a_search_on_digits_finds_a_genotype_that_is_trained_and_exported(
    service: Service, digits: str, space: str
) -> None:
    body = {"dataset_id": digits, "search_space": space, "recipe": "quick", "overrides": SEARCH}
    (job,) = service.post("/v1/searches", body)["items"]
    (job,) = service.run_jobs()
    assert job["status"] == "succeeded", job
    search = service.get(job["links"]["search"])
    genotype = service.get(f"/v1/genotypes/{search['genotype_id']}")
    assert (genotype["search_space"], genotype["origin"]) == (space, "searched")
    assert set(genotype["continuous"]) == {"cell", "cell_edges"}
    again = {"search_space": space, "continuous": genotype["continuous"]}
    assert service.post("/v1/genotypes", again)["digest"] == genotype["digest"]
    body = {"dataset_id": digits, "genotype_ids": [genotype["id"]], "recipe": "quick", "overrides": TRAIN}
    service.post("/v1/trainings", body)
    (job,) = service.run_jobs()
    assert job["status"] == "succeeded", job
    training = job["links"]["training"].removeprefix("/v1/trainings/")
    module = service.client.get(f"/v1/genotypes/{genotype['id']}/module.py", params={"training_id": training})
    names: dict[str, Any] = {"__name__": "exported"}
    exec(compile(module.text, "module.py", "exec"), names)
    images = np.random.default_rng(0).integers(0, 256, (3, 1, 8, 8), dtype=np.uint8)
    onnx = service.exported(f"/v1/genotypes/{genotype['id']}/model.onnx", training_id=training)
    session = onnxruntime.InferenceSession(onnx, providers=["CPUExecutionProvider"])
    (logits,) = session.run(["logits"], {"images": images})
    network = names["build"]().eval()
    bundle = service.exported(f"/v1/trainings/{training}/model.zip")
    weights = _weights(bundle)
    network.load_state_dict(weights)
    with torch.no_grad():
        torch.testing.assert_close(
            network(torch.from_numpy(images))[0], torch.from_numpy(logits), atol=1e-4, rtol=1e-3
        )


@SPACES
@ONE_DATABASE
def test_pictures_and_modules_show_the_one_cell(service: Service, space: str) -> None:
    row = service.post("/v1/genotypes", {"search_space": space, "text": CELL, "name": "a cell"})
    svg = service.client.get(f"/v1/genotypes/{row['id']}/cells.svg").text
    elements = [element for element in ElementTree.fromstring(svg).iter() if element.tag.endswith("text")]
    texts = ["_".join(element.itertext()) for element in elements]  # subscripts are elements of their own
    assert texts.count("nor_conv_3x3") == 3
    assert texts.count("none") == 2
    assert {"c_k-1", "0", "1", "c_k", "Cell", "a cell"} <= set(texts)
    module = service.client.get(f"/v1/genotypes/{row['id']}/module.py", params=NETWORK).text
    assert "ResidualNetwork(" in module
    names: dict[str, Any] = {"__name__": "exported"}
    exec(compile(module, "module.py", "exec"), names)
    assert names["build"]()(torch.zeros(2, 1, 8, 8))[0].shape == (2, 10)


@SPACES
@ONE_DATABASE
def test_an_experiment_compares_arms_of_the_space(service: Service, digits: str, space: str) -> None:
    ids = register(service, space)
    (ready,) = [row for row in service.get("/v1/latent-spaces")["items"] if row["search_space"] == space]
    evaluated = {"dataset_id": digits, "test_accuracy": 90.0}
    service.post("/v1/genotypes", {"search_space": space, "text": CELL, "evaluation": evaluated})
    body = {
        "dataset_ids": [digits],
        "latent_space_id": ready["id"],
        "recipe": "quick",
        "overrides": TRAIN,
        "arms": [
            {"kind": "near", "dataset_id": digits, "count": 2},
            {"kind": "random", "count": 2},
            {"kind": "genotypes", "genotype_ids": ids[:2]},
        ],
    }
    links = service.post("/v1/experiments", body)["links"]
    jobs = service.run_jobs()
    assert {job["status"] for job in jobs} == {"succeeded"}
    table = service.get(links["table"])["items"]
    assert [row["n"] for row in table] == [2, 2, 2]


@SPACES
@ONE_DATABASE
def test_a_genotype_of_one_space_is_refused_in_the_latent_space_of_another(
    service: Service, published: list[str], space: str
) -> None:
    ids = register(service, space)
    ready = {row["search_space"]: row["id"] for row in service.get("/v1/latent-spaces")["items"]}
    encode = f"/v1/latent-spaces/{ready['darts']}/encode"
    assert service.refused(encode, {"genotype_ids": [published[0], ids[0]]}) == ["genotype_ids[1]"]
    near = {"near": {"genotype_id": published[0]}}
    assert service.refused(f"/v1/latent-spaces/{ready[space]}/generate", near) == ["near.genotype_id"]
    mixed = {"genotype_ids": [published[0], ids[0]]}
    assert service.refused("/v1/latent-spaces", mixed) == ["genotype_ids[1]"]


def _weights(bundle: bytes) -> dict[str, torch.Tensor]:
    """The weights in a bundle."""
    with zipfile.ZipFile(io.BytesIO(bundle)) as archive:
        return safetensors.torch.load(archive.read("weights.safetensors"))
