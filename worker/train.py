"""The job kind `train`: trains one genotype, or one reference network."""

import time
from typing import Any

from sqlalchemy.orm import Session

from app.datasets import service as datasets
from app.genotypes import service as genotypes
from app.trainings import service as trainings
from models.retrain import Training, TrainRecipe, of_genotype, of_reference
from models.search_space import SEARCH_SPACES
from worker.runner import Finish, Run


def run(run: Run) -> Finish:
    """Trains epoch by epoch with a checkpoint after each."""
    training, training_id = _build(run)
    history: list[dict[str, Any]] = []
    seconds = 0.0
    state = run.load_checkpoint()
    if state is not None:
        training.load_state_dict(state["training"])
        history, seconds = state["history"], state["seconds"]
    epochs = training.recipe.epochs
    while training.epoch < epochs:
        began = time.monotonic()
        epoch = training.run_epoch(run.check).as_dict()
        seconds += time.monotonic() - began
        history.append(epoch)
        run.report(
            training.epoch / epochs,
            f"epoch {training.epoch} of {epochs}",
            epoch,
            {"training": training.state_dict(), "history": history, "seconds": seconds},
        )
    parameters, macs = training.parameters(), training.macs()
    weights_key = f"weights/{training_id}.safetensors"
    run.artifacts.put(weights_key, training.weights())

    def finish(session: Session) -> tuple[dict[str, Any], dict[str, str]]:
        row = trainings.finish(session, training_id, history, parameters, macs, seconds, weights_key)
        result = {
            "evaluation_id": row.id,
            "test_accuracy": row.test_accuracy,
            "last_test_accuracy": row.last_test_accuracy,
            "parameters": parameters,
            "macs": macs,
            "train_seconds": seconds,
        }
        return result, {
            "leaderboard": f"/v1/datasets/{row.dataset_id}/leaderboard",
            "weights": f"/v1/trainings/{training_id}/weights.safetensors",
        }

    return finish


def _build(run: Run) -> tuple[Training, str]:
    with run.database.session(reads_only=True) as session:
        row = trainings.get(session, run.params["training_id"])
        dataset = datasets.get(session, row.dataset_id)
        genotype = genotypes.get(session, row.genotype_id) if row.genotype_id is not None else None
    images = datasets.load(dataset, run.settings, run.artifacts)
    recipe = TrainRecipe(**row.settings)
    if genotype is not None:
        build = of_genotype(genotypes.discrete(genotype), SEARCH_SPACES[genotype.search_space], recipe)
    else:
        assert row.reference is not None
        build = of_reference(row.reference)
    return Training(build, images, recipe, row.seed, run.device), row.id
