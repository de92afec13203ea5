"""The confusion matrix of an evaluation as a picture."""

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from app.drawing import Form, render
from app.evaluations.tables import Evaluation
from app.problems import NotFound

NUMBERED, NAMED = 20, 60
"""Classes up to which cells show their counts, and axes the names of all classes."""


def confusion(evaluation: Evaluation, title: str, form: Form) -> bytes:
    """The confusion matrix, each row coloured by the shares of its class's images.

    Args:
        evaluation: of a training.
        title: over the picture.
        form: `svg` or `png`.

    Raises:
        NotFound: the evaluation has none, as it was reported or is from before they were kept.
    """
    if evaluation.confusion is None or evaluation.class_accuracies is None:
        raise NotFound(f"evaluation {evaluation.id} has no confusion matrix; only trainings measure one")
    counts, names = np.array(evaluation.confusion), list(evaluation.class_accuracies)
    shares = counts / counts.sum(1, keepdims=True).clip(min=1)
    side = 3 + 0.35 * min(len(names), NAMED)
    figure = Figure(figsize=(side + 1, side), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot(xlabel="Class given", ylabel="True class")
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    figure.colorbar(image, label="Share of the class's test images")
    if len(names) <= NAMED:
        shown = [name if len(name) <= 20 else f"{name[:19]}…" for name in names]
        axes.set_xticks(range(len(names)), shown, rotation=90, parse_math=False)
        axes.set_yticks(range(len(names)), shown, parse_math=False)
    if len(names) <= NUMBERED:
        for row, column in zip(*counts.nonzero(), strict=True):
            colour = "white" if shares[row, column] > 0.5 else "black"
            axes.text(column, row, str(counts[row, column]), ha="center", va="center", color=colour)
    caption = f"{title}, n = {counts.sum():,} test images, last epoch: {evaluation.last_test_accuracy:.2f} %"
    axes.set_title(caption, fontsize=9, parse_math=False, wrap=True)
    return render(figure, form)
