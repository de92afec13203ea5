"""The job kind `train`: trains one genotype, or one reference network."""

from typing import Any

from sqlalchemy.orm import Session

from app.trainings import service as trainings
from models.precision import doubts
from worker.distributed import Processes
from worker.runner import Finish, Run
from worker.threads import Threads


def run(run: Run) -> Finish:
    """Trains a network from scratch, in this process or in several."""
    training_id = run.params["training_id"]
    training = trainings.build(run.database, run.artifacts, run.settings, training_id, run.device)
    if training.recipe.processes > 1:
        run.threads = Threads(1)  # the processes compute, this one waits
        with Processes(run.settings, training_id, training) as processes:
            trained = run.epochs(processes)
    else:
        trained = run.epochs(training)
    parameters, macs = training.parameters(), training.macs()
    scores = training.scores(run.check)
    weights_key = f"weights/{training_id}.safetensors"
    with run.database.session(reads_only=True) as session:
        facts = trainings.facts(session, training_id, trained.history[-1]["test_accuracy"])
    run.artifacts.put(weights_key, training.weights(facts))

    def finish(session: Session) -> tuple[dict[str, Any], dict[str, str]]:
        row = trainings.finish(
            session,
            training_id,
            trained.history,
            parameters,
            macs,
            trained.seconds,
            weights_key,
            training.normalisation(),
            scores,
        )
        result = {
            "evaluation_id": row.id,
            "test_accuracy": row.test_accuracy,
            "last_test_accuracy": row.last_test_accuracy,
            "selected_test_accuracy": row.selected_test_accuracy,
            "balanced_accuracy": row.balanced_accuracy,
            "macro_f1": row.macro_f1,
            "parameters": parameters,
            "macs": macs,
            "train_seconds": trained.seconds,
            "threads": run.threads.chosen,
            "warnings": doubts(run.device, training.recipe.precision),
        }
        return result, {
            "evaluation": f"/v1/evaluations/{row.id}",
            "leaderboard": f"/v1/datasets/{row.dataset_id}/leaderboard",
            "weights": f"/v1/trainings/{training_id}/weights.safetensors",
        }

    return finish
