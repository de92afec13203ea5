"""The paper's table of an experiment, as JSON, Markdown and CSV, and a picture."""

from collections.abc import Sequence
from statistics import mean, stdev
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from sqlalchemy import select
from sqlalchemy.orm import Session

from app import tabulated
from app.datasets.tables import Dataset
from app.drawing import Form, render
from app.evaluations.tables import Evaluation
from app.experiments.schemas import FrontPoint, TableOut, TableRow
from app.experiments.service import get
from app.experiments.tables import Experiment
from app.experiments.verdicts import VerdictOut, compare
from app.genotypes.tables import Genotype
from app.jobs.tables import Job, JobStatus
from app.latent_spaces.map import PALETTE
from app.trainings.tables import Training

Trained = tuple[Training, Job, Evaluation | None]


def table(session: Session, experiment_id: str) -> TableOut:
    """The figures of every arm on every data set, so far as trainings are over.

    Raises:
        NotFound: there is no such experiment.
    """
    experiment, job = get(session, experiment_id)
    trained = _trained(session, experiment)
    query = select(Dataset.id, Dataset.name).where(Dataset.id.in_(experiment.dataset_ids))
    names = dict(session.execute(query).all())
    rows = [
        _row(arm, dataset_id, names[dataset_id], trained)
        for dataset_id in experiment.dataset_ids
        for arm in experiment.arms
    ]
    failures = [
        {
            "job_id": part.id,
            "arm": training.arm,
            "training_id": training.id,
            "dataset_id": training.dataset_id,
            "status": part.status,
            "error": part.error,
        }
        for training, part, _ in trained
        if part.status.is_final and part.status is not JobStatus.SUCCEEDED
    ]
    front = _front(session, experiment, trained) if len(experiment.dataset_ids) == 2 else None
    verdicts = [
        verdict
        for dataset_id in experiment.dataset_ids
        for verdict in compare(
            dataset_id,
            names[dataset_id],
            {arm["name"]: _units(arm["name"], dataset_id, trained) for arm in experiment.arms},
        )
    ]
    for row in rows:
        ours = [v for v in verdicts if (v.dataset_id, v.arm) == (row.dataset_id, row.arm)]
        row.verdicts = "; ".join(verdict.sentence() for verdict in ours)
    return TableOut(
        experiment_id=experiment.id,
        status=job.status,
        items=rows,
        verdicts=verdicts,
        failures=failures,
        front=front,
    )


HEADINGS = {
    "arm": "Arm",
    "dataset": "Data set",
    "n": "n",
    "size": "Model size (K)",
    "best_accuracy": "Best (%)",
    "accuracy": "Mean ± SD (%)",
    "mean_selected_accuracy": "By validation (%)",
    "search_hours": "Search (h)",
}


def markdown(figures: TableOut) -> str:
    """The table in Markdown, in the form of the paper's table 2."""
    rows = []
    for row in figures.items:
        cells = {
            "arm": row.arm,
            "dataset": row.dataset,
            "n": str(row.n) + (f" ({row.failed} failed)" if row.failed else ""),
            "size": _spread(row.mean_params, row.sd_params, 1e-3, 1),
            "best_accuracy": tabulated.number(row.best_accuracy, 2),
            "accuracy": _spread(row.mean_accuracy, row.sd_accuracy, 1, 2),
            "mean_selected_accuracy": tabulated.number(row.mean_selected_accuracy, 2),
            "search_hours": tabulated.number(row.search_hours, 2),
        }
        rows.append([cells[name] for name in HEADINGS])
    table = tabulated.markdown(list(HEADINGS.values()), rows)
    return f"{table}\n{verdicts_in_markdown(figures.verdicts)}" if figures.verdicts else table


VERDICT_HEADINGS = (
    "Arm",
    "Beside",
    "Data set",
    "Verdict",
    "Difference (95 %)",
    "Bootstrap",
    "Trainings needed",
)


def verdicts_in_markdown(verdicts: Sequence[VerdictOut]) -> str:
    """Every pair of arms in Markdown."""
    rows = [
        (
            verdict.arm,
            verdict.other,
            verdict.dataset,
            verdict.verdict,
            tabulated.number(verdict.difference, 2) + _interval(verdict.interval),
            _interval(verdict.bootstrap_interval).strip() or "–",
            "–" if verdict.trainings_needed is None else str(verdict.trainings_needed),
        )
        for verdict in verdicts
    ]
    return tabulated.markdown(VERDICT_HEADINGS, rows)


def comma_separated(figures: TableOut) -> str:
    """The table as CSV with a header."""
    return tabulated.comma_separated(list(TableRow.model_fields), (row.model_dump() for row in figures.items))


def picture(session: Session, experiment_id: str, form: Form) -> bytes:
    """Accuracies by arm; with two data sets, the accuracy on one against that on the other.

    Raises:
        NotFound: there is no such experiment.
    """
    experiment, _ = get(session, experiment_id)
    figures = table(session, experiment_id)
    figure = Figure(figsize=(8, 5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    arms = [arm["name"] for arm in experiment.arms]
    colours = {name: PALETTE[i % len(PALETTE)] for i, name in enumerate(arms)}
    if figures.front is not None:
        _draw_front(axes, figures, colours)
    else:
        classes = session.scalar(select(Dataset.classes).where(Dataset.id.in_(experiment.dataset_ids)))
        _draw_arms(axes, figures, _trained(session, experiment), colours, 100 / (classes or 1))
    figure.suptitle(_caption(experiment, figures), parse_math=False)
    return render(figure, form)


def _caption(experiment: Experiment, figures: TableOut) -> str:
    n, epochs = sum(row.n for row in figures.items), experiment.settings["epochs"]
    about = f"n = {n}, recipe {experiment.recipe!r}, {epochs} epochs, test accuracy of the best epoch"
    return f"{experiment.name}: {about}" if experiment.name else about


def _trained(session: Session, experiment: Experiment) -> list[Trained]:
    query = (
        select(Training, Job, Evaluation)
        .join(Job, Job.id == Training.job_id)
        .outerjoin(Evaluation, Evaluation.training_id == Training.id)
        .where(Training.experiment_id == experiment.id)
        .order_by(Training.id)
    )
    return [(training, job, evaluation) for training, job, evaluation in session.execute(query).all()]


def _row(arm: dict[str, Any], dataset_id: str, dataset: str, trained: Sequence[Trained]) -> TableRow:
    ours = [t for t in trained if (t[0].arm, t[0].dataset_id) == (arm["name"], dataset_id)]
    done = [evaluation for _, _, evaluation in ours if evaluation is not None]
    accuracies = [evaluation.test_accuracy for evaluation in done]
    sizes = [float(evaluation.parameters) for evaluation in done if evaluation.parameters is not None]
    return TableRow(
        arm=arm["name"],
        dataset_id=dataset_id,
        dataset=dataset,
        n=len(done),
        failed=sum(job.status is JobStatus.FAILED for _, job, _ in ours),
        open=sum(not job.status.is_final for _, job, _ in ours),
        mean_params=_mean(sizes),
        sd_params=_deviation(sizes),
        best_accuracy=max(accuracies, default=None),
        mean_accuracy=_mean(accuracies),
        sd_accuracy=_deviation(accuracies),
        mean_last_accuracy=_mean([e.last_test_accuracy for e in done]),
        mean_selected_accuracy=_mean([e.selected_test_accuracy for e in done]),
        search_hours=arm["search_hours"],
    )


def _units(arm: str, dataset_id: str, trained: Sequence[Trained]) -> list[float]:
    """The accuracies of an arm that are independent of each other.

    Those of its architectures, each the mean over its seeds; of an arm of one architecture, of its seeds.
    """
    by_architecture: dict[str, list[float]] = {}
    for training, _, evaluation in trained:
        if evaluation is not None and (training.arm, training.dataset_id) == (arm, dataset_id):
            architecture = training.genotype_id or training.reference or ""
            by_architecture.setdefault(architecture, []).append(evaluation.test_accuracy)
    if len(by_architecture) == 1:
        return next(iter(by_architecture.values()))
    return [mean(accuracies) for accuracies in by_architecture.values()]


def _front(session: Session, experiment: Experiment, trained: Sequence[Trained]) -> list[FrontPoint]:
    """Architectures that are trained on both data sets, and which of them nothing beats."""
    accuracies: dict[tuple[str, str | None, str | None], dict[str, list[float]]] = {}
    for training, _, evaluation in trained:
        if evaluation is not None:
            key = (training.arm or "", training.genotype_id, training.reference)
            by_dataset = accuracies.setdefault(key, {})
            by_dataset.setdefault(training.dataset_id, []).append(evaluation.test_accuracy)
    first, second = experiment.dataset_ids
    both = {
        key: (mean(values[first]), mean(values[second]))
        for key, values in accuracies.items()
        if first in values and second in values
    }
    ids = [genotype_id for _, genotype_id, _ in both if genotype_id is not None]
    query = select(Genotype.id, Genotype.source).where(Genotype.id.in_(ids))
    sources: dict[str, dict[str, Any]] = dict(session.execute(query).all())
    return [
        FrontPoint(
            arm=arm,
            genotype_id=genotype_id,
            reference=reference,
            weights=sources.get(genotype_id or "", {}).get("weights"),
            first_accuracy=a,
            second_accuracy=b,
            pareto=not any(x >= a and y >= b and (x, y) != (a, b) for x, y in both.values()),
        )
        for (arm, genotype_id, reference), (a, b) in both.items()
    ]


def _draw_arms(
    axes: Any, figures: TableOut, trained: Sequence[Trained], colours: dict[str, str], chance: float
) -> None:
    by_arm: dict[str, list[float]] = {name: [] for name in colours}
    for training, _, evaluation in trained:
        if evaluation is not None:
            by_arm[training.arm or ""].append(evaluation.test_accuracy)
    for place, (name, accuracies) in enumerate(by_arm.items()):
        axes.scatter([place] * len(accuracies), accuracies, color=colours[name], alpha=0.6)
        if accuracies:
            axes.errorbar(
                place + 0.15, mean(accuracies), _deviation(accuracies) or 0.0, fmt="s", color=colours[name]
            )
    if any(by_arm.values()):
        axes.axhline(chance, color="#888888", linestyle=":", zorder=0)
        axes.annotate(f"chance {chance:.3g} %", (1, chance), (-4, 3), ("axes fraction", "data"),
                      "offset points", ha="right", fontsize=8)  # fmt: skip
    first = next(iter(by_arm))
    verdicts = {v.arm: f"{v.verdict}\nbeside {first}" for v in figures.verdicts if v.other == first}
    labels = [f"{name}\n{verdicts[name]}" if name in verdicts else name for name in by_arm]
    axes.set_xticks(range(len(by_arm)), labels, rotation=20, ha="right", parse_math=False)
    axes.set_ylabel(f"accuracy on {figures.items[0].dataset} (%), and mean ± SD")


def _draw_front(axes: Any, figures: TableOut, colours: dict[str, str]) -> None:
    points = figures.front or []
    for name, colour in colours.items():
        ours = [point for point in points if point.arm == name]
        x, y = [p.first_accuracy for p in ours], [p.second_accuracy for p in ours]
        axes.scatter(x, y, color=colour, label=name.replace("$", r"\$"))
    best = sorted((p.first_accuracy, p.second_accuracy) for p in points if p.pareto)
    axes.plot([x for x, _ in best], [y for _, y in best], color="#444444", linewidth=1, label="front")
    names = list(dict.fromkeys(row.dataset for row in figures.items))
    axes.set_xlabel(f"accuracy on {names[0]} (%)")
    axes.set_ylabel(f"accuracy on {names[1]} (%)")
    axes.legend(fontsize=8)


def _mean(values: Sequence[float | None]) -> float | None:
    numbers = [value for value in values if value is not None]
    return mean(numbers) if numbers else None


def _deviation(values: Sequence[float]) -> float | None:
    return stdev(values) if len(values) > 1 else None


def _interval(interval: tuple[float, float] | None) -> str:
    return "" if interval is None else f" [{interval[0]:+.2f}, {interval[1]:+.2f}]"


def _spread(value: float | None, deviation: float | None, scale: float, digits: int) -> str:
    if value is None:
        return "–"
    shown = tabulated.number(value * scale, digits)
    return shown if deviation is None else f"{shown} ± {deviation * scale:.{digits}f}"
