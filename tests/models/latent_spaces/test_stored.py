"""Files of the form before the layers were fused load, and give what they gave."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from models.genotypes.graph import cells, from_tensor
from models.genotypes.search_space import DARTS
from models.latent_spaces.stored import load_weights
from models.latent_spaces.vgae import VGAE, LatentRecipe

RECIPES = {
    "default": LatentRecipe(
        embedding=4,
        hidden=4,
        heads=2,
        latent_dimension=2,
        positions=True,
        incoming=True,
        directed=True,
        exclusive=True,
    ),
    "paper-gcn": LatentRecipe(encoder="gcn", embedding=4, hidden=4, heads=2, latent_dimension=2),
}
"""Those with which the files were written; all weights were drawn at random, biases too."""


@pytest.mark.parametrize("preset", RECIPES)
def test_a_space_stored_in_the_former_form_encodes_and_decodes_as_before(preset: str) -> None:
    stored = load_file(Path(__file__).parent / f"former-{preset}.safetensors")
    former = {k.removeprefix("weights."): v for k, v in stored.items() if k.startswith("weights.")}
    net = load_weights(VGAE(DARTS, RECIPES[preset]), former)
    graph = from_tensor(stored["genotypes"].flatten(2, 3), DARTS)
    noise = torch.randn(3, DARTS.nodes, 2, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        mu, logstd = net.encode(graph)
        total = net(cells(graph, DARTS), noise).total
        edges = net.decode(mu).adjacency
    for ours, expected in ((mu, "mu"), (logstd, "logstd"), (edges, "edges"), (total[None], "total")):
        torch.testing.assert_close(ours, stored[expected], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("preset", RECIPES)
def test_a_space_stored_today_loads_as_it_is(preset: str) -> None:
    net, other = VGAE(DARTS, RECIPES[preset]), VGAE(DARTS, RECIPES[preset])
    load_weights(other, net.state_dict())
    for name, value in net.state_dict().items():
        assert torch.equal(other.state_dict()[name], value), name
