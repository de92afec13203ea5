"""Ranking architectures before they are trained, by what is known of a data set or by their size."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from threading import Lock

import torch
from sqlalchemy.orm import Session
from torch import Tensor

from app import owners
from app.artifacts import Artifacts
from app.datasets import service as datasets
from app.datasets.tables import Dataset
from app.devices import service as devices
from app.generation.schemas import AgreementOut, RankedOut, RankIn, StartOut
from app.generation.scores import Judge
from app.genotypes import ranking
from app.problems import InvalidRequest
from app.settings import Settings
from models.generation.features import features, operations
from models.generation.predictor import Prediction, Predictor, PredictorError, fit
from models.genotypes.agreement import agreement
from models.genotypes.genotype import from_dict, to_tensor
from models.genotypes.latency import DeviceTable, latency
from models.genotypes.search_space import SearchSpace
from models.genotypes.size import NetworkShape, count_macs, count_parameters

MOST_LABELS = 1_000
"""Evaluated genotypes to which a predictor is fitted; of more, so many, evenly over their accuracies."""

MOST_SCORED = 1_000
"""Drawn architectures that a request may have scored untrained; a hundred take about a second."""

MOST_JUDGED = 100
"""Evaluated genotypes that are scored untrained: of more the accuracies tell all that scores could."""

WORST = {"naswot": -0.14, "synflow": -0.14}
BEST = {"naswot": 0.82, "synflow": 0.77}
"""The least and the most by which a score agrees with accuracies on public tables (`make bench-scores`)."""

KEPT = 32
"""The number of data sets of which what is known is held in memory, the last used ones."""

Key = tuple[str, str, str | None, int, str | None]

_held: dict[Key, "Known"] = {}  # the last used last
_lock = Lock()


@dataclass(frozen=True)
class Known:
    """What is known of the accuracies on a data set.

    Args:
        space: the search space of the genotypes.
        dataset_id, name: the data set's.
        recipes: of the evaluations.
        genotype_ids: of those that were taken.
        genotypes: in the form of `genotype.to_tensor`.
        accuracies: of them, in percent.
        total: genotypes that were evaluated.
    """

    space: SearchSpace
    dataset_id: str
    name: str
    recipes: Sequence[str | None]
    genotype_ids: Sequence[str]
    genotypes: Tensor
    accuracies: Tensor
    total: int

    @cached_property
    def predictor(self) -> Predictor:
        """The predictor that is fitted to it.

        Raises:
            PredictorError: too little is known.
        """
        return fit(features(self.genotypes, self.space), self.accuracies.numpy())

    @cached_property
    def elsewhere(self) -> Predictor:
        """The predictor that is fitted to it for an order on another data set.

        Raises:
            PredictorError: too little is known.
        """
        table, plain = features(self.genotypes, self.space), operations(self.genotypes, self.space)
        return fit(table, self.accuracies.numpy(), plain)


@dataclass(frozen=True)
class Order:
    """An order of architectures, the best first.

    Args:
        rank: the request.
        shown: as the client sees it.
        space: the search space.
        shape: of the network that sizes are of.
        predictor: for an order by accuracy.
        judge: of untrained networks, for an order by their scores or a predictor that takes them.
        device: for an order by latency, what is known of the device.
        warnings: sentences on what was chosen or doubted.
    """

    rank: RankIn
    shown: RankedOut
    space: SearchSpace
    shape: NetworkShape
    predictor: Predictor | None = None
    judge: Judge | None = None
    device: DeviceTable | None = None
    warnings: Sequence[str] = ()

    def scores(self, genotypes: Tensor) -> Tensor:
        """`[genotypes]`, the larger the better; genotypes in the form of `genotype.to_tensor`."""
        if self.predictor is not None:
            return torch.from_numpy(self.predict(genotypes).scores)
        if self.judge is not None:
            return torch.from_numpy(self.judge.scores(genotypes)[self.rank.by])
        if self.device is not None:
            sizes = latency(genotypes, self.space, self.shape, self.device)
        else:
            count = {"parameters": count_parameters, "macs": count_macs}[self.rank.by]
            sizes = count(genotypes, self.space, self.shape)
        return sizes if self.rank.order == "largest" else -sizes

    def predict(self, genotypes: Tensor) -> Prediction:
        """Their accuracies, where the order is by accuracy."""
        assert self.predictor is not None
        table = features(genotypes, self.space)
        table = table if self.judge is None else self.judge.beside(table, genotypes)
        plain = None if self.predictor.plain is None else operations(genotypes, self.space)
        return self.predictor.predict(table, plain)


@dataclass(frozen=True)
class Basis:
    """What an order is told from.

    Args:
        known: of the data sets whose evaluations can rank, the one to take first coming first.
        dataset: on whose images untrained networks are scored; `None` where none are.
        for_dataset: the data set that the architectures are for, where it is said.
    """

    known: Sequence[Known] = ()
    dataset: Dataset | None = None
    for_dataset: str | None = None


def basis(session: Session, space: SearchSpace, rank: RankIn, start: StartOut) -> Basis:
    """What a request can be ranked by.

    Evaluations are those on the data set that the request names; else on the one that architectures are for
    and the one that was chosen as the nearest; else on the one near whose best point they are. Images are
    those of the first of these.

    Raises:
        InvalidRequest: there is no such data set, it has no images, or none is named and the start has none.
    """
    if rank.by in ("parameters", "macs", "latency"):
        return Basis()
    if rank.dataset_id is not None:
        ids = [rank.dataset_id]
    elif start.nearest is not None:
        ids = [start.nearest.for_dataset, start.nearest.dataset_id]
    else:
        ids = list({point.dataset_id: None for point in start.points if point.dataset_id is not None})
        if len(ids) != 1:
            raise InvalidRequest.of("rank.dataset_id", f"must say on which data set {rank.by} is told")
    images = None
    if rank.by != "accuracy" or rank.training_free:
        images = datasets.get(session, ids[0], "rank.dataset_id")
        datasets.require_images(images, "rank.dataset_id")
    known = [known_on(session, space, dataset_id, "rank.dataset_id") for dataset_id in ids]
    return Basis(known, images, start.nearest.for_dataset if start.nearest is not None else None)


def order(
    space: SearchSpace,
    rank: RankIn,
    shape: NetworkShape,
    basis: Basis,
    settings: Settings,
    artifacts: Artifacts,
    device: DeviceTable | None = None,
) -> Order:
    """The order that a request asks for.

    Args:
        space: the search space.
        rank: the request.
        shape: of the network that sizes are of.
        basis: what it is told from.
        settings, artifacts: of the service, where images are.
        device: what is known of the device, for an order by latency.

    Raises:
        InvalidRequest: nothing that is known tells an order by accuracy, or too many are to be scored.
        Unavailable: the images cannot be read.
    """
    judge = None
    if basis.dataset is not None:
        if rank.draw > MOST_SCORED:
            raise InvalidRequest.of(
                "rank.draw", f"must be at most {MOST_SCORED} where untrained networks are scored"
            )
        judge = Judge.on(basis.dataset, space, settings, artifacts)
    if rank.by in ("naswot", "synflow"):
        assert judge is not None
        return _by_score(space, rank, shape, basis.known[0], judge)
    if rank.by != "accuracy":
        shown = RankedOut(by=rank.by, device=rank.device, order=rank.order or "smallest")
        rough = devices.doubt(rank.device, device.left_out(space)) if rank.device and device else None
        return Order(rank, shown, space, shape, device=device, warnings=[rough] if rough else [])
    refused = []
    for found in basis.known:
        elsewhere = basis.for_dataset not in (None, found.dataset_id)
        try:
            predictor, takes = _predictor(found, judge, elsewhere)
            # what is known must tell an order of itself before it can tell one elsewhere
            (found.predictor if elsewhere else predictor).require_order()
        except PredictorError as error:
            refused.append(f"{found.name!r} tells no order by accuracy: {error}{_by_size(found)}")
            continue
        shown = RankedOut(
            by="accuracy",
            dataset_id=found.dataset_id,
            model=_described(predictor, takes),
            agreement=AgreementOut(**asdict(predictor.agreement)),
        )
        warnings = [*refused, *doubts(found)]
        if elsewhere:
            warnings.append(_for_another(found, predictor))
        if rank.training_free and takes is None:
            warnings.append("scores of untrained networks do not lower the error here; they were left out")
        return Order(rank, shown, space, shape, predictor, takes, warnings=warnings)
    offer = "rank by 'parameters' or 'macs', with the order 'largest' if size is to stand for accuracy"
    raise InvalidRequest.of("rank.by", "; ".join([*refused, offer]))


def _predictor(found: Known, judge: Judge | None, elsewhere: bool) -> tuple[Predictor, Judge | None]:
    """The predictor of a data set's accuracies, for it or for another one, and what scores it takes, if any.

    Raises:
        PredictorError: too little is known.
    """
    plain = found.elsewhere if elsewhere else found.predictor
    if judge is None or len(found.accuracies) > MOST_JUDGED:
        return plain, None
    takes = judge.standard_over(found.genotypes)
    table = takes.beside(features(found.genotypes, found.space), found.genotypes)
    scored = fit(
        table, found.accuracies.numpy(), operations(found.genotypes, found.space) if elsewhere else None
    )
    return (scored, takes) if scored.error < plain.error else (plain, None)


def _for_another(found: Known, predictor: Predictor) -> str:
    told = (
        f"accuracies are predicted as on {found.name!r}; on the data set that the architectures are for they "
        "are others, and so may the order be"
    )
    agreed = predictor.agreement
    if agreed.low <= 0:
        told += (
            f"; on {agreed.genotypes} genotypes there the model that is used agrees by {agreed}, "
            "which may be none"
        )
    return told


def _described(predictor: Predictor, takes: Judge | None) -> str:
    sizes = "" if predictor.sized else " without sizes"
    plain = "" if predictor.plain is None else ", averaged with ridge on operations"
    return f"{predictor.name}{sizes}{plain}{'' if takes is None else ', with scores of untrained networks'}"


def _by_score(space: SearchSpace, rank: RankIn, shape: NetworkShape, found: Known, judge: Judge) -> Order:
    """An order by a score of untrained networks alone, with how far it agrees with what is known."""
    count = len(found.accuracies)
    rows = torch.linspace(0, max(0, count - 1), min(MOST_JUDGED, count)).long()
    agreed = None
    if count:
        agreed = agreement(judge.scores(found.genotypes[rows])[rank.by], found.accuracies[rows].numpy())
    shown = RankedOut(by=rank.by, dataset_id=found.dataset_id)
    warnings = [
        f"{rank.by} looks at untrained networks: on public tables it agrees with accuracies by a Spearman "
        f"from {WORST[rank.by]:.2f} to {BEST[rank.by]:.2f}, so that alone it may be no order at all"
    ]
    if agreed is not None:
        shown.agreement = AgreementOut(**asdict(agreed))
        if agreed.low <= 0:
            warnings.append(
                f"on {agreed.genotypes} genotypes evaluated on {found.name!r} it agrees by {agreed}, which "
                "may be none"
            )
    return Order(rank, shown, space, shape, judge=judge, warnings=warnings)


def known_on(session: Session, space: SearchSpace, dataset_id: str, field: str) -> Known:
    """What is known of a data set; read anew only where its evaluations changed since.

    Raises:
        InvalidRequest: there is no such data set; naming the field of the request.
    """
    dataset = datasets.get(session, dataset_id, field)
    # read first: what is written between this and the labels is then read again, not missed
    seen_by = session.info.get(owners.SEES)
    key = (space.name, dataset_id, seen_by, *ranking.version(session, dataset_id))
    with _lock:
        found = _held.pop(key, None)
    found = found or _read(session, space, dataset)
    with _lock:
        _held[key] = found
        while len(_held) > KEPT:
            del _held[next(iter(_held))]
    return found


def _read(session: Session, space: SearchSpace, dataset: Dataset) -> Known:
    labels = ranking.labels(session, space.name, dataset.id)
    taken = _evenly(sorted(labels, key=lambda label: (label.accuracy, label.genotype_id)))
    forms = ranking.forms(session, [label.genotype_id for label in taken])
    genotypes = to_tensor([from_dict(forms[label.genotype_id], space) for label in taken], space)
    recipes = ranking.recipes(session, space.name, dataset.id)
    accuracies = torch.tensor([label.accuracy for label in taken], dtype=torch.float64)
    ids = [label.genotype_id for label in taken]
    return Known(space, dataset.id, dataset.name, recipes, ids, genotypes, accuracies, len(labels))


def _evenly(labels: list[ranking.Label]) -> list[ranking.Label]:
    """At most as many labels as a predictor takes, evenly over their order, both ends among them."""
    if len(labels) <= MOST_LABELS:
        return labels
    places = torch.linspace(0, len(labels) - 1, MOST_LABELS, dtype=torch.float64).round().long()
    return [labels[place] for place in places.tolist()]


def _by_size(found: Known) -> str:
    """How far size alone ranks what is known, where enough is."""
    sizes = agreement(
        count_parameters(found.genotypes, found.space).double().numpy(), found.accuracies.numpy()
    )
    if sizes is None:
        return ""
    return f" (parameters by {sizes.spearman:.2f}, {sizes.low:.2f} to {sizes.high:.2f})"


def doubts(found: Known) -> list[str]:
    """Sentences on why what is known may mislead."""
    told = []
    if found.total > len(found.accuracies):
        told.append(
            f"{found.total} genotypes were evaluated on {found.name!r}; the predictor is fitted to "
            f"{MOST_LABELS} of them, evenly over their accuracies"
        )
    if len(found.recipes) > 1:
        names = ", ".join("none given" if recipe is None else repr(recipe) for recipe in found.recipes[:5])
        told.append(
            f"the evaluations on {found.name!r} are of {len(found.recipes)} recipes ({names}); differences "
            "between recipes count as if they were between architectures"
        )
    return told
