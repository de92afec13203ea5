"""Written from `sync/`, to be awaited: A service."""

from __future__ import annotations

import asyncio
import os
import tempfile
import zipfile
from collections.abc import AsyncIterator
from contextlib import ExitStack
from io import BytesIO
from pathlib import Path
from typing import Any, TypeVar

import httpx2

from vgae_nas_client import flows, folders
from vgae_nas_client.aio.data import AsyncDataset, AsyncProposal
from vgae_nas_client.aio.work import AsyncComparison, AsyncJob
from vgae_nas_client.flows import Answer, Attempt, Flow
from vgae_nas_client.shapes import GenotypeInfo

T = TypeVar("T")

LOCAL = "http://localhost:8000"


class AsyncClient:
    """A VGAE-NAS service.

    Args:
        url: of the service; by default `VGAE_NAS_URL`, else `http://localhost:8000`.
        key: that opens it, if it asks for one; by default `VGAE_NAS_KEY`.
        timeout: seconds in which an answer must come.
        retries: of a request that fails in passing; each POST carries an idempotency key, so that a repeated
            one does nothing twice.
        progress: whether bars are shown; by default where a person looks.
    """

    def __init__(
        self,
        url: str | None = None,
        key: str | None = None,
        *,
        timeout: float = 120.0,
        retries: int = 5,
        progress: bool | None = None,
    ) -> None:
        self.url = (url or os.environ.get("VGAE_NAS_URL") or LOCAL).rstrip("/")
        key = key or os.environ.get("VGAE_NAS_KEY")
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self.retries, self.progress = retries, progress
        self._http = httpx2.AsyncClient(base_url=self.url, timeout=timeout, headers=headers)

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Closes its connections."""
        await self._http.aclose()

    async def request(self, method: str, path: str, *, params: Any = None, json: Any = None) -> Any:
        """The JSON of any request, with retries and errors as everywhere.

        Raises:
            NasError: as `vgae_nas_client.errors` has it.
        """
        call = flows.Call(method, path, params or {}, json)
        return (await self._run(flows.send(call, self.retries))).json

    async def upload(
        self,
        path: str | Path,
        name: str | None = None,
        *,
        image_size: int | None = None,
        test_share: float | None = None,
        licence: str | None = None,
    ) -> AsyncDataset:
        """Sends a folder of images, one folder a class, or an archive of such; the data set of it.

        Args:
            path: of the folder, or of a zip or tar.
            name: of the data set; by default that of the folder or file.
            image_size: side in pixels to which images are brought; needed if they differ.
            test_share: of each class, where there is no test folder.
            licence: of the images; exports carry it.

        Raises:
            FileNotFoundError: there is nothing at the path.
            InvalidRequest: the images cannot be read; the message says why.
            Conflict: the name is taken.
        """
        source = Path(path)
        fields = {"image_size": image_size, "test_share": test_share, "licence": licence}
        with ExitStack() as stack:
            archive = source
            if source.is_dir():
                folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="vgae-nas-")))
                archive = folders.zipped(source, folder / "images.zip")
            elif not source.is_file():
                raise FileNotFoundError(f"there is no folder and no archive at {source}")
            fields["name"] = name or folders.name_of(source)
            made = await self._run(flows.upload(archive, fields, self.retries))
        return AsyncDataset(self, made)

    async def dataset(self, name: str, *, download: bool = False) -> AsyncDataset:
        """A data set by its name or id, or one that the service knows, as `digits` or `cifar10`.

        Args:
            name: of it.
            download: lets torchvision fetch the images of a known one.
        """
        return AsyncDataset(self, await self._run(flows.known_dataset(name, self.retries, download)))

    async def datasets(self, tag: str | None = None) -> AsyncIterator[AsyncDataset]:
        """All data sets, newest first."""
        async for row in self._items("/v1/datasets", tag=tag):
            yield AsyncDataset(self, row)

    async def proposal(self, name: str) -> AsyncProposal:
        """A proposal by its name or id."""
        return AsyncProposal(self, await self._run(flows.get(f"/v1/proposals/{name}", self.retries)))

    async def register(
        self,
        form: str | dict[str, Any],
        *,
        name: str | None = None,
        dataset: str | None = None,
        test_accuracy: float | None = None,
    ) -> GenotypeInfo:
        """Registers a genotype, as text or as a dictionary of cells.

        Args:
            form: the genotype.
            name: of it.
            dataset: on which it was evaluated, by name or id.
            test_accuracy: in percent, as it was reported there.
        """
        evaluation = None
        if test_accuracy is not None:
            evaluation = {"dataset": dataset, "test_accuracy": test_accuracy}
        body = {"text" if isinstance(form, str) else "genotype": form, "name": name, "evaluation": evaluation}
        made = await self._run(flows.post("/v1/genotypes", self.retries, body))
        return GenotypeInfo.model_validate(made)

    async def genotypes(self, **filters: Any) -> AsyncIterator[GenotypeInfo]:
        """Genotypes, newest first, by what `GET /v1/genotypes` filters by."""
        async for row in self._items("/v1/genotypes", **filters):
            yield GenotypeInfo.model_validate(row)

    async def search(self, dataset: str, **fields: Any) -> list[AsyncJob]:
        """Starts architecture searches on a data set, one job a seed; fields as in `POST /v1/searches`."""
        made = await self._run(flows.post("/v1/searches", self.retries, {"dataset": dataset, **fields}))
        return [AsyncJob(self, row) for row in made["items"]]

    async def latent_space(self, **fields: Any) -> AsyncJob:
        """Starts the training of a latent space; fields as in `POST /v1/latent-spaces`."""
        return AsyncJob(self, await self._run(flows.post("/v1/latent-spaces", self.retries, fields)))

    async def job(self, job_id: str) -> AsyncJob:
        """A job by its id."""
        return AsyncJob(self, await self._run(flows.get(f"/v1/jobs/{job_id}", self.retries)))

    async def jobs(self, status: str | None = None, kind: str | None = None) -> AsyncIterator[AsyncJob]:
        """Jobs, newest first."""
        async for row in self._items("/v1/jobs", status=status, kind=kind):
            yield AsyncJob(self, row)

    async def comparison(self, name: str) -> AsyncComparison:
        """A comparison by the name or id of its experiment."""
        made = await self._run(flows.get(f"/v1/experiments/{name}", self.retries))
        return AsyncComparison(self, await self._run(flows.get(f"/v1/jobs/{made['job_id']}", self.retries)))

    async def save(self, training_id: str, folder: str | Path) -> Path:
        """Writes a trained network into a folder: the model, its weights, its card and `predict.py`.

        Args:
            training_id: of the training.
            folder: that is made if it is not there.
        """
        content = await self._run(flows.file(f"/v1/trainings/{training_id}/model.zip", self.retries))
        with zipfile.ZipFile(BytesIO(content)) as archive:
            archive.extractall(folder)
        return Path(folder)

    async def _items(self, path: str, **params: Any) -> AsyncIterator[Any]:
        cursor = None
        while True:
            items, cursor = await self._run(flows.page(path, self.retries, cursor, **params))
            for item in items:
                yield item
            if cursor is None:
                return

    async def _run(self, flow: Flow[T]) -> T:
        """Does the steps of a flow; its result."""
        sent: Any = None
        while True:
            try:
                step = flow.send(sent)
            except StopIteration as end:
                result: T = end.value
                return result
            sent = None
            if isinstance(step, Attempt):
                sent = await self._attempt(step.call)
            else:
                await asyncio.sleep(step.seconds)

    async def _attempt(self, call: flows.Call) -> Answer:
        params = {key: value for key, value in call.params.items() if value is not None}
        options: dict[str, Any] = {"params": params or None, "headers": dict(call.headers)}
        try:
            if call.file is not None:
                field, path = call.file
                with path.open("rb") as opened:
                    options |= {"data": call.form, "files": {field: (path.name, opened)}}
                    answer = await self._http.request(call.method, call.path, **options)
            else:
                answer = await self._http.request(call.method, call.path, json=call.json, **options)
        except httpx2.TransportError as error:
            return Answer(0, text=f"{type(error).__name__} at {self.url}: {error}")
        is_json = "json" in answer.headers.get("content-type", "")
        headers = {key.lower(): value for key, value in answer.headers.items()}
        text = "" if answer.is_success else answer.text
        return Answer(answer.status_code, headers, answer.content, answer.json() if is_json else None, text)
