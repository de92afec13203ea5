"""The job kind `fit`: trains a latent space."""

from typing import Any

from sqlalchemy.orm import Session

from app.latent_spaces import service as latent_spaces
from models.genotypes.search_space import SEARCH_SPACES
from models.latent_spaces.fit import LatentFit
from models.latent_spaces.vgae import LatentRecipe
from worker.runner import Finish, Run


def run(run: Run) -> Finish:
    """Trains a VGAE on the members of a latent space."""
    with run.database.session(reads_only=True) as session:
        space = latent_spaces.get(session, run.params["latent_space_id"])
        graph = latent_spaces.member_graph(session, space)
    recipe = LatentRecipe(**space.settings)
    fit = LatentFit(graph, SEARCH_SPACES[space.search_space], recipe, space.seed, run.device)
    history = run.epochs(fit).history
    mu, logstd = fit.latents()
    key = f"latent-spaces/{space.id}/{run.token}.pt"
    run.artifacts.put_tensors(key, {name: value.cpu() for name, value in fit.net.state_dict().items()})
    figures = {**history[-1], "threads": run.threads.chosen}

    def finish(session: Session) -> tuple[dict[str, Any], dict[str, str]]:
        latent_spaces.finish(session, space.id, mu, logstd, figures, key)
        return figures, {}

    return finish
