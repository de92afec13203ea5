"""Data sets over HTTP."""

import base64
import io
import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from app.datasets.tables import DatasetDistance
from app.main import create_app
from app.settings import Settings
from models.datasets.sources import KNOWN_DATASETS
from tests.conftest import ONE_DATABASE, Service
from tests.models.datasets.test_sources import archive, picture, small, tarred


def rename_a_class(root: Path) -> None:
    for split in ("train", "test"):
        (root / split / "a").rename(root / split / "z")


def upload(service: Service, files: dict[str, bytes], name: str = "mine", **fields: str):
    return service.client.post(
        "/v1/datasets", files={"archive": archive(files)}, data={"name": name, **fields}
    )


def train_briefly(service: Service, dataset_id: str) -> None:
    """A training on a data set, which must succeed."""
    genotype = service.post("/v1/genotypes/published")["items"][0]["id"]
    overrides = {"cells": 2, "epochs": 1, "channels": 4, "batch_size": 4}
    body = {"dataset_id": dataset_id, "genotype_ids": [genotype], "recipe": "quick", "overrides": overrides}
    service.post("/v1/trainings", body)
    (job,) = service.run_jobs()
    assert job["status"] == "succeeded", job


def test_digits_are_built_in_and_added_once(service: Service) -> None:
    first = service.post("/v1/datasets", {"name": "digits"})
    assert (first["channels"], first["image_size"], first["classes"]) == (1, 8, 10)
    assert (first["train_count"], first["test_count"]) == (1_437, 360)
    assert service.post("/v1/datasets", {"name": "digits"})["id"] == first["id"]
    assert [row["id"] for row in service.get("/v1/datasets")["items"]] == [first["id"]]
    assert service.get(f"/v1/datasets/{first['id']}") == first


@ONE_DATABASE
def test_a_torchvision_set_is_read_from_the_data_root(service: Service) -> None:
    if not service.settings.data_root.is_dir():
        pytest.skip("no data root")
    assert service.post("/v1/datasets", {"name": "usps"})["train_count"] == 7_291


def test_an_uploaded_archive_becomes_a_data_set_that_can_be_trained_on(service: Service) -> None:
    answer = upload(service, small())
    assert answer.status_code == 201, answer.text
    dataset = answer.json()
    assert (dataset["source"], dataset["channels"], dataset["class_names"]) == ("upload", 3, ["a", "b"])
    train_briefly(service, dataset["id"])


@ONE_DATABASE
def test_a_folder_too_large_for_memory_is_trained_on_as_a_stream(settings: Settings, tmp_path: Path) -> None:
    for name, content in small().items():
        (tmp_path / "images" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "images" / name).write_bytes(content)
    narrow = settings.model_copy(update={"data_root": tmp_path, "resident_bytes": 100})
    app = create_app(narrow)
    with TestClient(app, base_url="http://localhost") as client:
        service = Service(client, narrow, app.state.database, app.state.artifacts)
        dataset = service.post("/v1/datasets", {"name": "mine", "folder": "images"})
        assert (dataset["source"], dataset["train_count"]) == ("folder", 6)
        train_briefly(service, dataset["id"])


def test_a_taken_name_is_a_conflict(service: Service, digits: str) -> None:
    assert upload(service, small(), name="digits").status_code == 409
    assert upload(service, small()).status_code == 201
    assert upload(service, small()).status_code == 409


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"name": "imagenette"}, "name"),
        ({"name": "fashion-mnist"}, "name"),
        ({"name": "imagenet"}, "name"),
        ({"name": "Upper"}, "name"),
        ({}, "name"),
        ({"name": "digits", "colour": True}, "colour"),
        ({"name": "mine", "folder": "../.."}, "folder"),
        ({"name": "mine", "folder": "nowhere"}, "folder"),
        ({"name": "mine", "folder": "x", "image_size": 0}, "image_size"),
    ],
)
@ONE_DATABASE
def test_a_bad_request_names_the_field(service: Service, body: dict[str, object], field: str) -> None:
    assert service.refused("/v1/datasets", body) == [field]
    assert service.get("/v1/datasets")["items"] == []


def test_a_bad_archive_is_a_problem_and_leaves_nothing(service: Service) -> None:
    answer = upload(service, {**small(), "train/a/bad.png": b"x"})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == "archive"
    assert "bad.png" in answer.json()["detail"]
    assert service.client.post("/v1/datasets", data={"name": "x"}, files={"other": b""}).status_code == 422
    assert service.client.post("/v1/datasets", content=b"x").status_code == 415
    assert service.get("/v1/datasets")["items"] == []
    assert not (service.settings.home / "artifacts" / "datasets").exists()


def test_facts_become_images_when_they_come(
    service: Service, published: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = service.get("/v1/datasets")["items"]
    facts = next(row for row in rows if row["name"] == "cifar10")
    assert facts["source"] == "facts"
    request = {"dataset_id": facts["id"], "recipe": "quick"}
    assert service.refused("/v1/searches", request) == ["dataset_id"]
    other = upload(service, small(), name="cifar10")
    assert other.status_code == 422
    assert [error["field"] for error in other.json()["errors"]] == ["name"]
    assert "50000 training and 10000 test images in 10 classes" in other.json()["detail"]
    same = replace(KNOWN_DATASETS["cifar10"], train_count=6, test_count=6, classes=2)
    monkeypatch.setitem(KNOWN_DATASETS, "cifar10", same)
    answer = upload(service, small(), name="cifar10")
    assert answer.status_code == 201, answer.text
    assert answer.json()["id"] == facts["id"]
    assert answer.json()["source"] == "upload"


def test_the_answer_tells_what_reading_came_to(service: Service) -> None:
    dataset = upload(service, {**small("L"), "notes.txt": b""}).json()
    account = dataset["account"]
    assert account["counts"] == {"train": {"a": 3, "b": 3}, "test": {"a": 3, "b": 3}}
    assert account["skipped"] == {"no image by its name": {"count": 1, "names": ["notes.txt"]}}
    assert (len(account["mean"]), len(account["deviation"])) == (1, 1)
    assert 0.3 < account["mean"][0] < 0.7
    assert any("fewer than 10" in warning for warning in account["warnings"])
    again = upload(service, small("L"), name="again").json()
    assert again["digest"] == dataset["digest"]
    assert service.get(f"/v1/datasets/{dataset['id']}")["account"] == account


def test_built_in_images_have_an_account_too(service: Service, digits: str) -> None:
    dataset = service.get(f"/v1/datasets/{digits}")
    assert sum(dataset["account"]["counts"]["train"].values()) == 1_437
    assert dataset["account"]["skipped"] == {}


def in_folder(root: Path, files: dict[str, bytes]) -> None:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)


@pytest.fixture
def folder_service(settings: Settings, tmp_path: Path) -> Iterator[Service]:
    """A service whose data root has a folder `images`, registered as `mine`."""
    in_folder(tmp_path / "images", small())
    narrow = settings.model_copy(update={"data_root": tmp_path})
    app = create_app(narrow)
    with TestClient(app, base_url="http://localhost") as client:
        service = Service(client, narrow, app.state.database, app.state.artifacts)
        service.post("/v1/datasets", {"name": "mine", "folder": "images"})
        yield service


@ONE_DATABASE
@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (rename_a_class, "classes were ['a', 'b'] and are ['b', 'z']"),
        (lambda root: (root / "train/a/0.png").unlink(), "class 'a' had 3 images in train and has 2"),
        (lambda root: (root / "train/a/0.png").write_bytes(picture(seed=99)), "their content is not"),
        (lambda root: in_folder(root, {"train/c/0.png": picture()}), "are ['a', 'b', 'c']"),
    ],
)
def test_a_folder_that_changed_is_refused_with_what_changed(
    folder_service: Service, tmp_path: Path, change: Callable[[Path], object], reason: str
) -> None:
    service = folder_service
    (dataset,) = service.get("/v1/datasets")["items"]
    assert service.post("/v1/datasets", {"name": "mine", "folder": "images"})["id"] == dataset["id"]
    change(tmp_path / "images")
    again = service.client.post("/v1/datasets", json={"name": "mine", "folder": "images"})
    assert again.status_code == 409
    assert reason in again.json()["detail"]
    published = service.post("/v1/genotypes/published")["items"][0]["id"]
    body = {"dataset_id": dataset["id"], "genotype_ids": [published], "recipe": "quick"}
    service.post("/v1/trainings", {**body, "overrides": {"channels": 4, "cells": 2, "epochs": 1}})
    (job,) = service.run_jobs()
    assert job["status"] == "failed"
    assert reason in job["error"]["detail"]


def test_the_same_name_with_another_size_is_a_conflict_that_names_both(folder_service: Service) -> None:
    body = {"name": "mine", "folder": "images", "image_size": 4}
    answer = folder_service.client.post("/v1/datasets", json=body)
    assert answer.status_code == 409
    assert "6 pixels" in answer.json()["detail"]
    assert "not 4" in answer.json()["detail"]


def test_a_tar_is_uploaded_as_a_zip_is(service: Service) -> None:
    files = {"archive": ("images.tar.gz", tarred(small(), "gz"))}
    answer = service.client.post("/v1/datasets", files=files, data={"name": "tarred"})
    assert answer.status_code == 201, answer.text
    assert answer.json()["train_count"] == 6


def test_a_data_set_goes_with_its_file_unless_something_refers_to_it(service: Service) -> None:
    dataset = upload(service, small()).json()
    files = service.settings.home / "artifacts" / "datasets"
    assert len(list(files.iterdir())) == 1
    assert service.client.delete(f"/v1/datasets/{dataset['id']}").status_code == 204
    assert list(files.iterdir()) == []
    digits = service.post("/v1/datasets", {"name": "digits"})["id"]
    service.post("/v1/searches", {"dataset_id": digits, "recipe": "quick"})
    refused = service.client.delete(f"/v1/datasets/{digits}")
    assert refused.status_code == 409
    assert service.get(f"/v1/datasets/{digits}")["id"] == digits


def test_neighbors_are_measured_once_and_both_ways(service: Service, digits: str) -> None:
    first = upload(service, small("RGB"), "first").json()["id"]
    second = upload(service, small("L"), "second").json()["id"]
    service.post("/v1/genotypes/published")  # which makes data sets of facts alone
    everyone = service.get(f"/v1/datasets/{first}/neighbors")["items"]
    # of CIFAR-10, which is known by facts alone, a profile ships; of ImageNet none does
    assert {row["name"] for row in everyone} == {"second", "digits", "cifar10"}
    assert [row["distance"] for row in everyone] == sorted(row["distance"] for row in everyone)
    found = [row for row in everyone if row["name"] != "cifar10"]
    assert [row["dataset_id"] for row in found] == [second, digits]
    back = service.get(f"/v1/datasets/{second}/neighbors")["items"]
    assert {row["dataset_id"]: row["distance"] for row in back}[first] == found[0]["distance"]
    with service.database.session() as session:
        assert session.query(DatasetDistance).count() == 5
        for row in session.query(DatasetDistance):
            row.distance = 7.0
        session.commit()
    assert [row["distance"] for row in service.get(f"/v1/datasets/{first}/neighbors")["items"]] == [7, 7, 7]
    assert service.client.delete(f"/v1/datasets/{second}").status_code == 204
    left = service.get(f"/v1/datasets/{first}/neighbors")["items"]
    assert {row["name"] for row in left} == {"digits", "cifar10"}


def test_distances_that_take_longer_are_measured_by_a_job(
    service: Service, digits: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = upload(service, small("RGB"), "first").json()["id"]
    upload(service, small("L"), "second")
    path = f"/v1/datasets/{first}/neighbors"
    with monkeypatch.context() as hurried:
        hurried.setattr("app.datasets.neighbors.AT_ONCE_SECONDS", -1.0)
        answers = [service.client.get(path) for _ in range(2)]
        assert [answer.status_code for answer in answers] == [202, 202]
        assert answers[0].json()["id"] == answers[1].json()["id"]
        assert answers[0].headers["location"] == f"/v1/jobs/{answers[0].json()['id']}"
        (job,) = service.run_jobs()
        assert (job["status"], job["kind"], job["result"]) == ("succeeded", "distances", {"distances": 2})
        measured = service.get(job["links"]["neighbors"])["items"]  # known, so that no time is needed
    assert {row["name"] for row in measured} == {"digits", "second"}
    assert all(row["distance"] > 0 for row in measured)


def test_a_profile_that_is_not_kept_is_made_by_a_job(service: Service, digits: str) -> None:
    first = upload(service, small("RGB"), "first").json()["id"]
    service.artifacts.delete("profiles")
    assert service.client.get(f"/v1/datasets/{first}/neighbors").status_code == 202
    (job,) = service.run_jobs()
    assert job["status"] == "succeeded", job
    assert service.get(f"/v1/datasets/{first}/neighbors")["items"][0]["distance"] > 0


def test_a_data_set_of_facts_alone_has_no_neighbors(service: Service, digits: str) -> None:
    service.post("/v1/genotypes/published")
    facts = next(row for row in service.get("/v1/datasets")["items"] if row["source"] == "facts")
    answer = service.client.get(f"/v1/datasets/{facts['id']}/neighbors")
    assert answer.status_code == 422
    assert service.client.get("/v1/datasets/ds_x/neighbors").status_code == 404


@ONE_DATABASE
def test_a_data_set_is_shown_as_a_sheet_and_as_single_images(service: Service) -> None:
    dataset = upload(service, small()).json()["id"]
    answer = service.client.get(f"/v1/datasets/{dataset}/sheet.png")
    assert answer.headers["content-type"] == "image/png"
    sheet = np.array(Image.open(io.BytesIO(answer.content)))
    first = np.array(Image.open(io.BytesIO(small()["train/a/0.png"])))
    assert sheet[4, 160].tolist() == first[0, 0].tolist()  # the first pixel of the first image of class a
    (row,) = service.get(f"/v1/datasets/{dataset}/images", **{"class": "b", "split": "test", "limit": 1})[
        "items"
    ]
    assert (row["class_name"], row["split"]) == ("b", "test")
    shown = np.array(Image.open(io.BytesIO(base64.b64decode(row["png"]))))
    assert np.array_equal(shown, np.array(Image.open(io.BytesIO(small()["test/b/0.png"]))))
    names = [row["class_name"] for row in service.get(f"/v1/datasets/{dataset}/images", limit=4)["items"]]
    assert names == ["a", "a", "b", "b"]
    refused = service.client.get(f"/v1/datasets/{dataset}/images", params={"class": "z"})
    assert refused.status_code == 422
    assert [error["field"] for error in refused.json()["errors"]] == ["class"]
    assert service.client.get("/v1/datasets/ds_x/sheet.png").status_code == 404


@ONE_DATABASE
def test_a_streamed_folder_is_shown_too_and_one_of_facts_is_refused(
    folder_service: Service, tmp_path: Path
) -> None:
    narrow = folder_service.settings.model_copy(update={"resident_bytes": 100})
    (dataset,) = folder_service.get("/v1/datasets")["items"]
    with TestClient(create_app(narrow), base_url="http://localhost") as client:
        assert client.get(f"/v1/datasets/{dataset['id']}/sheet.png").status_code == 200
        rename_a_class(tmp_path / "images")
        changed = client.get(f"/v1/datasets/{dataset['id']}/images")
        assert changed.status_code == 503
        assert "classes were" in changed.json()["detail"]
    folder_service.post("/v1/genotypes/published")
    facts = next(row for row in folder_service.get("/v1/datasets")["items"] if row["source"] == "facts")
    assert folder_service.client.get(f"/v1/datasets/{facts['id']}/sheet.png").status_code == 422


def test_the_licence_and_the_share_of_the_test_split_are_kept(service: Service) -> None:
    flat = {f"{label}/{i}.png": picture(seed=i) for label in "ab" for i in range(10)}
    answer = upload(service, flat, licence="CC-BY-4.0", test_share="0.5")
    assert answer.status_code == 201, answer.text
    assert (answer.json()["train_count"], answer.json()["test_count"]) == (10, 10)
    assert service.get(f"/v1/datasets/{answer.json()['id']}")["licence"] == "CC-BY-4.0"
    refused = upload(service, flat, "other", test_share="1.5")
    assert [error["field"] for error in refused.json()["errors"]] == ["test_share"]


@ONE_DATABASE
def test_a_folder_is_read_again_with_its_own_share(service: Service, tmp_path: Path) -> None:
    service.settings.data_root = tmp_path / "data"
    for label in "ab":
        for i in range(10):
            path = service.settings.data_root / "flat" / label / f"{i}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(picture(seed=i))
    dataset = service.post("/v1/datasets", {"name": "flat", "folder": "flat", "test_share": 0.5})
    assert (dataset["train_count"], dataset["test_count"]) == (10, 10)
    assert service.get(f"/v1/datasets/{dataset['id']}/images", split="test", limit=20)["items"]
    again = {"name": "flat", "folder": "flat"}
    assert service.post("/v1/datasets", again)["id"] == dataset["id"]
    for other in ({"test_share": 0.3}, {"licence": "MIT"}):
        assert service.client.post("/v1/datasets", json={**again, **other}).status_code == 409
    train_briefly(service, dataset["id"])


@ONE_DATABASE
def test_reading_that_takes_too_long_is_refused_and_leaves_nothing(service: Service) -> None:
    service.settings.read_seconds = 1e-3
    answer = upload(service, small())
    assert answer.status_code == 422
    assert "takes longer than 0.001 s" in answer.json()["detail"]
    assert service.get("/v1/datasets")["items"] == []
    kept = Path(service.settings.artifacts_url)
    assert [path for path in kept.rglob("*") if path.is_file()] == []
    service.settings.read_seconds = 3_600
    assert upload(service, small()).status_code == 201


@ONE_DATABASE
def test_a_reader_that_dies_takes_nothing_with_it(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as hostile:
        hostile.setattr("app.datasets.reading.load_archive", die)
        answer = upload(service, small())
    assert answer.status_code == 422
    assert "died (by SIGSEGV)" in answer.json()["detail"]
    assert service.get("/v1/datasets")["items"] == []
    assert upload(service, small()).status_code == 201


def die(*_: object) -> None:
    """Ends the process as a fault in a decoder would."""
    os.kill(os.getpid(), signal.SIGSEGV)
