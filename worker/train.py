"""The job kind `train`: trains one genotype, or one reference network."""

import time
from collections.abc import Iterator
from typing import Any

import torch
from sqlalchemy.orm import Session

from app.artifacts import Artifacts
from app.database import Database
from app.datasets import service as datasets
from app.genotypes import service as genotypes
from app.settings import Settings
from app.trainings import service as trainings
from models.retrain import Training, TrainRecipe, of_genotype, of_reference
from models.search_space import SEARCH_SPACES
from models.world import ALONE, World
from worker import distributed
from worker.runner import Finish, Run


def run(run: Run) -> Finish:
    """Trains epoch by epoch with a checkpoint after each."""
    training_id = run.params["training_id"]
    training = build(run.database, run.artifacts, run.settings, training_id, run.device)
    history: list[dict[str, Any]] = []
    seconds = 0.0
    state = run.load_checkpoint()
    if state is not None:
        training.load_state_dict(state["training"])
        history, seconds = state["history"], state["seconds"]
    epochs, began = training.recipe.epochs, time.monotonic()
    for epoch in _epochs(run, training, training_id):
        seconds += time.monotonic() - began
        history.append(epoch)
        run.report(
            training.epoch / epochs,
            f"epoch {training.epoch} of {epochs}",
            epoch,
            {"training": training.state_dict(), "history": history, "seconds": seconds},
        )
        began = time.monotonic()
    parameters, macs = training.parameters(), training.macs()
    weights_key = f"weights/{training_id}.safetensors"
    run.artifacts.put(weights_key, training.weights())

    def finish(session: Session) -> tuple[dict[str, Any], dict[str, str]]:
        row = trainings.finish(session, training_id, history, parameters, macs, seconds, weights_key)
        result = {
            "evaluation_id": row.id,
            "test_accuracy": row.test_accuracy,
            "last_test_accuracy": row.last_test_accuracy,
            "selected_test_accuracy": row.selected_test_accuracy,
            "parameters": parameters,
            "macs": macs,
            "train_seconds": seconds,
        }
        return result, {
            "leaderboard": f"/v1/datasets/{row.dataset_id}/leaderboard",
            "weights": f"/v1/trainings/{training_id}/weights.safetensors",
        }

    return finish


def build(
    database: Database,
    artifacts: Artifacts,
    settings: Settings,
    training_id: str,
    device: torch.device,
    world: World = ALONE,
) -> Training:
    """A training as its row describes it, at its start."""
    with database.session(reads_only=True) as session:
        row = trainings.get(session, training_id)
        dataset = datasets.get(session, row.dataset_id)
        genotype = genotypes.get(session, row.genotype_id) if row.genotype_id is not None else None
    images = datasets.load(dataset, settings, artifacts)
    recipe = TrainRecipe(**row.settings)
    if genotype is not None:
        network = of_genotype(genotypes.discrete(genotype), SEARCH_SPACES[genotype.search_space], recipe)
    else:
        assert row.reference is not None
        network = of_reference(row.reference)
    return Training(network, images, recipe, row.seed, device, world)


def _epochs(run: Run, training: Training, training_id: str) -> Iterator[dict[str, Any]]:
    """What every epoch measured; the training is then at its end, wherever it was trained."""
    if training.recipe.processes > 1:
        state = training.state_dict() if training.epoch else None
        for left in distributed.epochs(run, training_id, training.recipe.processes, state):
            training.load_state_dict(left["training"])
            yield left["epoch"]
        return
    while training.epoch < training.recipe.epochs:
        yield training.run_epoch(run.check).as_dict()
