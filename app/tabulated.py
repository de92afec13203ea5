"""Tables as Markdown and CSV, in which no text is more than a text."""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any


def markdown(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown; bars and line breaks in cells are escaped."""
    lines = [" | ".join(headings), " | ".join("---" for _ in headings)]
    lines += [" | ".join(" ".join(cell.replace("|", "\\|").split()) for cell in row) for row in rows]
    return "".join(f"| {line} |\n" for line in lines)


def comma_separated(fields: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> str:
    """A table as CSV with a header; what a spreadsheet would run as a formula is quoted as text."""
    out = io.StringIO()
    writer = csv.DictWriter(out, fields)
    writer.writeheader()
    for row in rows:
        writer.writerow({name: _no_formula(row[name]) for name in fields})
    return out.getvalue()


def number(value: float | None, digits: int = 2) -> str:
    """A number as a cell, or a dash where there is none."""
    return "–" if value is None else f"{value:.{digits}f}"


def _no_formula(value: Any) -> Any:
    formula = isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r"))
    return f"'{value}" if formula else value
