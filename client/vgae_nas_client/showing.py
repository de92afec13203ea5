"""What people see: tables, bars while they wait, and pictures in notebooks."""

import html
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import StringIO

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from vgae_nas_client.flows import Watch
from vgae_nas_client.shapes import JobInfo, ProposalInfo, TableRow

WIDTH = 110


@contextmanager
def bar(what: str, shown: bool | None) -> Iterator[Watch | None]:
    """A bar that follows a job.

    Args:
        what: it is of.
        shown: whether there is one; by default where a person looks.
    """
    if not (sys.stderr.isatty() if shown is None else shown):
        yield None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[step]}"))
    with Progress(*columns, TimeElapsedColumn(), console=Console(stderr=True)) as progress:
        task = progress.add_task(what, total=1.0, step="")

        def follow(job: JobInfo) -> None:
            progress.update(task, completed=job.progress, step=job.step)

        yield follow


def text(table: Table) -> str:
    """A table as text."""
    console = Console(file=StringIO(), width=WIDTH)
    console.print(table)
    return str(console.file.getvalue())  # type: ignore[attr-defined]


def as_html(table: Table) -> str:
    """A table for a notebook."""
    return f"<pre>{html.escape(text(table))}</pre>"


def of_proposal(proposal: ProposalInfo) -> Table:
    """The architectures of a proposal with their sizes."""
    table = Table(title=f"{len(proposal.items)} architectures for {proposal.dataset}")
    for name in ("#", "genotype", "channels", "cells", "parameters", "MACs", "edits", "predicted", "minutes"):
        table.add_column(name, justify="left" if name == "genotype" else "right")
    for number, item in enumerate(proposal.items, 1):
        network = item.network
        table.add_row(
            str(number),
            item.genotype_id,
            str(network.channels),
            str(network.cells),
            f"{network.parameters:,}",
            f"{network.macs:,}",
            "" if item.edits is None else str(item.edits),
            _percent(item.predicted_accuracy),
            f"{item.estimated_seconds / 60:.1f}",
        )
    return table


def of_comparison(rows: Sequence[TableRow]) -> Table:
    """The figures of the arms of a comparison."""
    table = Table(title="test accuracy in percent")
    for name in ("arm", "n", "mean", "SD", "best", "parameters", "beside the arms before"):
        table.add_column(name, justify="left" if name in ("arm", "beside the arms before") else "right")
    for row in rows:
        table.add_row(
            row.arm,
            str(row.n),
            _percent(row.mean_accuracy),
            _percent(row.sd_accuracy),
            _percent(row.best_accuracy),
            "" if row.mean_params is None else f"{row.mean_params:,.0f}",
            row.verdicts,
        )
    return table


def _percent(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"
