"""One round of a campaign: from what has ended, what is trained next."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from sqlalchemy.orm import Session
from torch import Tensor

from app.artifacts import Artifacts
from app.campaigns import service
from app.campaigns.tables import Campaign
from app.campaigns.trials import CampaignTrial, best, of_campaign, seen
from app.database import Database
from app.datasets import service as datasets
from app.datasets.tables import Dataset
from app.generation import limits
from app.generation import service as generation
from app.generation.schemas import ConstraintsIn
from app.genotypes import ranking
from app.genotypes.tables import Genotype, Origin
from app.jobs import parents, workers
from app.jobs import service as jobs
from app.jobs.tables import Job
from app.latent_spaces.opened import OpenSpace, open_space
from app.proposals import service as proposals
from app.settings import Settings
from app.trainings import service as trainings
from models.generation.campaign import Choice, Source, propose
from models.generation.features import Figures
from models.generation.generate import Generated, generate, uniform
from models.generation.halving import Step, Trial, step
from models.genotypes.constraints import Constraints
from models.genotypes.genotype import from_dict, to_tensor
from models.genotypes.graph import from_tensor
from models.latent_spaces.vgae import encode
from models.trainings.retrain import TrainRecipe

BEST = 3
"""Architectures near which new ones are drawn."""

NEAR, ELSEWHERE = 300, 1_000
"""Architectures to choose from: near the best, and anywhere in the space."""

HOPELESS = 3
"""An arm ends when so many trainings have failed and none has succeeded."""


@dataclass
class Planned:
    """What a round has decided, not yet stored.

    Args:
        seen: the trainings on which it is based, as `trials.seen` counts them.
        genotypes: rows to be stored first.
        plans: of trainings to be started.
        ended: why each arm that is over has ended.
        progress: of the campaign.
    """

    seen: tuple[int, int]
    genotypes: list[dict[str, Any]] = field(default_factory=list)
    plans: list[trainings.Plan] = field(default_factory=list)
    ended: dict[str, str] = field(default_factory=dict)
    progress: float = 0.0


@dataclass
class Arm:
    """One arm of a campaign as a round sees it.

    Args:
        name: `ours` or `random`.
        trials: its trainings, with those that this round starts.
        spent: of the budget by what is over.
        ended: why it is over, if it is.
    """

    name: str
    trials: list[Trial]
    spent: float
    ended: str | None = None


class Round:
    """What a round reads once and decides with.

    Args:
        campaign: the campaign.
        dataset: on which it trains.
        space: from which architectures are decoded.
        constraints: that they keep; `None` for none.
        trials: all trainings so far.
        known: what is known elsewhere, in the form of `genotype.to_tensor`, with accuracies in percent.
        proposed: what is tried first.
    """

    def __init__(
        self,
        campaign: Campaign,
        dataset: Dataset,
        space: OpenSpace,
        constraints: Constraints | None,
        trials: Sequence[CampaignTrial],
        known: tuple[Tensor, Figures] | None,
        proposed: Sequence[Genotype] = (),
    ) -> None:
        self.campaign, self.dataset, self.space = campaign, dataset, space
        self.constraints, self.trials, self.known = constraints, trials, known
        self.recipe = TrainRecipe(**campaign.settings)
        self.proposed = [row.id for row in proposed]
        rows = {row.id: row for row in (*proposed, *(trial.genotype for trial in trials))}
        self.sources = {row.id: row.source for row in rows.values()}
        self.forms = {row.id: from_dict(row.genotype, space.space) for row in rows.values()}
        self.costs = self._costs()
        self.arms = [self._arm(name) for name in campaign.arms]
        self.planned = Planned(seen(trials))

    def plan(self, workers: int) -> Planned:
        """Starts trainings until every worker has one, the arm that has used least first."""
        free = workers - sum(trial.runs for arm in self.arms for trial in arm.trials)
        while free > 0 and any(self._start_one(arm) for arm in sorted(self.arms, key=self._used)):
            free -= 1
        for arm in self.arms:
            if arm.ended is not None:
                self.planned.ended[arm.name] = arm.ended
        shares = [1.0 if arm.ended else min(1.0, arm.spent / self.limit) for arm in self.arms]
        self.planned.progress = sum(shares) / len(shares)
        return self.planned

    @property
    def limit(self) -> float:
        """The budget of an arm, in whole trainings or hours."""
        return float(next(iter(self.campaign.budget.values())))

    def _costs(self) -> list[float]:
        """Of a training on each rung, in the unit of the budget; 0 while nobody knows how long one takes."""
        epochs = self.campaign.epochs
        if "trainings" in self.campaign.budget:
            return [count / epochs[-1] for count in epochs]
        done = [trial for trial in self.trials if trial.evaluation is not None]
        hours = sum(trial.hours or 0.0 for trial in done) / max(1, sum(trial.epochs for trial in done))
        return [count * hours for count in epochs]

    def _arm(self, name: str) -> Arm:
        ours = [trial for trial in self.trials if trial.training.arm == name]
        trials = [trial.halved(self.campaign.epochs) for trial in ours]
        spent = 0.0
        for trial, halved in zip(ours, trials, strict=True):
            if not halved.runs:
                hours = "hours" in self.campaign.budget
                spent += (trial.hours or 0.0) if hours else self.costs[halved.rung]
        arm = Arm(name, trials, spent)
        found = best(self.trials, name)
        reached = found.test_accuracy if found is not None else None
        if self.campaign.target is not None and reached is not None and reached >= self.campaign.target:
            arm.ended = f"the target is reached: {reached:.2f} %"
        elif sum(trial.failed for trial in trials) >= HOPELESS and all(t.failed or t.runs for t in trials):
            arm.ended = f"its first {HOPELESS} trainings failed"
        elif not any(trial.runs for trial in trials) and self._next(arm) is None:
            arm.ended = "its budget is used"
        return arm

    def _next(self, arm: Arm) -> Step | None:
        return step(arm.trials, self.costs, self.limit - self._used(arm))

    def _used(self, arm: Arm) -> float:
        return arm.spent + sum(self.costs[trial.rung] for trial in arm.trials if trial.runs)

    def _start_one(self, arm: Arm) -> bool:
        """Starts a training of an arm; `False` where it has none to start now, or is over."""
        if arm.ended is not None:
            return False
        following = self._next(arm)
        if following is None:
            return False
        genotype_id = following.candidate or self._begin(arm)
        if genotype_id is None:
            if not any(trial.runs for trial in arm.trials):
                arm.ended = "no architecture is left that it has not tried"
            return False
        self._train(arm, genotype_id, following.rung)
        return True

    def _train(self, arm: Arm, genotype_id: str, rung: int) -> None:
        epochs, source = self.campaign.epochs, self.sources[genotype_id]
        recipe = self.recipe
        if "budget" in source.get("network", {}):
            recipe = trainings.of_source(source, recipe, self.dataset, "genotype")
        self.planned.plans.append(
            trainings.Plan(
                self.campaign.dataset_id,
                self.campaign.recipe,
                replace(recipe, epochs=epochs[rung]),
                self.campaign.seed,
                arm.name,
                genotype_id=genotype_id,
                parent_job_id=self.campaign.job_id,
                brief=rung < len(epochs) - 1,
            )
        )
        arm.trials.append(Trial(genotype_id, rung))

    def _begin(self, arm: Arm) -> str | None:
        """What was proposed, or a new genotype to be stored, for an arm; `None` where there is none."""
        tried = _names(arm.trials)
        untried = [name for name in self.proposed if name not in tried]
        if untried and arm.name == service.OURS:
            return untried[0]
        generator = torch.Generator().manual_seed(self.campaign.seed * 1_009 + len(arm.trials))
        found = self._random(arm, generator) if arm.name == service.RANDOM else self._best(arm, generator)
        if found is None:
            return None
        drawn, origin, source = found
        if self.constraints is not None:
            space = self.space.space
            source["network"] = limits.networks(drawn.genotypes, space, self.constraints)[0]
        source["campaign_id"] = self.campaign.id
        (row,) = generation.described(drawn, self.space, origin, [source])
        self.planned.genotypes.append(row)
        self.sources[row["id"]] = source
        self.forms[row["id"]] = from_dict(row["genotype"], self.space.space)
        return str(row["id"])

    def _random(
        self, arm: Arm, generator: torch.Generator
    ) -> tuple[Generated, Origin, dict[str, Any]] | None:
        drawn = self._drawn(uniform(self.space.box, generator), 1, self._tensor(_names(arm.trials)))
        return (drawn, Origin.RANDOM, {"kind": "uniform"}) if len(drawn.genotypes) else None

    def _best(self, arm: Arm, generator: torch.Generator) -> tuple[Generated, Origin, dict[str, Any]] | None:
        """The genotype of the largest expected improvement among many."""
        shortest = {t.candidate: t.accuracy for t in arm.trials if t.rung == 0 and t.accuracy is not None}
        ranked = sorted(shortest, key=lambda name: -shortest[name])
        names = [*shortest, *(name for name in _names(arm.trials) if name not in shortest)]
        tried = self._tensor(names)
        starts = self._starts(ranked)
        pools = [self._drawn(uniform(self.space.box, generator), ELSEWHERE, tried)]
        if len(starts):
            points = encode(self.space.net, from_tensor(starts, self.space.space))
            near = generation.step_to_choose_from(self.space)
            draw = generation.drawn_near(self.space, points, starts, near, generator)
            pools.append(self._drawn(draw, NEAR, tried, starts))
        pool = torch.cat([drawn.genotypes for drawn in pools])
        source = None if self.known is None else Source.of(*self.known, self.space.space)
        accuracies = np.array(list(shortest.values()), dtype=np.float64)
        choice = propose(tried, accuracies, pool, self.space.space, source)
        if choice is None:
            return None
        ends = np.cumsum([len(drawn.genotypes) for drawn in pools])
        place = int(np.searchsorted(ends, choice.number, side="right"))
        drawn = pools[place]
        drawn = drawn.select(torch.tensor([choice.number - int(ends[place]) + len(drawn.genotypes)]))
        origin = Origin.RANDOM if place == 0 else Origin.GENERATED
        return drawn, origin, self._reason(choice, drawn, ranked, len(pool))

    def _reason(self, choice: Choice, drawn: Generated, ranked: Sequence[str], among: int) -> dict[str, Any]:
        """The source of a genotype: where it was drawn, and why it was chosen."""
        reason: dict[str, Any] = {"kind": "uniform", "chosen_by": choice.by, "among": among}
        if drawn.sample.points is not None:
            start = int(drawn.sample.points[0])
            near = generation.step_to_choose_from(self.space)
            reason |= {"kind": "near", **near.model_dump(exclude_none=True)}
            if drawn.edits is not None:
                reason["edits"] = int(drawn.edits[0])
            if start < len(ranked[:BEST]):
                reason["points"] = [{"genotype_id": ranked[start]}]
            elif self.campaign.source is not None:
                reason["points"] = [{"dataset_id": self.campaign.source["dataset_id"]}]
        if choice.accuracy is not None and choice.deviation is not None:
            reason["predicted_accuracy"] = round(choice.accuracy, 4)
            reason["predicted_deviation"] = round(choice.deviation, 4)
        return reason

    def _starts(self, ranked: Sequence[str]) -> Tensor:
        """The genotypes near which others are drawn: the best so far, filled up by the best of the source."""
        starts = self._tensor(ranked[:BEST])
        if self.known is None or len(starts) == BEST:
            return starts
        genotypes, accuracies = self.known
        order = torch.from_numpy(accuracies).argsort(descending=True, stable=True)
        return torch.cat([starts, genotypes[order[: BEST - len(starts)]]])

    def _drawn(self, draw: Any, count: int, known: Tensor, starts: Tensor | None = None) -> Generated:
        return generate(self.space.net, draw, count, known, self.constraints, True, starts)

    def _tensor(self, names: Sequence[str]) -> Tensor:
        if not names:
            return self.space.members[:0]
        return to_tensor([self.forms[name] for name in names], self.space.space)


def plan(database: Database, campaign_id: str, settings: Settings, artifacts: Artifacts) -> Planned:
    """What a campaign trains next, not yet stored."""
    with database.session(reads_only=True) as session:
        campaign, _ = service.get(session, campaign_id)
        dataset = datasets.get(session, campaign.dataset_id)
        space = open_space(session, campaign.latent_space_id, artifacts)
        asked = None if campaign.constraints is None else ConstraintsIn.model_validate(campaign.constraints)
        shape = limits.network_shape(session, asked, space.space, campaign.dataset_id, "dataset_id")
        tables = limits.device_tables(session, asked, space.space, shape)
        trials, known = of_campaign(session, campaign), _known(session, campaign, space)
        proposed = []
        if campaign.proposal_id is not None:
            proposed = proposals.architectures(session, campaign.proposal_id)
        living = len(workers.living(session, settings))
    constraints = limits.constraints(asked, shape, space.space, tables)
    return Round(campaign, dataset, space, constraints, trials, known, proposed).plan(max(1, living))


def store(session: Session, campaign_id: str, round_id: str, planned: Planned) -> list[Job]:
    """Stores what a round has decided, not yet committed; the trainings that it starts.

    Nothing is stored where a cancel is requested; nor where trainings have ended since it looked: the next
    round, which is then ordered, decides with them.
    """
    campaign, _ = service.get(session, campaign_id)
    parents.lock(session, campaign.job_id)
    parent = jobs.get(session, campaign.job_id)
    if parent.cancel_requested:
        return []
    if planned.seen != seen(of_campaign(session, campaign)):
        parents.order_round(session, parent, besides=round_id)
        return []
    if planned.genotypes:
        session.execute(Genotype.__table__.insert(), planned.genotypes)  # type: ignore[attr-defined]
    campaign.ended = planned.ended
    parents.advance(session, campaign.job_id, planned.progress)
    session.flush()
    return [trainings.create(session, training) for training in planned.plans]


def _known(session: Session, campaign: Campaign, space: OpenSpace) -> tuple[Tensor, Figures] | None:
    """What was known elsewhere when the campaign began, as far as it is still there."""
    if campaign.source is None:
        return None
    forms = ranking.forms(session, campaign.source["genotype_ids"])
    pairs = zip(campaign.source["genotype_ids"], campaign.source["accuracies"], strict=True)
    left = [(forms[name], accuracy) for name, accuracy in pairs if name in forms]
    genotypes = to_tensor([from_dict(form, space.space) for form, _ in left], space.space)
    return genotypes, np.array([accuracy for _, accuracy in left], dtype=np.float64)


def _names(trials: Sequence[Trial]) -> list[str]:
    return list(dict.fromkeys(trial.candidate for trial in trials))
