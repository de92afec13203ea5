"""Evaluations over HTTP: scores by class, as JSON and as a picture."""

import io
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from tests.conftest import ONE_DATABASE, Service
from tests.models.datasets.test_sources import archive, picture


def train(service: Service, dataset_id: str, genotype_id: str, seeds: list[int]) -> list[str]:
    """Trains briefly; the ids of the evaluations."""
    overrides = {"cells": 2, "epochs": 1, "channels": 4, "batch_size": 16, "class_weights": "balanced"}
    body = {
        "dataset_id": dataset_id,
        "genotype_ids": [genotype_id],
        "recipe": "quick",
        "overrides": overrides,
        "seeds": seeds,
    }
    service.post("/v1/trainings", body)
    jobs = service.run_jobs()
    assert {job["status"] for job in jobs} == {"succeeded"}, jobs
    return [job["result"]["evaluation_id"] for job in jobs]


def test_an_evaluation_tells_every_class(service: Service, published: list[str]) -> None:
    files = {f"train/{label}/{i}.png": picture(seed=i) for label in "abc" for i in range(20)}
    files |= {f"test/{label}/{i}.png": picture(seed=99 + i) for label in "ab" for i in range(7)}
    upload = {"archive": archive(files)}
    dataset = service.client.post("/v1/datasets", files=upload, data={"name": "three"}).json()
    assert any("no test image is of the classes c" in warning for warning in dataset["account"]["warnings"])
    (evaluation_id,) = train(service, dataset["id"], published[0], [1])
    full = service.get(f"/v1/evaluations/{evaluation_id}")
    confusion = np.array(full["confusion"])
    assert confusion.sum(1).tolist() == [7, 7, 0]
    assert 100 * confusion.trace() / 14 == pytest.approx(full["last_test_accuracy"])
    assert list(full["class_accuracies"]) == ["a", "b", "c"]
    assert full["class_accuracies"]["c"] is None  # nothing is known of it
    recalls = [100 * confusion[label, label] / 7 for label in range(2)]
    assert [full["class_accuracies"][name] for name in "ab"] == pytest.approx(recalls)
    assert full["balanced_accuracy"] == pytest.approx(np.mean(recalls))
    assert 0 <= full["macro_f1"] <= 100
    assert full["settings"]["class_weights"] == "balanced"


def test_a_confusion_matrix_is_a_picture(service: Service, digits: str, published: list[str]) -> None:
    (evaluation_id,) = train(service, digits, published[0], [1])
    path = f"/v1/evaluations/{evaluation_id}/confusion"
    svg = service.client.get(path)
    assert svg.headers["content-type"] == "image/svg+xml"
    assert ElementTree.fromstring(svg.content).tag.endswith("svg")
    png = service.client.get(path, params={"format": "png"})
    assert Image.open(io.BytesIO(png.content)).size[0] > 300
    evaluation = {"dataset_id": digits, "test_accuracy": 90.0}
    genotype = service.get(f"/v1/genotypes/{published[0]}")["genotype"]
    service.post("/v1/genotypes", {"genotype": genotype, "evaluation": evaluation})
    board = service.get(f"/v1/datasets/{digits}/leaderboard")["items"]
    reported = next(row for row in board if row["kind"] == "reported")
    assert service.get(f"/v1/evaluations/{reported['id']}")["confusion"] is None
    assert service.client.get(f"/v1/evaluations/{reported['id']}/confusion").status_code == 404
    assert service.client.get("/v1/evaluations/ev_x").status_code == 404


@pytest.mark.parametrize("score", ["balanced_accuracy", "macro_f1"])
@ONE_DATABASE
def test_a_leaderboard_is_sorted_by_scores_of_classes(
    service: Service, digits: str, published: list[str], score: str
) -> None:
    train(service, digits, published[0], [1, 2, 3])
    evaluation = {"dataset_id": digits, "test_accuracy": 99.0}
    genotype = service.get(f"/v1/genotypes/{published[1]}")["genotype"]
    service.post("/v1/genotypes", {"genotype": genotype, "evaluation": evaluation})
    rows = service.get(f"/v1/datasets/{digits}/leaderboard", sort=score)["items"]
    values = [row[score] for row in rows]
    assert values[-1] is None  # reported, without scores of classes
    assert values[:-1] == sorted(values[:-1], reverse=True)
    assert len(set(values)) > 1
