"""Images at a service, and what it proposes for them."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Sequence
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from vgae_nas_client import flows, showing
from vgae_nas_client.shapes import ArchitectureInfo, DatasetInfo, EvaluationInfo, ProposalInfo
from vgae_nas_client.sync.work import Comparison, Job

if TYPE_CHECKING:
    from vgae_nas_client.sync.client import Client


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
            fields: other fields of the request, as `gamma`, `deviations`, `recipe`, `space`, `seed`, `name`.
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
