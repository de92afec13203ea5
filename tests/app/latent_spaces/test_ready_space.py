"""The ready space over HTTP: there before anything was trained, and its members are what is known."""

from typing import Any

import pytest

from models.genotypes.published import PUBLISHED
from models.genotypes.search_space import DEFAULT_SPACE, SEARCH_SPACES
from tests.conftest import Service

GENERATE = "/v1/latent-spaces/generate"


def ready(service: Service, search_space: str = DEFAULT_SPACE) -> Any:
    spaces = [row for row in service.get("/v1/latent-spaces")["items"] if row["shipped"]]
    (space,) = [row for row in spaces if row["search_space"] == search_space]
    return space


def test_every_search_space_has_one(service: Service) -> None:
    known = [space["name"] for space in service.get("/v1/search-spaces")["items"]]
    assert known == list(SEARCH_SPACES)
    for name in known:
        space = ready(service, name)
        assert (space["ready"], space["member_count"], space["members_exact"]) == (True, 0, 1.0)


def test_a_new_service_generates_before_anything_is_known(service: Service) -> None:
    space = ready(service)
    assert (space["ready"], space["member_count"], space["job_id"]) == (True, 0, None)
    answer = service.post(GENERATE, {"random": "uniform", "count": 5})
    assert answer["latent_space_id"] == space["id"]
    assert len(answer["items"]) == 5
    (chosen,) = answer["warnings"]
    assert "the ready space" in chosen


def test_known_genotypes_are_members_at_once(service: Service, published: list[str]) -> None:
    space = ready(service)
    assert space["member_count"] == len(published)
    full = service.get(f"/v1/latent-spaces/{space['id']}")
    assert sorted(full["genotype_ids"]) == sorted(published)
    (cifar10,) = [row["id"] for row in service.get("/v1/datasets")["items"] if row["name"] == "cifar10"]
    body = {"near": {"dataset_id": cifar10}, "gamma": 0.0, "count": 1}
    answer = service.post(f"/v1/latent-spaces/{space['id']}/generate", body)
    best = max(PUBLISHED, key=lambda p: p.reported[0].test_accuracy if p.searched_on == "cifar10" else 0)
    assert answer["items"][0]["digest"] == best.genotype.digest()
    assert answer["start"]["points"][0]["member"]
    assert answer["warnings"] == []
    registered = service.post("/v1/genotypes", {"genotype": answer["items"][0]["genotype"]})
    assert registered["id"] in service.get(f"/v1/latent-spaces/{space['id']}")["genotype_ids"]
    near = {"near": {"genotype_id": registered["id"]}, "gamma": 0.0}
    assert service.post(f"/v1/latent-spaces/{space['id']}/generate", near)["start"]["points"][0]["member"]


def test_what_was_generated_is_no_member_and_can_be_deleted(service: Service, published: list[str]) -> None:
    space, count = ready(service)["id"], len(published)
    (row,) = service.post(GENERATE, {"near": {"genotype_id": published[0]}, "count": 1})["items"]
    assert service.get(f"/v1/latent-spaces/{space}")["member_count"] == count
    assert service.client.delete(f"/v1/genotypes/{row['id']}").status_code == 204
    assert service.client.delete(f"/v1/genotypes/{published[0]}").status_code == 204
    assert service.get(f"/v1/latent-spaces/{space}")["member_count"] == count - 1


def test_encoding_mapping_and_meaning_work_on_it(service: Service, published: list[str]) -> None:
    path = f"/v1/latent-spaces/{ready(service)['id']}"
    assert all(item["exact"] for item in service.post(f"{path}/encode", {"genotype_ids": published})["items"])
    service.post(GENERATE, {"near": {"genotype_id": published[0]}, "count": 4})
    assert len(service.get(f"{path}/map", generated=True)["items"]) == len(published) + 4
    assert service.get(f"{path}/meaning")["members"] == len(published)


def test_a_space_without_members_has_no_directions(service: Service) -> None:
    path = f"/v1/latent-spaces/{ready(service)['id']}"
    assert service.client.get(f"{path}/meaning").status_code == 409
    assert service.client.get(f"{path}/map").status_code == 422


def test_the_newest_trained_space_comes_before_the_ready_one(
    service: Service, published: list[str], latent_space: str
) -> None:
    answer = service.post(GENERATE, {"near": {"genotype_id": published[0]}, "count": 1})
    assert answer["latent_space_id"] == latent_space.split("/")[-1]
    assert "the newest trained one" in answer["warnings"][0]


def test_an_unknown_search_space_is_refused(service: Service) -> None:
    answer = service.client.post(GENERATE, params={"search_space": "nasnet"}, json={"random": "prior"})
    assert answer.status_code == 422
    assert [error["field"] for error in answer.json()["errors"]] == ["search_space"]


@pytest.mark.parametrize("kind", ["random", "near"])
def test_an_experiment_needs_no_latent_space(
    service: Service, digits: str, published: list[str], kind: str
) -> None:
    (cifar10,) = [row["id"] for row in service.get("/v1/datasets")["items"] if row["name"] == "cifar10"]
    arm = {"kind": kind, "count": 1, **({"dataset_id": cifar10} if kind == "near" else {})}
    body = {"dataset_ids": [digits], "recipe": "quick", "arms": [arm]}
    experiment = service.get(service.post("/v1/experiments", body)["links"]["experiment"])
    assert experiment["latent_space_id"] == ready(service)["id"]
    assert "the ready space" in experiment["warnings"][0]


def test_a_ready_space_that_nothing_is_known_of_answers_everywhere(service: Service) -> None:
    space = "/v1/latent-spaces/lat_00000000000000000000000002"
    assert service.get(space)["member_count"] == 0
    statuses = {
        path: service.client.get(f"{space}/{path}").status_code
        for path in ("map", "map?generated=true", "map?format=svg", "meaning", "graphs.pt")
    }
    assert set(statuses.values()) <= {409, 422}, statuses
    assert service.client.get("/spaces/lat_00000000000000000000000002").status_code == 200
    made = service.post(f"{space}/generate", {"random": "uniform", "count": 3})
    assert len(made["items"]) == 3
    assert service.client.get(f"{space}/map?generated=true").status_code == 422
