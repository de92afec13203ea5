"""What a campaign has tried and what it came to, as JSON, Markdown, CSV and a picture."""

from collections.abc import Sequence
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from sqlalchemy.orm import Session

from app import tabulated
from app.campaigns import service
from app.campaigns.schemas import CampaignTableOut, TrialOut
from app.campaigns.tables import Campaign
from app.campaigns.trials import CampaignTrial, best, of_campaign
from app.datasets import service as datasets
from app.drawing import Form, render
from app.experiments.report import verdicts_in_markdown
from app.experiments.verdicts import VerdictOut, compare
from app.jobs.tables import JobStatus
from app.latent_spaces.map import PALETTE

CHOSEN = {
    "source": "the best by what is known of {source}",
    "size": "the largest, as nothing is known yet",
    "difference": "the least like what was tried",
    "improvement": "the largest expected improvement",
}
"""Why a genotype was chosen, in words."""


def table(session: Session, campaign_id: str) -> CampaignTableOut:
    """All trainings of a campaign so far.

    Raises:
        NotFound: there is no such campaign.
    """
    campaign, job = service.get(session, campaign_id)
    trials = of_campaign(session, campaign)
    dataset = datasets.get(session, campaign.dataset_id)
    return CampaignTableOut(
        campaign_id=campaign.id,
        status=job.status,
        dataset=dataset.name,
        items=[row for arm in campaign.arms for row in _rows(campaign, arm, trials)],
        best=service.bests(campaign, trials),
        verdicts=_verdicts(campaign, trials, dataset.name),
        failures=[
            {"job_id": trial.job.id, "training_id": trial.training.id, "error": trial.job.error}
            for trial in trials
            if trial.job.status is JobStatus.FAILED
        ],
    )


HEADINGS = ("Arm", "Trainings", "Hours", "Epochs", "Accuracy (%)", "Test (%)", "Best so far (test, %)", "Why")


def markdown(figures: CampaignTableOut) -> str:
    """The trainings in Markdown, and the verdict if there are two arms."""
    rows = [
        (
            row.arm,
            f"{row.trainings:.2f}",
            f"{row.hours:.3f}",
            f"{row.epochs}" + ("" if row.whole else " (brief)"),
            tabulated.number(row.accuracy),
            tabulated.number(row.test_accuracy),
            tabulated.number(row.best_test_accuracy),
            row.why,
        )
        for row in figures.items
    ]
    text = tabulated.markdown(HEADINGS, rows)
    return f"{text}\n{verdicts_in_markdown(figures.verdicts)}" if figures.verdicts else text


def comma_separated(figures: CampaignTableOut) -> str:
    """The trainings as CSV with a header."""
    return tabulated.comma_separated(list(TrialOut.model_fields), (row.model_dump() for row in figures.items))


def picture(session: Session, campaign_id: str, form: Form) -> bytes:
    """The accuracy of each arm's best whole training against what it has used.

    Raises:
        NotFound: there is no such campaign.
    """
    campaign, _ = service.get(session, campaign_id)
    figures = table(session, campaign_id)
    figure = Figure(figsize=(10, 4.5), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2, sharey=True)
    for place, arm in enumerate(campaign.arms):
        whole = [
            row for row in figures.items if row.arm == arm and row.whole and row.test_accuracy is not None
        ]
        for axes, name in ((left, "trainings"), (right, "hours")):
            used = [getattr(row, name) for row in whole]
            axes.scatter(used, [row.test_accuracy for row in whole], color=PALETTE[place], alpha=0.5)
            reached = [row.best_test_accuracy for row in whole]
            axes.step(used, reached, where="post", color=PALETTE[place], label=f"{arm}, best by validation")
    left.set_xlabel("whole trainings' worth used")
    right.set_xlabel("hours of training used")
    left.set_ylabel(f"test accuracy on {figures.dataset} (%)".replace("$", r"\$"))
    if figures.items:
        left.legend(fontsize=8)
    n = sum(row.whole and row.test_accuracy is not None for row in figures.items)
    figure.suptitle(f"{n} whole trainings by {campaign.recipe!r}, {campaign.settings['epochs']} epochs")
    return render(figure, form)


def _rows(campaign: Campaign, arm: str, trials: Sequence[CampaignTrial]) -> list[TrialOut]:
    """The trainings of an arm in the order in which they ended; what waits or runs comes last."""
    ours = [trial for trial in trials if trial.training.arm == arm]
    numbers = {trial.training.id: number for number, trial in enumerate(ours, start=1)}
    ended = [trial for trial in ours if trial.job.finished_at is not None]
    ended.sort(key=lambda trial: (trial.job.finished_at, trial.training.id))
    used, hours, rows = 0.0, 0.0, []
    over: list[CampaignTrial] = []
    for trial in [*ended, *(trial for trial in ours if trial.job.finished_at is None)]:
        if trial.job.finished_at is not None:
            used += trial.epochs / campaign.epochs[-1]
            hours += trial.hours or 0.0
            over.append(trial)
        reached, source = best(over, arm), trial.genotype.source
        rows.append(
            TrialOut(
                arm=arm,
                number=numbers[trial.training.id],
                genotype_id=trial.genotype.id,
                training_id=trial.training.id,
                job_id=trial.job.id,
                status=trial.job.status,
                epochs=trial.epochs,
                whole=not trial.training.brief,
                why=_why(campaign, trial),
                predicted_accuracy=source.get("predicted_accuracy"),
                predicted_deviation=source.get("predicted_deviation"),
                accuracy=trial.accuracy,
                test_accuracy=trial.test_accuracy,
                parameters=None if trial.evaluation is None else trial.evaluation.parameters,
                trainings=round(used, 6),
                hours=round(hours, 6),
                best_accuracy=None if reached is None else reached.accuracy,
                best_test_accuracy=None if reached is None else reached.test_accuracy,
            )
        )
    return rows


def _why(campaign: Campaign, trial: CampaignTrial) -> str:
    """Why it was trained, in words."""
    if trial.epochs != campaign.epochs[0]:
        return f"among the best of those with {_counted(_before(campaign, trial), 'epoch')}"
    source = trial.genotype.source
    if source.get("campaign_id") != campaign.id:
        return "proposed"
    place = "drawn anywhere in the space"
    if source["kind"] == "near":
        points: list[dict[str, Any]] = source.get("points", [])
        of_source = points and "dataset_id" in points[0]
        start = f"the best of {_source_name(campaign)}" if of_source else "one of the best so far"
        place = f"{_counted(source.get('edits', 0), 'edit')} from {start}"
    if "chosen_by" not in source:
        return place
    chosen = CHOSEN[source["chosen_by"]].format(source=_source_name(campaign))
    return f"{chosen} of {source['among']}; {place}"


def _before(campaign: Campaign, trial: CampaignTrial) -> int:
    return int(campaign.epochs[campaign.epochs.index(trial.epochs) - 1])


def _source_name(campaign: Campaign) -> str:
    return repr(campaign.source["name"]) if campaign.source is not None else "another data set"


def _verdicts(campaign: Campaign, trials: Sequence[CampaignTrial], dataset: str) -> list[VerdictOut]:
    """Ours beside random, by the test accuracies of their whole trainings."""
    accuracies: dict[str, Sequence[float]] = {
        arm: [
            trial.test_accuracy
            for trial in trials
            if trial.training.arm == arm and not trial.training.brief and trial.test_accuracy is not None
        ]
        for arm in reversed(campaign.arms)
    }
    return compare(campaign.dataset_id, dataset, accuracies)


def _counted(count: int, thing: str) -> str:
    return f"{count} {thing}" if count == 1 else f"{count} {thing}s"
