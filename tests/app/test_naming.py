"""Names stand wherever ids do; labels are kept, changed and filtered by."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.naming import SHORT, Labels, long_name
from tests.conftest import ONE_DATABASE, Service


@given(st.text(max_size=20), st.sets(st.sampled_from([*SHORT, *SHORT.values()])), st.booleans())
def test_a_short_name_is_written_out_only_where_the_long_one_is_known_and_free(
    key: str, known: set[str], is_given: bool
) -> None:
    for name in (key, *SHORT):
        full = SHORT.get(name)
        found = long_name(name, known, {full} if is_given else set())
        assert found == (full if full in known and name not in known and not is_given else name)


@pytest.fixture
def searched(service: Service, digits: str) -> str:
    """A search on the digits, by their name; its id."""
    body = {"dataset": "digits", "method": "random", "recipe": "quick"}
    job = service.post("/v1/searches", body)["items"][0]
    service.run_jobs()
    search_id: str = job["links"]["search"].rsplit("/")[-1]
    return search_id


def test_a_name_does_for_an_id_in_paths_queries_and_bodies(
    service: Service, digits: str, searched: str, latent_space: str
) -> None:
    assert service.get("/v1/datasets/digits")["id"] == digits
    assert [row["id"] for row in service.get("/v1/searches", dataset="digits")["items"]] == [searched]
    assert [row["id"] for row in service.get("/v1/searches", dataset_id="digits")["items"]] == [searched]
    assert service.client.patch(latent_space, json={"name": "six"}).status_code == 200
    near = {"near": {"genotype": "DARTS-V2"}, "constraints": {"network": {"dataset": "digits"}}}
    made = service.post("/v1/latent-spaces/six/generate", near)
    assert made["items"][0]["source"]["network"]["image_size"] == 8
    between = {"between": {"datasets": ["cifar10", "imagenet"]}}
    points = service.post("/v1/latent-spaces/six/generate", between)["start"]["points"]
    assert all(point["dataset_id"].startswith("ds_") for point in points)
    arms = [
        {"kind": "near", "dataset": "cifar10", "count": 1},
        {"kind": "genotypes", "genotypes": ["PC-DARTS-CIFAR", "DARTS-V2"]},
    ]
    body = {"datasets": ["digits"], "latent_space": "six", "recipe": "quick", "arms": arms}
    experiment = service.get(service.post("/v1/experiments", body)["links"]["experiment"])
    assert experiment["dataset_ids"] == [digits]
    assert [name["name"] for name in experiment["arms"]] == ["near cifar10", "genotypes"]


def test_a_name_that_several_have_is_refused_with_their_ids(service: Service, published: list[str]) -> None:
    text = service.get(f"/v1/genotypes/{published[0]}")["text"]
    twins = [service.post("/v1/genotypes", {"text": text, "name": "twin"})["id"] for _ in range(2)]
    answer = service.client.get("/v1/genotypes/twin")
    assert answer.status_code == 422
    assert all(twin in answer.json()["detail"] for twin in twins)
    body = {"genotypes": [*published[:2], "twin"]}
    assert service.refused("/v1/latent-spaces", body) == ["genotype_ids[2]"]


def test_what_is_no_name_is_no_id_either(service: Service, digits: str) -> None:
    assert service.client.get("/v1/datasets/photos").status_code == 404
    body = {"dataset": "photos", "recipe": "quick"}
    assert service.refused("/v1/searches", body) == ["dataset_id"]
    assert service.refused("/v1/searches", {**body, "dataset_id": digits}) == ["dataset"]


@ONE_DATABASE
def test_a_parameter_that_is_not_known_is_refused(service: Service) -> None:
    answer = service.client.get("/v1/genotypes?limit=2&sort=size")
    assert answer.status_code == 422
    (error,) = answer.json()["errors"]
    assert error["field"] == "sort"
    assert "max_parameters" in error["detail"]
    assert service.client.get("/v1/search-spaces?all=1").json()["errors"][0]["field"] == "all"
    assert service.client.get("/v1/jobs?status=queued&limit=1").status_code == 200


LABELS: dict[str, Any] = {"note": "from the field", "tags": ["field", "2026"]}


def test_labels_are_kept_changed_and_filtered_by(
    service: Service, digits: str, published: list[str], latent_space: str
) -> None:
    text = service.get(f"/v1/genotypes/{published[0]}")["text"]
    genotype = service.post("/v1/genotypes", {"text": text, "name": "ours", **LABELS})
    assert {key: genotype[key] for key in LABELS} == LABELS
    for path in (f"/v1/datasets/{digits}", latent_space):
        changed = service.client.patch(path, json=LABELS).json()
        assert {key: changed[key] for key in LABELS} == LABELS
        collection = path.rsplit("/", 1)[0]
        assert [row["id"] for row in service.get(collection, tag="2026")["items"]] == [changed["id"]]
        assert service.get(collection, tag="202")["items"] == []
        assert service.client.patch(path, json={"tags": None}).json()["tags"] == []
        assert service.get(path)["note"] == LABELS["note"]
    assert [row["id"] for row in service.get("/v1/genotypes", tag="field")["items"]] == [genotype["id"]]
    assert [row["id"] for row in service.get("/v1/genotypes", name="ours")["items"]] == [genotype["id"]]
    assert service.client.patch("/v1/genotypes/ours", json={"name": "theirs"}).json()["name"] == "theirs"
    assert service.client.get("/v1/genotypes/ours").status_code == 404


@ONE_DATABASE
def test_names_are_free_when_they_are_taken(service: Service, published: list[str], digits: str) -> None:
    body = {"genotypes": published[:3], "overrides": {"max_epochs": 1}, "name": "three"}
    service.post("/v1/latent-spaces", body)
    assert service.client.post("/v1/latent-spaces", json=body).status_code == 409
    other = service.post("/v1/latent-spaces", {**body, "name": "four"})["links"]["latent_space"]
    assert service.client.patch(other, json={"name": "three"}).status_code == 409
    assert service.client.patch(other, json={"name": "four"}).status_code == 200
    for name in ("a/b", "", "x" * 101, "gen_01ARZ3NDEKTSV4RRFFQ69G5FAV", "line\nbreak"):
        assert service.refused("/v1/latent-spaces", {**body, "name": name}) == ["name"]
    assert service.client.patch(f"/v1/datasets/{digits}", json={"name": "numbers"}).status_code == 422
    assert service.refused("/v1/latent-spaces", {**body, "name": "n", "tags": ["a b"]}) == ["tags[0]"]


@given(st.text("aZ09_.:@+-éя日", min_size=1, max_size=50))
def test_every_tag_of_the_pattern_is_taken(tag: str) -> None:
    assert Labels(tags=[tag]).tags == [tag]


def test_members_are_chosen_by_what_they_are(service: Service, published: list[str], digits: str) -> None:
    chosen = {"origin": "published", "dataset": "cifar10", "top": 4}
    body = {"members": chosen, "overrides": {"max_epochs": 1}}
    space = service.get(service.post("/v1/latent-spaces", body)["links"]["latent_space"])
    full = [service.get(f"/v1/genotypes/{name}") for name in published]
    cifar10 = service.get("/v1/datasets/cifar10")["id"]
    accuracies = {
        row["id"]: max(
            (e["test_accuracy"] for e in row["evaluations"] if e["dataset_id"] == cifar10), default=0.0
        )
        for row in full
    }
    best = sorted(accuracies.values(), reverse=True)[:4]
    assert [accuracies[name] for name in space["genotype_ids"]] == best
    trained = {"dataset": "digits", "members": {"name": "DARTS-V2"}, "recipe": "quick", "seeds": [1, 2]}
    jobs = service.post("/v1/trainings", trained)["items"]
    assert len(jobs) == 2
    assert service.refused("/v1/latent-spaces", {**body, "members": {"tag": "nothing"}}) == ["members"]
    assert service.refused("/v1/latent-spaces", {**body, "genotypes": published[:2]}) == ["body"]
