"""The job kind `fit`: trains a latent space."""

from typing import Any

from sqlalchemy.orm import Session

from app.latent_spaces import service as latent_spaces
from models.latent import FitReport, LatentFit
from models.search_space import SEARCH_SPACES
from models.vgae import LatentRecipe
from worker.runner import Finish, Run


def run(run: Run) -> Finish:
    """Trains report by report with a checkpoint after each."""
    with run.database.session(reads_only=True) as session:
        space = latent_spaces.get(session, run.params["latent_space_id"])
        graph = latent_spaces.member_graph(session, space)
    recipe = LatentRecipe(**space.settings)
    fit = LatentFit(graph, SEARCH_SPACES[space.search_space], recipe, space.seed, run.device)
    state = run.load_checkpoint()
    report: FitReport | None = None
    if state is not None:
        fit.load_state_dict(state["fit"])
        report = FitReport(**state["report"])
    while report is None or not fit.done:
        report = fit.run(run.check)
        run.report(
            fit.epoch / recipe.max_epochs,
            f"epoch {fit.epoch} of at most {recipe.max_epochs}",
            report.as_dict(),
            {"fit": fit.state_dict(), "report": report.as_dict()},
        )
    mu, logstd = fit.latents()
    key = f"latent-spaces/{space.id}/{run.token}.pt"
    run.artifacts.put_tensors(key, {name: value.cpu() for name, value in fit.net.state_dict().items()})
    figures = report.as_dict()

    def finish(session: Session) -> tuple[dict[str, Any], dict[str, str]]:
        latent_spaces.finish(session, space.id, mu, logstd, figures, key)
        return figures, {}

    return finish
