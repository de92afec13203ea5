"""Whole tables of trained architectures, as benchmarks publish them, registered at once."""

import csv
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import insert, select
from sqlalchemy.orm import Session

from app.database import new_ids, now
from app.datasets import service as datasets
from app.evaluations import service as evaluations
from app.evaluations.tables import Evaluation, EvaluationKind
from app.genotypes import service
from app.genotypes.tables import Genotype, Origin
from app.problems import InvalidRequest
from models.genotypes import genotype as forms
from models.genotypes.search_space import SearchSpace
from models.genotypes.size import count_macs, count_parameters
from models.genotypes.text import from_text

ARCHITECTURE = "arch"
"""The column of a table that has the genotype, as a text of its search space."""


@dataclass(frozen=True)
class Loaded:
    """What a table brought.

    Args:
        genotypes, evaluations: in the table.
        new_genotypes, new_evaluations: of these, what was not there yet.
    """

    genotypes: int
    new_genotypes: int
    evaluations: int
    new_evaluations: int


@dataclass(frozen=True)
class _Table:
    """A table as it was read: a genotype a row, and accuracies by data set."""

    genotypes: list[forms.Genotype]
    accuracies: Mapping[str, list[float]]


def load_table(session: Session, file: Path, search_space: str, columns: Mapping[str, str]) -> Loaded:
    """Registers a table's genotypes with their accuracies as reported evaluations, all or none.

    A genotype that is registered already is not made again, nor an evaluation that the same table brought
    before, so a table can be loaded again.

    Args:
        session: commits at the end.
        file: CSV with a column `arch`.
        search_space: of the genotypes.
        columns: the column of each data set, by the data set's name; accuracies are in percent.

    Raises:
        InvalidRequest: naming the row and column at fault.
    """
    space = service.space_of(search_space, "space")
    if not columns:
        raise InvalidRequest.of("dataset", "give at least one, as cifar10=cifar10_test")
    ids = {name: datasets.known(session, name, f"dataset.{name}").id for name in columns}
    table = _read(file, space, columns)
    rows = _rows(table.genotypes, space, file.stem)
    query = select(Genotype.digest, Genotype.id).where(
        Genotype.search_space == space.name, Genotype.origin == Origin.REGISTERED
    )
    known = dict(session.execute(query).all())
    new = {row["digest"]: row for row in rows if row["digest"] not in known}
    if new:
        session.execute(insert(Genotype.__table__), list(new.values()))  # type: ignore[arg-type]
    known |= {digest: row["id"] for digest, row in new.items()}
    recorded = 0
    for name, dataset_id in ids.items():
        recorded += _record(session, rows, known, dataset_id, table.accuracies[name], file.stem)
    session.commit()
    return Loaded(len(rows), len(new), len(rows) * len(columns), recorded)


def _read(file: Path, space: SearchSpace, columns: Mapping[str, str]) -> _Table:
    genotypes: list[forms.Genotype] = []
    accuracies: dict[str, list[float]] = {name: [] for name in columns}
    with file.open(newline="", encoding="utf-8", errors="replace") as lines:
        reader = csv.DictReader(lines)
        header = reader.fieldnames or []
        needed = {ARCHITECTURE: ARCHITECTURE, **{f"dataset.{name}": c for name, c in columns.items()}}
        for field, column in needed.items():
            if column not in header:
                names = ", ".join(header)
                raise InvalidRequest.of(field, f"there is no column {column!r}; the table has {names}")
        try:
            for number, row in enumerate(reader, start=2):  # the header is line 1
                genotypes.append(_genotype(row[ARCHITECTURE] or "", number, space))
                for name, column in columns.items():
                    accuracies[name].append(_accuracy(row[column], number, column))
        except csv.Error as error:
            raise InvalidRequest.of(f"line {reader.line_num}", f"cannot be read: {error}") from None
    if not genotypes:
        raise InvalidRequest.of(ARCHITECTURE, "the table has no rows")
    first: dict[forms.Genotype, int] = {}
    for number, genotype in enumerate(genotypes, start=2):
        if first.setdefault(genotype, number) != number:
            place = f"line {number}.{ARCHITECTURE}"
            raise InvalidRequest.of(place, f"repeats that of line {first[genotype]}")
    return _Table(genotypes, accuracies)


def _genotype(text: str, number: int, space: SearchSpace) -> forms.Genotype:
    try:
        return from_text(text, space)
    except forms.GenotypeError as error:
        raise InvalidRequest.of(f"line {number}.{ARCHITECTURE}", error.detail) from None


def _accuracy(text: str | None, number: int, column: str) -> float:
    try:
        value = float(text or "")
    except ValueError:
        value = math.nan
    if not 0 <= value <= 100:
        place = f"line {number}.{column}"
        raise InvalidRequest.of(place, f"must be an accuracy from 0 to 100 (got {text!r})")
    return value


def _rows(genotypes: list[forms.Genotype], space: SearchSpace, table: str) -> list[dict[str, Any]]:
    batch = forms.to_tensor(genotypes, space)
    parameters, macs = count_parameters(batch, space).tolist(), count_macs(batch, space).tolist()
    ids, moment = new_ids(service.PREFIX, len(genotypes)), now()
    return [
        {
            "id": ids[i],
            "search_space": space.name,
            "origin": Origin.REGISTERED,
            "name": None,
            "dataset_id": None,
            "genotype": form,
            "continuous": None,
            "digest": digest,
            "parameters": parameters[i],
            "macs": macs[i],
            "source": {"table": table},
            "latent_space_id": None,
            "latent": None,
            "created_at": moment,
        }
        for i, (form, digest) in enumerate(forms.described(batch, space))
    ]


def _record(
    session: Session,
    rows: list[dict[str, Any]],
    ids: Mapping[str, str],
    dataset_id: str,
    accuracies: list[float],
    table: str,
) -> int:
    """Adds the evaluations on one data set that are not there yet; how many.

    Raises:
        InvalidRequest: a table of this name brought another accuracy before.
    """
    query = select(Evaluation.genotype_id, Evaluation.test_accuracy).where(
        Evaluation.dataset_id == dataset_id,
        Evaluation.kind == EvaluationKind.REPORTED,
        Evaluation.recipe == table,
    )
    before = dict(session.execute(query).all())
    moment, new = now(), []
    for line, (row, accuracy) in enumerate(zip(rows, accuracies, strict=True), start=2):
        genotype_id = ids[row["digest"]]
        if genotype_id not in before:
            new.append(
                {
                    "genotype_id": genotype_id,
                    "search_space": row["search_space"],
                    "dataset_id": dataset_id,
                    "kind": EvaluationKind.REPORTED,
                    "recipe": table,
                    "test_accuracy": accuracy,
                    "parameters": row["parameters"],
                    "macs": row["macs"],
                    "created_at": moment,
                }
            )
        elif before[genotype_id] != accuracy:
            raise InvalidRequest.of(
                f"line {line}", f"says {accuracy:g}; the table {table!r} said {before[genotype_id]:g} before"
            )
    if new:
        numbered = zip(new_ids(evaluations.PREFIX, len(new)), new, strict=True)
        session.execute(
            insert(Evaluation.__table__),  # type: ignore[arg-type]
            [{"id": evaluation_id, **row} for evaluation_id, row in numbered],
        )
    return len(new)
