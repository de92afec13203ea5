"""A slice of the hostile uploads, of which none is a fault of the service or leaves a file."""

from itertools import islice

import pytest

from bench.corpus import Upload, corpus
from tests.conftest import ONE_DATABASE, Service

EVERY = 16
SLICE = list(islice(corpus(1), 5, None, EVERY))


@ONE_DATABASE
@pytest.mark.parametrize("upload", SLICE, ids=[upload.name[:60] for upload in SLICE])
def test_a_hostile_upload_is_no_fault_of_the_service_and_leaves_nothing(
    service: Service, upload: Upload
) -> None:
    before = set(service.artifacts.files())
    if upload.body is not None:
        headers = {"Content-Type": upload.content_type}
        answer = service.client.post("/v1/datasets", content=upload.body, headers=headers)
    else:
        parts = {"archive": ("a.zip", upload.archive, "application/zip")}
        answer = service.client.post("/v1/datasets", data={"name": "hostile", **upload.fields}, files=parts)
    assert answer.status_code < 500, answer.text
    if answer.status_code == 201:
        assert service.client.delete(f"/v1/datasets/{answer.json()['id']}").status_code == 204
    else:
        assert answer.headers["content-type"] == "application/problem+json"
    assert set(service.artifacts.files()) == before
