"""Files that nothing refers to are removed, and no others."""

from datetime import timedelta

import torch
from sqlalchemy import update

from app.jobs.tables import Job
from app.upkeep import files
from tests.app.searches.test_endpoints import TINY
from tests.conftest import Service

NONE, HOUR = timedelta(0), timedelta(hours=1)


def test_only_what_no_row_refers_to_is_removed(service: Service, digits: str, latent_space: str) -> None:
    body = {"dataset_id": digits, "recipe": "quick", "overrides": TINY}
    service.post("/v1/searches", body)
    service.run_jobs()
    assert files.orphans(service.database, service.artifacts, NONE) == []
    kept = {key for key, _ in service.artifacts.files()}
    assert any(key.startswith("latent-spaces/") for key in kept)
    for key in (
        "jobs/job_x/token.pt",
        "weights/tr_x.safetensors",
        "datasets/img_x.pt",
        "exports/x.onnx.a.part",
    ):
        service.artifacts.put_tensors(key, {"x": torch.zeros(3)})
    assert files.remove_orphans(service.database, service.artifacts, HOUR) == []
    removed = files.remove_orphans(service.database, service.artifacts, NONE)
    assert len(removed) == 4
    assert {key for key, _ in service.artifacts.files()} == kept


def test_the_checkpoint_of_a_job_that_can_be_retried_stays(service: Service, digits: str) -> None:
    job = service.post("/v1/searches", {"dataset_id": digits, "recipe": "quick", "overrides": TINY})["items"][
        0
    ]
    service.post(f"/v1/jobs/{job['id']}/cancel")
    for token in ("old", "new"):
        service.artifacts.put(f"jobs/{job['id']}/{token}.pt", b"x")
    with service.database.session() as session:
        session.execute(update(Job).values(checkpoint_key=f"jobs/{job['id']}/new.pt"))
        session.commit()
    assert files.remove_orphans(service.database, service.artifacts, NONE) == [f"jobs/{job['id']}/old.pt"]
