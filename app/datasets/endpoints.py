"""`/v1/datasets`."""

from typing import Annotated, Any, Literal, TypeVar

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, ValidationError
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile

from app.database import Database
from app.datasets import pictures, service
from app.datasets.neighbors import neighbors, order
from app.datasets.schemas import (
    DatasetIn,
    DatasetOut,
    DatasetRelabel,
    DatasetUpload,
    ImagesOut,
    NeighborOut,
    NeighborsOut,
)
from app.datasets.tables import Dataset
from app.dependencies import ArtifactsIn, DatabaseIn, Reading, SettingsIn, Writing
from app.jobs.schemas import JobOut
from app.jobs.starter import StarterIn
from app.naming import TagFilter
from app.pages import Cursor, Limit, Page, paginate
from app.problems import InvalidRequest, UnsupportedMediaType, from_validation
from app.routes import Route

router = APIRouter(prefix="/v1/datasets", tags=["datasets"], route_class=Route)

M = TypeVar("M", bound=BaseModel)

_BODY: dict[str, Any] = {
    "required": True,
    "content": {
        "application/json": {
            "schema": {"$ref": "#/components/schemas/DatasetIn"},  # `app/openapi.py` adds it
            "example": {"name": "digits"},
        },
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "required": ["name", "archive"],
                "properties": {
                    **DatasetUpload.model_json_schema()["properties"],
                    "archive": {
                        "type": "string",
                        "format": "binary",
                        "description": "A zip or tar of train/<class>/… and test/<class>/…, or of <class>/….",
                    },
                },
            }
        },
    },
}


@router.post("", status_code=201, openapi_extra={"requestBody": _BODY})
async def create_dataset(
    request: Request, database: DatabaseIn, settings: SettingsIn, artifacts: ArtifactsIn
) -> DatasetOut:
    """Adds a data set: by name as JSON, or an archive of images as multipart.

    Known names are read from the data root (`digits` comes with the service). A name that is there
    already gives the same data set again.
    """
    media = request.headers.get("content-type", "").split(";")[0].strip().lower()
    if media == "application/json":
        asked = _parse(DatasetIn, await request.body())

        def work(database: Database) -> Dataset:
            with database.session() as session:
                return service.register(session, asked, settings, artifacts)
    elif media == "multipart/form-data":
        form = await request.form(max_files=1, max_fields=10)
        archive = form.get("archive")
        if not isinstance(archive, UploadFile):
            raise InvalidRequest.of("archive", "must be an uploaded zip file")
        fields = {name: value for name, value in form.items() if name != "archive" and value != ""}
        upload = _parse(DatasetUpload, fields)

        def work(database: Database) -> Dataset:
            with database.session() as session:
                return service.upload(session, upload, archive.file, settings, artifacts)
    else:
        raise UnsupportedMediaType("the body must be application/json or multipart/form-data")
    return DatasetOut.model_validate(await run_in_threadpool(work, database))


@router.get("")
def list_datasets(
    session: Reading, tag: TagFilter = None, cursor: Cursor = None, limit: Limit = 50
) -> Page[DatasetOut]:
    """Data sets, newest first."""
    rows, following = paginate(session, service.listing(tag), None, Dataset.id, cursor, limit)
    return Page(items=[DatasetOut.model_validate(row) for row in rows], next_cursor=following)


@router.get("/{dataset_id}")
def get_dataset(session: Reading, dataset_id: str) -> DatasetOut:
    """One data set."""
    return DatasetOut.model_validate(service.get(session, dataset_id))


@router.get(
    "/{dataset_id}/sheet.png", response_class=Response, responses={200: {"content": {"image/png": {}}}}
)
def get_sheet(session: Reading, dataset_id: str, settings: SettingsIn, artifacts: ArtifactsIn) -> Response:
    """The first training images of every class, a row for each."""
    dataset = service.get(session, dataset_id)
    session.close()  # reading images takes a while
    return Response(pictures.sheet(dataset, settings, artifacts), media_type="image/png")


@router.get("/{dataset_id}/images")
def list_images(
    session: Reading,
    dataset_id: str,
    settings: SettingsIn,
    artifacts: ArtifactsIn,
    split: Literal["train", "test"] = "train",
    class_name: Annotated[str | None, Query(alias="class", description="Of this class alone.")] = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
) -> ImagesOut:
    """Some images as the network sees them, of one class or of each in turn."""
    dataset = service.get(session, dataset_id)
    session.close()
    return ImagesOut(items=pictures.images(dataset, settings, artifacts, split, class_name, limit))


@router.get(
    "/{dataset_id}/neighbors",
    response_model=None,
    responses={200: {"model": NeighborsOut}, 202: {"model": JobOut, "description": "The job that measures."}},
)
def list_neighbors(
    database: DatabaseIn, dataset_id: str, settings: SettingsIn, artifacts: ArtifactsIn, starter: StarterIn
) -> NeighborsOut | JobOut:
    """The known data sets by optimal transport distance, nearest first.

    A pair is measured once. What takes more than a second is measured by a job: then the answer is a 202.
    """
    found = neighbors(database, dataset_id, settings, artifacts)
    if found.pending:
        with database.session() as session:
            return starter.defer(session, order(session, dataset_id))
    items = [
        NeighborOut(dataset_id=n.dataset.id, name=n.dataset.name, distance=n.distance, reason=n.reason)
        for n in found.items
    ]
    return NeighborsOut(dataset_id=dataset_id, items=items)


@router.patch("/{dataset_id}")
def relabel_dataset(session: Writing, dataset_id: str, body: DatasetRelabel) -> DatasetOut:
    """Changes note and tags, and of what was uploaded or lies in a folder also the name."""
    return DatasetOut.model_validate(service.relabel(session, dataset_id, body))


@router.delete("/{dataset_id}", status_code=204)
def delete_dataset(session: Writing, dataset_id: str, artifacts: ArtifactsIn) -> None:
    """Removes a data set that nothing refers to."""
    service.delete(session, dataset_id, artifacts)


def _parse(schema: type[M], value: bytes | dict[str, Any]) -> M:
    try:
        return schema.model_validate_json(value) if isinstance(value, bytes) else schema.model_validate(value)
    except ValidationError as error:
        raise from_validation(error.errors()) from None
