"""The job kind `fit`: trains a latent space."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sqlalchemy.orm import Session
from torch import Tensor

from app.latent_spaces import opened
from app.latent_spaces import service as latent_spaces
from models.generation.features import features
from models.generation.predictor import Predictor, PredictorError, fit, normal_scores
from models.genotypes.graph import Graph, to_tensor
from models.genotypes.search_space import SEARCH_SPACES, SearchSpace
from models.latent_spaces.accuracy import AccuracyFit, Teacher
from models.latent_spaces.fit import LatentFit
from models.latent_spaces.vgae import LatentRecipe
from worker.runner import Finish, Run


def run(run: Run) -> Finish:
    """Trains a VGAE on the members of a latent space."""
    with run.database.session(reads_only=True) as session:
        space = latent_spaces.get(session, run.params["latent_space_id"])
        graph = latent_spaces.member_graph(session, space)
        ids = opened.member_ids(session, space)
    recipe, search_space = LatentRecipe(**space.settings), SEARCH_SPACES[space.search_space]
    accuracies = _columns(run.params.get("accuracies", {}), ids)
    if accuracies:
        scores, teacher = learnt(graph, search_space, list(accuracies.values()))
        training: LatentFit = AccuracyFit(
            graph, search_space, recipe, space.seed, run.device, scores, teacher
        )
    else:
        training = LatentFit(graph, search_space, recipe, space.seed, run.device)
    history = run.epochs(training).history
    mu, logstd = training.latents()
    key = f"latent-spaces/{space.id}/{run.token}.pt"
    run.artifacts.put_tensors(key, {name: value.cpu() for name, value in training.net.state_dict().items()})
    figures = {**history[-1], "threads": run.threads.chosen}
    if accuracies:
        counts = {dataset_id: int((~column.isnan()).sum()) for dataset_id, column in accuracies.items()}
        figures["evaluated_members"] = counts

    def finish(session: Session) -> tuple[dict[str, Any], dict[str, str]]:
        latent_spaces.finish(session, space.id, mu, logstd, figures, key)
        return figures, {}

    return finish


def _columns(accuracies: Mapping[str, Mapping[str, float]], ids: list[str]) -> dict[str, Tensor]:
    """The accuracies of the members in their order, by data set; NaN where a member has none."""
    return {
        dataset_id: torch.tensor([known.get(member, np.nan) for member in ids], dtype=torch.float64)
        for dataset_id, known in accuracies.items()
    }


def learnt(graph: Graph, space: SearchSpace, accuracies: list[Tensor]) -> tuple[Tensor, Teacher]:
    """What a space learns of accuracies: the members' scores, and who tells those of all other genotypes.

    Args:
        graph: the members.
        space: their search space.
        accuracies: of each data set `[members]` in percent, NaN where a member has none.
    """
    table = features(to_tensor(graph, space), space)
    scores = torch.full((len(graph), len(accuracies)), torch.nan)
    predictors = []
    for column, values in enumerate(accuracies):
        known = ~values.isnan()
        scores[known, column] = torch.from_numpy(normal_scores(values[known].numpy())).float()
        predictors.append(_predictor(table[known.numpy()], values[known]))

    def teacher(genotypes: Tensor) -> Tensor:
        told = torch.full((len(genotypes), len(predictors)), torch.nan)
        theirs = features(genotypes, space)
        for column, predictor in enumerate(predictors):
            if predictor is not None:
                told[:, column] = torch.from_numpy(predictor.predict(theirs).scores).float()
        return told

    return scores, teacher


def _predictor(table: NDArray[np.float64], accuracies: Tensor) -> Predictor | None:
    """A predictor of accuracy; `None` where the members' own accuracies are all that is known."""
    try:
        predictor = fit(table, accuracies.numpy())
        predictor.require_order()
    except PredictorError:
        return None
    return predictor
