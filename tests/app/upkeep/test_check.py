"""`vgae-nas check` finds each kind of trouble, and nothing in a store that is sound."""

import json
from collections.abc import Callable
from datetime import timedelta

import pytest
from sqlalchemy import delete, insert, update
from sqlalchemy.orm import Session
from typer.testing import CliRunner

from app.cli import cli
from app.database import now
from app.evaluations.tables import Evaluation
from app.genotypes.tables import Genotype
from app.jobs.tables import Job, JobEvent, JobKind
from app.latent_spaces.tables import LatentSpace
from app.searches.tables import Search
from app.settings import get_settings
from app.trainings.tables import Training
from app.upkeep.check import TROUBLES
from tests.app.trainings.test_endpoints import TINY
from tests.conftest import ONE_DATABASE, Service


@pytest.fixture
def check(service: Service, monkeypatch: pytest.MonkeyPatch) -> Callable[[], dict[str, int]]:
    """What the command finds in the service's store; its exit says whether that is nothing."""
    for name in ("database_url", "artifacts_url"):
        monkeypatch.setenv(f"VGAE_NAS_{name.upper()}", getattr(service.settings, name))
    get_settings.cache_clear()

    def run() -> dict[str, int]:
        outcome = CliRunner().invoke(cli, ["check", "--age", "0"])
        counts: dict[str, int] = json.loads(outcome.stdout.splitlines()[-1])
        assert set(counts) == set(TROUBLES)
        assert outcome.exit_code == bool(sum(counts.values())), outcome.stdout
        return {trouble: count for trouble, count in counts.items() if count}

    return run


@pytest.fixture
def used(service: Service, digits: str, latent_space: str, published: list[str]) -> Service:
    """A store in which something of many kinds was made."""
    common = {"dataset_id": digits, "recipe": "quick"}
    arms = [{"kind": "genotypes", "genotype_ids": published[:1]}]
    service.post("/v1/searches", {**common, "method": "random", "seeds": [1, 2]})
    experiment = {"dataset_ids": [digits], "recipe": "quick", "overrides": TINY, "arms": arms, "seeds": [1]}
    service.post("/v1/experiments", experiment)
    cancelled = service.post("/v1/searches", common)["items"][0]
    service.post(f"/v1/jobs/{cancelled['id']}/cancel")
    service.run_jobs()
    return service


def test_a_sound_store_has_no_trouble(used: Service, check: Callable[[], dict[str, int]]) -> None:
    assert check() == {}
    digits = used.post("/v1/datasets", {"name": "digits"})["id"]
    used.post("/v1/searches", {"dataset_id": digits, "recipe": "quick"})  # waits
    assert check() == {}


def without_a_genotype(session: Session) -> None:
    session.execute(update(Search).values(genotype_id=None))


def without_an_evaluation(session: Session) -> None:
    session.execute(delete(Evaluation).where(Evaluation.training_id.is_not(None)))


def not_ready(session: Session) -> None:
    session.execute(update(LatentSpace).where(LatentSpace.job_id.is_not(None)).values(artifact_key=None))


def file_gone(session: Session) -> None:
    session.execute(update(Training).values(weights_key="weights/gone.safetensors"))


def found_twice(session: Session) -> None:
    row = session.query(Genotype).filter_by(origin="random").first()
    assert row is not None
    values = {column.name: getattr(row, column.name) for column in Genotype.__table__.columns}
    session.execute(insert(Genotype).values(**{**values, "id": "gen_again"}))


def ended_twice(session: Session) -> None:
    job = session.query(Job).filter_by(kind="search", status="succeeded").first()
    assert job is not None
    number = job.event_count + 1
    session.execute(
        insert(JobEvent).values(job_id=job.id, number=number, at=now(), type="succeeded", data={})
    )
    session.execute(update(Job).where(Job.id == job.id).values(event_count=number))


def lease_long_over(session: Session) -> None:
    values = {"status": "running", "lease_token": "t", "lease_expires_at": now() - timedelta(days=1)}
    session.execute(update(Job).where(Job.kind == JobKind.FIT).values(**values))


def parent_that_nothing_ends(session: Session) -> None:
    session.execute(update(Job).where(Job.kind == JobKind.EXPERIMENT).values(status="running"))


def part_that_goes_on(session: Session) -> None:
    session.execute(update(Job).where(Job.kind == JobKind.TRAIN).values(status="queued"))


def event_missing(session: Session) -> None:
    session.execute(delete(JobEvent).where(JobEvent.number == 1))


def other_last_event(session: Session) -> None:
    session.execute(update(JobEvent).where(JobEvent.type == "cancelled").values(type="progress"))


@pytest.mark.parametrize(
    ("trouble", "spoils"),
    [
        ("lost", (without_a_genotype, without_an_evaluation, not_ready, file_gone)),
        ("applied_twice", (found_twice, ended_twice)),
        ("stuck", (lease_long_over, parent_that_nothing_ends)),
        ("stuck", (part_that_goes_on,)),
        ("events", (event_missing, other_last_event)),
    ],
)
@ONE_DATABASE
def test_what_must_not_be_is_found(
    used: Service,
    check: Callable[[], dict[str, int]],
    trouble: str,
    spoils: tuple[Callable[[Session], None], ...],
) -> None:
    found = 0
    for spoil in spoils:
        with used.database.session() as session:
            spoil(session)
            session.commit()
        assert check()[trouble] > found, spoil.__name__
        found = check()[trouble]


def test_a_file_of_nobody_is_found(used: Service, check: Callable[[], dict[str, int]]) -> None:
    used.artifacts.put("weights/tr_nobody.safetensors", b"x")
    assert check() == {"orphans": 1}
