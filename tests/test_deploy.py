"""The files of `deploy/` fit what Kubernetes takes, and what the service has."""

import json
import re
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from app.jobs.tables import JobKind
from app.settings import Settings
from tests.conftest import ONE_DATABASE, Service
from worker.main import KINDS

DEPLOY = Path(__file__).parents[1] / "deploy"
KUBERNETES = DEPLOY / "kubernetes"
OTHERS = ("kustomization.yaml", "keda.yaml")
"""Files of kinds that Kubernetes itself does not know."""


def manifests() -> list[Any]:
    """Everything that is applied."""
    names = yaml.safe_load((KUBERNETES / "kustomization.yaml").read_text())["resources"]
    assert {*names, *OTHERS} == {path.name for path in KUBERNETES.iterdir()}
    return [one for name in names for one in yaml.safe_load_all((KUBERNETES / name).read_text())]


def containers() -> list[Any]:
    found = [
        one["spec"]["template"]["spec"]["containers"]
        for one in manifests()
        if "template" in one.get("spec", {})
    ]
    return [container for several in found for container in several]


@pytest.mark.parametrize("manifest", manifests(), ids=lambda one: f"{one['kind']} {one['metadata']['name']}")
def test_a_manifest_is_valid(manifest: Any) -> None:
    version = kubernetes_validate.latest_version()
    kubernetes_validate.validate(manifest, version, strict=True)


def test_the_workers_of_a_deployment_take_every_kind_once() -> None:
    kinds = [
        kind
        for container in containers()
        if "--kinds" in container["command"]
        for kind in container["command"][container["command"].index("--kinds") + 1].split(",")
    ]
    assert sorted(kinds) == sorted(KINDS)


def test_every_setting_of_a_manifest_is_one() -> None:
    known = {f"VGAE_NAS_{name.upper()}" for name in Settings.model_fields}
    texts = [path.read_text() for path in (*KUBERNETES.iterdir(), DEPLOY.parent / "docker-compose.yml")]
    named = {
        name
        for text in texts
        for name in re.findall(r"^\s+(?:- name: )?(VGAE_NAS_[A-Z_]+)", text, re.MULTILINE)
    }
    assert named
    assert named <= known


@ONE_DATABASE
def test_every_figure_of_the_dashboard_is_told(service: Service) -> None:
    asked = (DEPLOY / "grafana" / "dashboard.json").read_text()
    asked += (KUBERNETES / "keda.yaml").read_text()
    panels = json.loads((DEPLOY / "grafana" / "dashboard.json").read_text())["panels"]
    assert len(panels) > 5
    names = set(re.findall(r"\b(?:vgae_nas|http_request)[a-z_]+", asked)) - {"vgae_nas"}
    told = service.client.get("/metrics").text
    for name in names:
        family = re.sub(r"_(bucket|count|total)$", "", name)
        assert f"# TYPE {family}" in told or f"# TYPE {name} " in told, name
    for kind in JobKind:
        assert f'kind="{kind}"' in told
