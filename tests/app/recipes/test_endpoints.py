"""Recipes: what they are, what they may be changed to, and how long they take."""

from tests.conftest import ONE_DATABASE, Service


def test_every_recipe_tells_its_values_and_their_ranges(service: Service) -> None:
    told = service.get("/v1/recipes")
    names = {(item["kind"], item["name"]) for item in told["items"]}
    assert {("training", "paper-small"), ("search", "quick"), ("latent_space", "default")} <= names
    assert told["dataset"] == "cifar10"
    for item in told["items"]:
        fields = told["fields"][item["kind"]]
        assert set(item["settings"]) == set(fields)
        for name, value in item["settings"].items():
            field = fields[name]
            if "minimum" in field:
                assert value >= field["minimum"]
            if "enum" in field:
                assert value in field["enum"]
        assert item["minutes"] > 0
        assert not item["measured"]
        assert item["pace"] == 1.0
    assert told["fields"]["training"]["epochs"] == {
        "default": 50,
        "maximum": 2000,
        "minimum": 1,
        "title": "Epochs",
        "type": "integer",
    }


@ONE_DATABASE
def test_minutes_are_by_what_jobs_took_here(service: Service, digits: str, published: list[str]) -> None:
    brief = {"epochs": 1, "channels": 4, "cells": 2}
    body = {"dataset": "digits", "genotypes": published[:1], "recipe": "quick", "overrides": brief}
    (job,) = service.post("/v1/trainings", body)["items"]
    service.run_jobs()
    done = service.get(f"/v1/jobs/{job['id']}")
    told = service.get("/v1/recipes", dataset="digits")
    assert told["dataset"] == "digits"
    quick = next(i for i in told["items"] if (i["kind"], i["name"]) == ("training", "quick"))
    assert quick["measured"]
    assert quick["minutes"] > 0
    assert done["estimated_seconds"] > 0
    search = next(i for i in told["items"] if (i["kind"], i["name"]) == ("search", "quick"))
    assert not search["measured"]
