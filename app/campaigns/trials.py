"""The trainings of a campaign as its rounds and its table see them."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.campaigns.tables import Campaign
from app.evaluations.tables import Evaluation
from app.genotypes.tables import Genotype
from app.jobs.tables import Job
from app.trainings.tables import Training
from models.generation.halving import Trial


@dataclass(frozen=True)
class CampaignTrial:
    """One training with what it is of and what it came to."""

    training: Training
    job: Job
    genotype: Genotype
    evaluation: Evaluation | None

    @property
    def epochs(self) -> int:
        """The epochs that it has, or will have."""
        return int(self.training.settings["epochs"])

    @property
    def failed(self) -> bool:
        """Whether it is over without a result."""
        return self.evaluation is None and self.job.status.is_final

    @property
    def accuracy(self) -> float | None:
        """Percent, by validation where the recipe holds images out."""
        found = self.evaluation
        if found is None:
            return None
        return found.test_accuracy if found.validation_accuracy is None else found.validation_accuracy

    @property
    def test_accuracy(self) -> float | None:
        """Percent on the test split, of the epoch that `accuracy` is of."""
        found = self.evaluation
        if found is None:
            return None
        return found.test_accuracy if found.selected_test_accuracy is None else found.selected_test_accuracy

    @property
    def hours(self) -> float | None:
        """What it took; `None` while it runs."""
        if self.evaluation is not None and self.evaluation.train_seconds is not None:
            return self.evaluation.train_seconds / 3600
        if self.job.started_at is None or self.job.finished_at is None:
            return 0.0 if self.job.status.is_final else None
        return (self.job.finished_at - self.job.started_at).total_seconds() / 3600

    def halved(self, epochs: Sequence[int]) -> Trial:
        """As successive halving sees it; `epochs` are those of the campaign's rungs."""
        return Trial(self.genotype.id, epochs.index(self.epochs), self.accuracy, self.failed)


def of_campaign(session: Session, campaign: Campaign) -> list[CampaignTrial]:
    """All trainings of a campaign, in the order in which they were started."""
    query = (
        select(Training, Job, Genotype, Evaluation)
        .join(Job, Job.id == Training.job_id)
        .join(Genotype, Genotype.id == Training.genotype_id)
        .outerjoin(Evaluation, Evaluation.training_id == Training.id)
        .where(Job.parent_id == campaign.job_id)
        .order_by(Training.id)
    )
    return [CampaignTrial(*row) for row in session.execute(query)]


def best(trials: Sequence[CampaignTrial], arm: str) -> CampaignTrial | None:
    """The best whole training of an arm so far; of several alike the earliest."""
    whole = [
        trial
        for trial in trials
        if trial.training.arm == arm and not trial.training.brief and trial.accuracy is not None
    ]
    return max(whole, key=lambda trial: trial.accuracy or 0.0, default=None)


def seen(trials: Sequence[CampaignTrial]) -> tuple[int, int]:
    """The number of trainings, and of those that are over: what a round's decision rests on."""
    return len(trials), sum(trial.job.status.is_final for trial in trials)
