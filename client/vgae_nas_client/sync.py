"""The client: a service, and the things in it."""

from __future__ import annotations

import os
import tempfile
import time
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from functools import cached_property
from importlib.util import module_from_spec, spec_from_file_location
from io import BytesIO
from pathlib import Path
from typing import Any, TypeVar, overload

import httpx2

from vgae_nas_client import flows, showing
from vgae_nas_client.errors import NasError
from vgae_nas_client.flows import Answer, Attempt, Flow
from vgae_nas_client.shapes import (
    ArchitectureInfo,
    DatasetInfo,
    EvaluationInfo,
    Event,
    GenotypeInfo,
    JobInfo,
    ProposalInfo,
    TableInfo,
    TableRow,
    TrainingInfo,
)

T = TypeVar("T")

LOCAL = "http://localhost:8000"

ARCHIVES = (".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz")


class Client:
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
        self._http = httpx2.Client(base_url=self.url, timeout=timeout, headers=headers)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes its connections."""
        self._http.close()

    def request(self, method: str, path: str, *, params: Any = None, json: Any = None) -> Any:
        """The JSON of any request, with retries and errors as everywhere.

        Raises:
            NasError: as `vgae_nas_client.errors` has it.
        """
        call = flows.Call(method, path, params or {}, json)
        return (self._run(flows.send(call, self.retries))).json

    def upload(
        self,
        path: str | Path,
        name: str | None = None,
        *,
        image_size: int | None = None,
        test_share: float | None = None,
        licence: str | None = None,
    ) -> Dataset:
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
                archive = _zipped(source, folder / "images.zip")
            elif not source.is_file():
                raise FileNotFoundError(f"there is no folder and no archive at {source}")
            fields["name"] = name or name_of(source)
            made = self._run(flows.upload(archive, fields, self.retries))
        return Dataset(self, made)

    def dataset(self, name: str, *, download: bool = False) -> Dataset:
        """A data set by its name or id, or one that the service knows, as `digits` or `cifar10`.

        Args:
            name: of it.
            download: lets torchvision fetch the images of a known one.
        """
        return Dataset(self, self._run(flows.known_dataset(name, self.retries, download)))

    def datasets(self, tag: str | None = None) -> Iterator[Dataset]:
        """All data sets, newest first."""
        for row in self._items("/v1/datasets", tag=tag):
            yield Dataset(self, row)

    def proposal(self, name: str) -> Proposal:
        """A proposal by its name or id."""
        return Proposal(self, self._run(flows.get(f"/v1/proposals/{name}", self.retries)))

    def register(
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
        made = self._run(flows.post("/v1/genotypes", self.retries, body))
        return GenotypeInfo.model_validate(made)

    def genotypes(self, **filters: Any) -> Iterator[GenotypeInfo]:
        """Genotypes, newest first, by what `GET /v1/genotypes` filters by."""
        for row in self._items("/v1/genotypes", **filters):
            yield GenotypeInfo.model_validate(row)

    def search(self, dataset: str, **fields: Any) -> list[Job]:
        """Starts architecture searches on a data set, one job a seed; fields as in `POST /v1/searches`."""
        made = self._run(flows.post("/v1/searches", self.retries, {"dataset": dataset, **fields}))
        return [Job(self, row) for row in made["items"]]

    def latent_space(self, **fields: Any) -> Job:
        """Starts the training of a latent space; fields as in `POST /v1/latent-spaces`."""
        return Job(self, self._run(flows.post("/v1/latent-spaces", self.retries, fields)))

    def job(self, job_id: str) -> Job:
        """A job by its id."""
        return Job(self, self._run(flows.get(f"/v1/jobs/{job_id}", self.retries)))

    def jobs(self, status: str | None = None, kind: str | None = None) -> Iterator[Job]:
        """Jobs, newest first."""
        for row in self._items("/v1/jobs", status=status, kind=kind):
            yield Job(self, row)

    def comparison(self, name: str) -> Comparison:
        """A comparison by the name or id of its experiment."""
        made = self._run(flows.get(f"/v1/experiments/{name}", self.retries))
        return Comparison(self, self._run(flows.get(f"/v1/jobs/{made['job_id']}", self.retries)))

    def save(self, training_id: str, folder: str | Path) -> Path:
        """Writes a trained network into a folder: the model, its weights, its card and `predict.py`.

        Args:
            training_id: of the training.
            folder: that is made if it is not there.
        """
        content = self._run(flows.file(f"/v1/trainings/{training_id}/model.zip", self.retries))
        with zipfile.ZipFile(BytesIO(content)) as archive:
            archive.extractall(folder)
        return Path(folder)

    def _items(self, path: str, **params: Any) -> Iterator[Any]:
        cursor = None
        while True:
            items, cursor = self._run(flows.page(path, self.retries, cursor, **params))
            for item in items:  # noqa: UP028
                yield item
            if cursor is None:
                return

    def _run(self, flow: Flow[T]) -> T:
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
                sent = self._attempt(step.call)
            else:
                time.sleep(step.seconds)

    def _attempt(self, call: flows.Call) -> Answer:
        params = {key: value for key, value in call.params.items() if value is not None}
        options: dict[str, Any] = {"params": params or None, "headers": dict(call.headers)}
        try:
            if call.file is not None:
                field, path = call.file
                with path.open("rb") as opened:
                    options |= {"data": call.form, "files": {field: (path.name, opened)}}
                    answer = self._http.request(call.method, call.path, **options)
            else:
                answer = self._http.request(call.method, call.path, json=call.json, **options)
        except httpx2.TransportError as error:
            return Answer(0, text=f"{type(error).__name__} at {self.url}: {error}")
        is_json = "json" in answer.headers.get("content-type", "")
        headers = {key.lower(): value for key, value in answer.headers.items()}
        text = "" if answer.is_success else answer.text
        return Answer(answer.status_code, headers, answer.content, answer.json() if is_json else None, text)


class Dataset:
    """Labelled images at the service.

    Args:
        client: of the service.
        answer: as the service told it.
    """

    def __init__(self, client: Client, answer: Any) -> None:
        self.client, self.info = client, DatasetInfo.model_validate(answer)

    @property
    def id(self) -> str:
        """Its id."""
        return self.info.id

    @property
    def name(self) -> str:
        """Its name."""
        return self.info.name

    @property
    def warnings(self) -> list[str]:
        """What was doubted or chosen when its images were read."""
        return [] if self.info.account is None else self.info.account.warnings

    def propose(
        self,
        count: int = 5,
        *,
        max_parameters: int | None = None,
        max_macs: int | None = None,
        limits: dict[str, Any] | None = None,
        rank: dict[str, Any] | None = None,
        **fields: Any,
    ) -> Proposal:
        """Architectures for these images, at once and with no training.

        Args:
            count: how many.
            max_parameters, max_macs: of a network for these images.
            limits: others, as in `POST /v1/proposals`.
            rank: an order to choose by, as there.
            fields: other fields of the request, as `gamma`, `recipe`, `space`, `seed`, `name`.
        """
        limits = dict(limits or {})
        for name, most in (("parameters", max_parameters), ("macs", max_macs)):
            if most is not None:
                limits[name] = {"max": most}
        body = {"dataset": self.id, "count": count, "limits": limits or None, "rank": rank, **fields}
        return Proposal(self.client, self.client._run(flows.post("/v1/proposals", self.client.retries, body)))

    def compare(
        self,
        architectures: Proposal | Iterable[Architecture | str],
        *,
        references: Sequence[str] = (),
        recipe: str | None = None,
        arms: Sequence[dict[str, Any]] = (),
        **fields: Any,
    ) -> Comparison:
        """Trains architectures on these images, beside others, alike.

        Args:
            architectures: a proposal, or architectures or genotypes by id or name.
            references: networks of torchvision's, by name.
            recipe: of all trainings; by default that of the proposal, or the service's choice.
            arms: others, as in `POST /v1/experiments`.
            fields: other fields of the request, as `seeds`, `overrides`, `name`.
        """
        others = [*arms, *({"kind": "reference", "model": model} for model in references)]
        body: dict[str, Any] = {"datasets": [self.id], "recipe": recipe, **fields}
        if isinstance(architectures, Proposal):
            body |= {"proposal": architectures.info.id, "arms": others}
        else:
            ids = [each if isinstance(each, str) else each.info.genotype_id for each in architectures]
            body["arms"] = [{"kind": "genotypes", "genotypes": ids}, *others]
        return Comparison(
            self.client, self.client._run(flows.post("/v1/experiments", self.client.retries, body))
        )

    def campaign(self, trainings: int | None = None, *, hours: float | None = None, **fields: Any) -> Job:
        """Looks for the best architecture within a budget of trainings or hours; fields as in the API."""
        budget = {"trainings": trainings} if hours is None else {"hours": hours}
        body = {"dataset": self.id, "budget": budget, **fields}
        return Job(self.client, self.client._run(flows.post("/v1/campaigns", self.client.retries, body)))

    def search(self, **fields: Any) -> list[Job]:
        """Starts architecture searches on these images; fields as in `POST /v1/searches`."""
        return self.client.search(self.id, **fields)

    def leaderboard(self, **filters: Any) -> Iterator[EvaluationInfo]:
        """What was measured on these images, best first."""
        for row in self.client._items(f"/v1/datasets/{self.id}/leaderboard", **filters):
            yield EvaluationInfo.model_validate(row)

    def __repr__(self) -> str:
        images = f"{self.info.train_count + self.info.test_count} images in {self.info.classes} classes"
        return f"Dataset({self.name!r}: {images}, {self.info.image_size} pixels)"


class Architecture:
    """One architecture, in a network for the images that it was proposed for.

    Args:
        client: of the service.
        info: as the service told it.
    """

    def __init__(self, client: Client, info: ArchitectureInfo) -> None:
        self.client, self.info = client, info

    @property
    def parameters(self) -> int:
        """Trainable parameters of the network."""
        return self.info.network.parameters

    def svg(self) -> str:
        """Both cells as a picture."""
        return (self.client._run(flows.file(self.info.links["picture"], self.client.retries))).decode()

    def module(self) -> str:
        """The network as a Python file that imports PyTorch alone."""
        return (self.client._run(flows.file(self.info.links["module"], self.client.retries))).decode()

    def onnx(self) -> bytes:
        """The network as ONNX, with fresh weights."""
        return self.client._run(flows.file(self.info.links["onnx"], self.client.retries))

    def to_torch(self) -> Any:
        """The network as an `nn.Module` with fresh weights; needs PyTorch.

        The service's Python file is run for it: only take it from a service that you trust.
        """
        with tempfile.TemporaryDirectory(prefix="vgae-nas-") as folder:
            path = Path(folder) / "module.py"
            path.write_text(self.module(), encoding="utf-8")
            spec = spec_from_file_location("vgae_nas_architecture", path)
            assert spec is not None
            assert spec.loader is not None
            module = module_from_spec(spec)
            spec.loader.exec_module(module)
        return module.build()

    def save(self, folder: str | Path) -> Path:
        """Writes `module.py` and `cells.svg` into a folder."""
        into = Path(folder)
        into.mkdir(parents=True, exist_ok=True)
        (into / "module.py").write_text(self.module(), encoding="utf-8")
        (into / "cells.svg").write_text(self.svg(), encoding="utf-8")
        return into

    def __repr__(self) -> str:
        return f"Architecture({self.info.genotype_id}, {self.parameters:,} parameters)"

    def _repr_svg_(self) -> str:
        return self.svg()


class Proposal(Sequence[Architecture]):
    """Architectures for a data set, in the order of the service.

    Args:
        client: of the service.
        answer: as the service told it.
    """

    def __init__(self, client: Client, answer: Any) -> None:
        self.client, self.info = client, ProposalInfo.model_validate(answer)
        self._items = [Architecture(client, item) for item in self.info.items]

    @property
    def warnings(self) -> list[str]:
        """What was chosen, assumed or doubted."""
        return self.info.warnings

    @property
    def table(self) -> str:
        """The architectures with their sizes, as text."""
        return showing.text(showing.of_proposal(self.info))

    @overload
    def __getitem__(self, index: int) -> Architecture: ...

    @overload
    def __getitem__(self, index: slice) -> list[Architecture]: ...

    def __getitem__(self, index: int | slice) -> Architecture | list[Architecture]:
        return self._items[index]

    def __len__(self) -> int:
        return len(self._items)

    def __repr__(self) -> str:
        return f"Proposal({len(self)} architectures for {self.info.dataset!r}, {self.info.start.reason})"

    def _repr_html_(self) -> str:
        return showing.as_html(showing.of_proposal(self.info))


class Job:
    """A piece of work at the service.

    Args:
        client: of the service.
        answer: as the service told it.
    """

    def __init__(self, client: Client, answer: Any) -> None:
        self.client, self.info = client, JobInfo.model_validate(answer)

    @property
    def id(self) -> str:
        """Its id."""
        return self.info.id

    @property
    def warnings(self) -> list[str]:
        """What was chosen or doubted when it was made."""
        return self.info.warnings

    def refresh(self) -> JobInfo:
        """What it is now."""
        found = self.client._run(flows.get(f"/v1/jobs/{self.id}", self.client.retries))
        self.info = JobInfo.model_validate(found)
        return self.info

    def wait(self, timeout: float | None = None) -> Any:
        """Waits until it is over; its result.

        Args:
            timeout: seconds to wait at most; by default as long as it takes.

        Raises:
            JobFailed: it failed or was cancelled.
            TimeoutError: it was not over in time; it goes on.
        """
        with showing.bar(self.info.kind, self.client.progress) as watch:
            self.info = self.client._run(flows.wait(self.id, self.client.retries, timeout, watch))
        return self.info.result

    def cancel(self) -> None:
        """Asks it to stop."""
        found = self.client._run(flows.post(f"/v1/jobs/{self.id}/cancel", self.client.retries))
        self.info = JobInfo.model_validate(found)

    def retry(self) -> None:
        """Lets it go on after it failed or was cancelled."""
        found = self.client._run(flows.post(f"/v1/jobs/{self.id}/retry", self.client.retries))
        self.info = JobInfo.model_validate(found)

    def events(self) -> Iterator[Event]:
        """What has happened in it so far, in order."""
        for row in self.client._items(f"/v1/jobs/{self.id}/events"):
            yield Event.model_validate(row)

    def __repr__(self) -> str:
        info = self.info
        return f"{type(self).__name__}({info.id}, {info.kind}, {info.status}, {info.progress:.0%})"


class Comparison(Job):
    """The job of a comparison."""

    def wait(self, timeout: float | None = None) -> Report:
        """Waits until all trainings are over; the report.

        Raises:
            JobFailed, TimeoutError: as `Job.wait`.
        """
        super().wait(timeout)
        return self.report()

    def report(self) -> Report:
        """The report, so far as trainings are over."""
        path = self.info.links["table"]
        table = self.client._run(flows.get(path, self.client.retries))
        experiment = self.info.links["experiment"].rsplit("/", 1)[-1]
        trained = [
            row
            for row in self.client._items("/v1/trainings", experiment=experiment, expand="evaluation")
            if row["evaluation"] is not None
        ]
        return Report(self.client, table, trained)


class Report:
    """What a comparison came to.

    Args:
        client: of the service.
        table: as the service told it.
        trained: the trainings that are over, each with its evaluation.
    """

    def __init__(self, client: Client, table: Any, trained: Sequence[Any]) -> None:
        self.client, self.info = client, TableInfo.model_validate(table)
        self._trained = [
            Trained(
                client, TrainingInfo.model_validate(row), EvaluationInfo.model_validate(row["evaluation"])
            )
            for row in trained
        ]

    @property
    def rows(self) -> list[TableRow]:
        """The figures of each arm."""
        return self.info.items

    @property
    def table(self) -> str:
        """The figures of each arm, with verdicts, as text."""
        return showing.text(showing.of_comparison(self.info.items))

    @property
    def trained(self) -> list[Trained]:
        """The trained networks, the most accurate first."""
        return sorted(self._trained, key=lambda each: -each.chosen_by)

    @cached_property
    def best(self) -> Trained:
        """The most accurate of the trained architectures, by validation where images were held out for it.

        Raises:
            NasError: none has been trained.
        """
        ours = [each for each in self.trained if each.training.genotype_id is not None]
        if not ours:
            raise NasError("no architecture has been trained yet")
        return ours[0]

    def _repr_html_(self) -> str:
        return showing.as_html(showing.of_comparison(self.info.items))


class Trained:
    """A trained network.

    Args:
        client: of the service.
        training: that made it.
        evaluation: what it measured.
    """

    def __init__(self, client: Client, training: TrainingInfo, evaluation: EvaluationInfo) -> None:
        self.client, self.training, self.evaluation = client, training, evaluation

    @property
    def chosen_by(self) -> float:
        """The accuracy in percent by which it is compared: of validation where there is any."""
        found = self.evaluation
        return found.test_accuracy if found.validation_accuracy is None else found.validation_accuracy

    @property
    def test_accuracy(self) -> float:
        """Percent on the test split, of the epoch that `chosen_by` is of."""
        found = self.evaluation
        return found.test_accuracy if found.selected_test_accuracy is None else found.selected_test_accuracy

    def save(self, folder: str | Path) -> Path:
        """Writes the model, its weights, its card and `predict.py` into a folder: all that it needs."""
        return self.client.save(self.training.id, folder)

    def __repr__(self) -> str:
        of = self.training.genotype_id or self.training.reference
        return f"Trained({of}, {self.test_accuracy:.2f} % on the test split)"


def _zipped(folder: Path, into: Path) -> Path:
    """An archive of a folder's files; images are packed already, so that they are only put together.

    Raises:
        FileNotFoundError: the folder has no files.
    """
    count = 0
    with zipfile.ZipFile(into, "w", zipfile.ZIP_STORED, strict_timestamps=False) as archive:
        for path, name in flows.archive_members(folder):
            archive.write(path, name)
            count += 1
    if not count:
        raise FileNotFoundError(f"there is no file in {folder}")
    return into


def name_of(path: Path) -> str:
    """A name that the service takes for a data set, from that of its folder or archive."""
    name = path.resolve().name.lower()
    while Path(name).suffix in ARCHIVES:
        name = Path(name).stem
    plain = "".join(
        letter if letter.isascii() and (letter.isalnum() or letter in "._-") else "-" for letter in name
    )
    return plain.strip("._-")[:64] or "images"
