"""Ranking architectures before they are trained, by what is known of a data set or by their size."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from threading import Lock

import torch
from sqlalchemy.orm import Session
from torch import Tensor

from app.datasets import service as datasets
from app.datasets.tables import Dataset
from app.generation.schemas import AgreementOut, RankedOut, RankIn, StartOut
from app.genotypes import ranking
from app.problems import InvalidRequest
from models.generation.features import features
from models.generation.predictor import Prediction, Predictor, PredictorError, fit
from models.genotypes.agreement import agreement
from models.genotypes.genotype import from_dict, to_tensor
from models.genotypes.search_space import SearchSpace
from models.genotypes.size import NetworkShape, count_macs, count_parameters

MOST_LABELS = 1_000
"""Evaluated genotypes to which a predictor is fitted; of more, so many, evenly over their accuracies."""

KEPT = 32
"""The number of data sets of which what is known is held in memory, the last used ones."""

Key = tuple[str, str, int, str | None]

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


@dataclass(frozen=True)
class Order:
    """An order of architectures, the best first.

    Args:
        rank: the request.
        shown: as the client sees it.
        space: the search space.
        shape: of the network that sizes are of.
        predictor: for an order by accuracy.
        warnings: sentences on what was chosen or doubted.
    """

    rank: RankIn
    shown: RankedOut
    space: SearchSpace
    shape: NetworkShape
    predictor: Predictor | None = None
    warnings: Sequence[str] = ()

    def scores(self, genotypes: Tensor) -> Tensor:
        """`[genotypes]`, the larger the better; genotypes in the form of `genotype.to_tensor`."""
        if self.predictor is not None:
            return torch.from_numpy(self.predict(genotypes).scores)
        count = {"parameters": count_parameters, "macs": count_macs}[self.rank.by]
        sizes = count(genotypes, self.space, self.shape)
        return sizes if self.rank.order == "largest" else -sizes

    def predict(self, genotypes: Tensor) -> Prediction:
        """Their accuracies, where the order is by accuracy."""
        assert self.predictor is not None
        return self.predictor.predict(features(genotypes, self.space))


def known(session: Session, space: SearchSpace, rank: RankIn, start: StartOut) -> list[Known]:
    """What is known of the data sets whose evaluations can rank, the one to take first coming first.

    That is the data set that the request names; else the one that architectures are for and the one that was
    chosen as the nearest; else the one near whose best point they are.

    Raises:
        InvalidRequest: there is no such data set, or none is named and the start has none.
    """
    if rank.by != "accuracy":
        return []
    if rank.dataset_id is not None:
        ids = [rank.dataset_id]
    elif start.nearest is not None:
        ids = [start.nearest.for_dataset, start.nearest.dataset_id]
    else:
        ids = list({point.dataset_id: None for point in start.points if point.dataset_id is not None})
        if len(ids) != 1:
            raise InvalidRequest.of("rank.dataset_id", "must say on which data set accuracy is predicted")
    return [known_on(session, space, dataset_id, "rank.dataset_id") for dataset_id in ids]


def order(space: SearchSpace, rank: RankIn, shape: NetworkShape, among: Sequence[Known]) -> Order:
    """The order that a request asks for.

    Args:
        space: the search space.
        rank: the request.
        shape: of the network that sizes are of.
        among: what is known, as `known` gives it.

    Raises:
        InvalidRequest: nothing that is known tells an order by accuracy.
    """
    if rank.by != "accuracy":
        return Order(rank, RankedOut(by=rank.by, order=rank.order or "smallest"), space, shape)
    refused = []
    for found in among:
        try:
            predictor = found.predictor
            predictor.require_order()
        except PredictorError as error:
            refused.append(f"{found.name!r} tells no order by accuracy: {error}{_by_size(found)}")
            continue
        shown = RankedOut(
            by="accuracy",
            dataset_id=found.dataset_id,
            model=predictor.name if predictor.sized else f"{predictor.name} without sizes",
            agreement=AgreementOut(**asdict(predictor.agreement)),
        )
        return Order(rank, shown, space, shape, predictor, [*refused, *_doubts(found)])
    offer = "rank by 'parameters' or 'macs', with the order 'largest' if size is to stand for accuracy"
    raise InvalidRequest.of("rank.by", "; ".join([*refused, offer]))


def known_on(session: Session, space: SearchSpace, dataset_id: str, field: str) -> Known:
    """What is known of a data set; read anew only where its evaluations changed since.

    Raises:
        InvalidRequest: there is no such data set; naming the field of the request.
    """
    dataset = datasets.get(session, dataset_id, field)
    # read first: what is written between this and the labels is then read again, not missed
    key = (space.name, dataset_id, *ranking.version(session, dataset_id))
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


def _doubts(found: Known) -> list[str]:
    doubts = []
    if found.total > len(found.accuracies):
        doubts.append(
            f"{found.total} genotypes were evaluated on {found.name!r}; the predictor is fitted to "
            f"{MOST_LABELS} of them, evenly over their accuracies"
        )
    if len(found.recipes) > 1:
        names = ", ".join("none given" if recipe is None else repr(recipe) for recipe in found.recipes[:5])
        doubts.append(
            f"the evaluations on {found.name!r} are of {len(found.recipes)} recipes ({names}); differences "
            "between recipes count as if they were between architectures"
        )
    return doubts
