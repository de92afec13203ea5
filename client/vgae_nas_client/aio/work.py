"""Written from `sync/`, to be awaited: Jobs of a service, and what they come to."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vgae_nas_client import flows, showing
from vgae_nas_client.errors import NasError
from vgae_nas_client.shapes import EvaluationInfo, Event, JobInfo, TableInfo, TableRow, TrainingInfo

if TYPE_CHECKING:
    from vgae_nas_client.aio.client import AsyncClient


class AsyncJob:
    """A piece of work at the service.

    Args:
        client: of the service.
        answer: as the service told it.
    """

    def __init__(self, client: AsyncClient, answer: Any) -> None:
        self.client, self.info = client, JobInfo.model_validate(answer)

    @property
    def id(self) -> str:
        """Its id."""
        return self.info.id

    @property
    def warnings(self) -> list[str]:
        """What was chosen or doubted when it was made."""
        return self.info.warnings

    async def refresh(self) -> JobInfo:
        """What it is now."""
        found = await self.client._run(flows.get(f"/v1/jobs/{self.id}", self.client.retries))
        self.info = JobInfo.model_validate(found)
        return self.info

    async def wait(self, timeout: float | None = None) -> Any:
        """Waits until it is over; its result.

        Args:
            timeout: seconds to wait at most; by default as long as it takes.

        Raises:
            JobFailed: it failed or was cancelled.
            TimeoutError: it was not over in time; it goes on.
        """
        with showing.bar(self.info.kind, self.client.progress) as watch:
            self.info = await self.client._run(flows.wait(self.id, self.client.retries, timeout, watch))
        return self.info.result

    async def cancel(self) -> None:
        """Asks it to stop."""
        found = await self.client._run(flows.post(f"/v1/jobs/{self.id}/cancel", self.client.retries))
        self.info = JobInfo.model_validate(found)

    async def retry(self) -> None:
        """Lets it go on after it failed or was cancelled."""
        found = await self.client._run(flows.post(f"/v1/jobs/{self.id}/retry", self.client.retries))
        self.info = JobInfo.model_validate(found)

    async def events(self) -> AsyncIterator[Event]:
        """What has happened in it so far, in order."""
        async for row in self.client._items(f"/v1/jobs/{self.id}/events"):
            yield Event.model_validate(row)

    def __repr__(self) -> str:
        info = self.info
        return f"{type(self).__name__}({info.id}, {info.kind}, {info.status}, {info.progress:.0%})"


class AsyncComparison(AsyncJob):
    """The job of a comparison."""

    async def wait(self, timeout: float | None = None) -> AsyncReport:
        """Waits until all trainings are over; the report.

        Raises:
            JobFailed, TimeoutError: as `Job.wait`.
        """
        await super().wait(timeout)
        return await self.report()

    async def report(self) -> AsyncReport:
        """The report, so far as trainings are over."""
        path = self.info.links["table"]
        table = await self.client._run(flows.get(path, self.client.retries))
        experiment = self.info.links["experiment"].rsplit("/", 1)[-1]
        trained = [
            row
            async for row in self.client._items("/v1/trainings", experiment=experiment, expand="evaluation")
            if row["evaluation"] is not None
        ]
        return AsyncReport(self.client, table, trained)


class AsyncReport:
    """What a comparison came to.

    Args:
        client: of the service.
        table: as the service told it.
        trained: the trainings that are over, each with its evaluation.
    """

    def __init__(self, client: AsyncClient, table: Any, trained: Sequence[Any]) -> None:
        self.client, self.info = client, TableInfo.model_validate(table)
        self._trained = [
            AsyncTrained(
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
    def trained(self) -> list[AsyncTrained]:
        """The trained networks, the most accurate first."""
        return sorted(self._trained, key=lambda each: -each.chosen_by)

    @cached_property
    def best(self) -> AsyncTrained:
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


class AsyncTrained:
    """A trained network.

    Args:
        client: of the service.
        training: that made it.
        evaluation: what it measured.
    """

    def __init__(self, client: AsyncClient, training: TrainingInfo, evaluation: EvaluationInfo) -> None:
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

    async def save(self, folder: str | Path) -> Path:
        """Writes the model, its weights, its card and `predict.py` into a folder: all that it needs."""
        return await self.client.save(self.training.id, folder)

    def __repr__(self) -> str:
        of = self.training.genotype_id or self.training.reference
        return f"Trained({of}, {self.test_accuracy:.2f} % on the test split)"
