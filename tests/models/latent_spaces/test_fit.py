"""Latent spaces: exact members, legal decoding, resuming, maps."""

import copy
from dataclasses import replace

import pytest
import torch

from models.errors import LatentError
from models.genotypes import graph
from models.genotypes.genotype import ContinuousGenotype, Genotype, from_tensor, random_tensor, to_tensor
from models.genotypes.published import PUBLISHED
from models.genotypes.search_space import DARTS, SearchSpace
from models.latent_spaces.fit import LatentFit
from models.latent_spaces.vgae import PRESETS, VGAE, LatentRecipe, decode, encode
from tests.conftest import LONG

CPU = torch.device("cpu")
SHORT = LatentRecipe(max_epochs=1_000, positions=True, incoming=True, directed=True, exclusive=True)
MIXED = replace(SHORT, max_epochs=40, batch_size=3, random_genotypes=5)


def fit(count: int, recipe: LatentRecipe, seed: int = 2024, space: SearchSpace = DARTS) -> LatentFit:
    members = random_tensor(count, space, torch.Generator().manual_seed(0))
    return LatentFit(graph.from_tensor(members, space), space, recipe, seed, CPU)


def nothing() -> None:
    pass


@LONG
def test_the_default_preset_gives_every_published_genotype_back() -> None:
    members = to_tensor([p.genotype for p in PUBLISHED], DARTS)
    recipe = replace(PRESETS["default"], max_epochs=1_000)
    space = LatentFit(graph.from_tensor(members, DARTS), DARTS, recipe, 2024, CPU)
    while not space.done:
        report = space.run(nothing)
    assert report.members_exact == 1.0
    assert report.random_exact > 0.5  # of genotypes that it never saw, in half of its epochs
    assert from_tensor(decode(space.net, space.latents()[0]), DARTS) == [p.genotype for p in PUBLISHED]


@pytest.mark.parametrize("preset", list(PRESETS))
def test_ten_thousand_random_latents_decode_to_legal_genotypes(preset: str) -> None:
    torch.manual_seed(1)
    net = VGAE(DARTS, PRESETS[preset])
    operation, predecessor = decode(net, 3 * torch.randn(10_000, 14, net.recipe.latent_dimension)).unbind(-1)
    assert (operation > 0).all()
    assert (predecessor[..., 0::2] < predecessor[..., 1::2]).all()
    assert (predecessor[..., 1::2] < torch.arange(2, 6)).all()


@pytest.mark.parametrize("recipe", [SHORT, MIXED], ids=["whole", "batched"])
def test_a_resumed_training_ends_bit_for_bit_as_one_that_was_never_stopped(
    recipe: LatentRecipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(LatentFit, "REPORT_EVERY", 20)
    whole = fit(5, recipe)
    whole.run(nothing)
    state = copy.deepcopy(whole.state_dict())
    resumed = fit(5, recipe)
    resumed.load_state_dict(state)
    whole.run(nothing)
    resumed.run(nothing)
    assert torch.equal(whole.latents()[0], resumed.latents()[0])


def test_the_steps_are_those_of_torch_adam_with_a_cosine() -> None:
    recipe = replace(PRESETS["paper"], max_epochs=30)
    ours, plain = fit(4, recipe), VGAE(DARTS, recipe)
    plain.load_state_dict(ours.net.state_dict())
    adam = torch.optim.Adam(plain.parameters(), recipe.learning_rate)
    cosine = torch.optim.lr_scheduler.CosineAnnealingLR(adam, 30, recipe.learning_rate_min)
    generator = torch.Generator().manual_seed(2024 * 1_000_003)
    for _ in range(30):
        adam.zero_grad()
        plain(ours.cells, torch.randn(1, 4, 14, 4, generator=generator)[0]).total.backward()
        adam.step()
        cosine.step()
    ours.run(nothing)
    found = dict(ours.net.named_parameters())
    for name, value in plain.named_parameters():
        if name == "encoder.gat.att_dst":
            continue  # the same for all logits of a softmax: its gradient is rounding, magnified
        torch.testing.assert_close(found[name], value, atol=1e-4, rtol=1e-3, msg=name)


def test_compiled_epochs_are_the_same_epochs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LatentFit, "EPOCHS_A_CALL", 4)
    monkeypatch.setattr(LatentFit, "REPORT_EVERY", 10)
    recipe = replace(PRESETS["paper"], max_epochs=10)
    eager = fit(4, recipe)  # of so many graphs noise is the same, drawn for one epoch or for several
    monkeypatch.setattr(LatentFit, "COMPILE_FROM", 1)
    fresh = replace(DARTS)  # which has looked nothing up yet, as in a process that has just begun
    compiled = fit(4, recipe, space=fresh)
    reports = eager.run(nothing), compiled.run(nothing)
    assert [(report.compiled, report.note) for report in reports] == [(False, None), (True, None)]
    assert reports[0].losses == pytest.approx(reports[1].losses, rel=1e-3)


def test_without_a_compiler_it_runs_eagerly_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: object) -> None:
        raise RuntimeError("no compiler")

    monkeypatch.setattr(LatentFit, "EPOCHS_A_CALL", 8)
    monkeypatch.setattr(LatentFit, "REPORT_EVERY", 20)
    monkeypatch.setattr(LatentFit, "COMPILE_FROM", 1)
    space = fit(3, replace(PRESETS["paper"], max_epochs=20))
    space._compiled = missing
    report = space.run(nothing)
    assert (report.epoch, report.compiled) == (20, False)
    assert report.note == "not compiled, so slower: RuntimeError"


def test_a_discrete_genotype_is_the_special_case_of_a_continuous_one() -> None:
    batch = random_tensor(6, DARTS, torch.Generator().manual_seed(5))
    discrete = graph.from_tensor(batch, DARTS)
    soft = graph.from_continuous([as_continuous(g) for g in from_tensor(batch, DARTS)], DARTS)
    torch.manual_seed(0)
    for preset in PRESETS.values():
        net, noise = VGAE(DARTS, preset), torch.randn(6, 14, preset.latent_dimension)
        torch.testing.assert_close(net.encode(soft)[0], net.encode(discrete)[0])
        ours, theirs = (net(graph.cells(batch, DARTS), noise).total for batch in (soft, discrete))
        torch.testing.assert_close(ours, theirs)


def as_continuous(genotype: Genotype) -> ContinuousGenotype:
    """The continuous genotype whose weights are all on the edges and operations of a discrete one."""
    cells = []
    for edges in genotype.cells:
        rows, weights = [[1.0] + [0.0] * 7 for _ in DARTS.edges], [0.0] * len(DARTS.edges)
        for position, (operation, node) in enumerate(edges):
            row = DARTS.edges.index((node, 2 + position // 2))
            rows[row] = [float(name == operation) for name in DARTS.operations]
            weights[row] = 0.5
        cells.append((tuple(map(tuple, rows)), tuple(weights)))
    operations, weights = zip(*cells, strict=True)
    return ContinuousGenotype(DARTS, operations, weights)


def test_the_latent_of_a_member_is_what_encoding_it_gives() -> None:
    space = fit(4, SHORT)
    space.run(nothing)
    torch.testing.assert_close(encode(space.net, space.graph), space.latents()[0])


def test_what_is_raised_between_epochs_stops_the_training() -> None:
    def stop() -> None:
        raise KeyboardInterrupt

    space = fit(3, SHORT)
    with pytest.raises(KeyboardInterrupt):
        space.run(stop)
    assert space.epoch == 0


def test_denormal_numbers_are_zero_in_steps_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LatentFit, "REPORT_EVERY", 2)
    smallest, within = torch.full((64,), 1e-30), []
    fit(3, MIXED).run(lambda: within.append(smallest * 1e-10))
    assert [int(product.count_nonzero()) for product in within] == [0, 0]
    assert (smallest * 1e-10).count_nonzero() == 64


def test_one_member_is_too_few() -> None:
    with pytest.raises(LatentError, match="at least 2"):
        fit(1, SHORT)


def test_training_ends_early_on_a_plateau_with_every_member_exact() -> None:
    recipe = replace(SHORT, max_epochs=20_000, early_end=True, learning_rate=3e-3, kl_weight=0.1)
    space = fit(4, recipe)
    while not space.done:
        report = space.run(nothing)
    assert space.epoch < recipe.max_epochs
    assert report.members_exact == 1.0
