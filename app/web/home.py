"""`/`: from images to architectures that are compared, in three steps."""

from fastapi import APIRouter, Request
from fastapi.responses import Response
from sqlalchemy import select

from app import overrides
from app.datasets import service as dataset_service
from app.datasets.tables import Dataset, Source
from app.dependencies import Reading, SettingsIn
from app.evaluations.tables import COMPARABLE
from app.genotypes import ranking
from app.jobs import workers
from app.latent_spaces import opened
from app.latent_spaces.tables import LatentSpace
from app.routes import Route
from app.web.pages import page
from models.genotypes.search_space import DEFAULT_SPACE
from models.trainings.reference import REFERENCES

router = APIRouter(route_class=Route, include_in_schema=False)

SHOWN = 50
"""Data sets to choose from, the newest."""


@router.get("/")
def show_home(
    request: Request,
    session: Reading,
    settings: SettingsIn,
    dataset: str = "",
    proposal: str = "",
    experiment: str = "",
) -> Response:
    """The three steps, and what is known before the first; the parameters are how far the page is."""
    with_images = select(Dataset).where(Dataset.source != Source.FACTS)
    datasets = session.scalars(with_images.order_by(Dataset.id.desc()).limit(SHOWN)).all()
    ready = session.scalars(
        select(LatentSpace).where(LatentSpace.job_id.is_(None), LatentSpace.search_space == DEFAULT_SPACE)
    ).first()
    names = dataset_service.names(session)
    points = [
        (names[dataset_id], genotype, evaluation)
        for dataset_id, (genotype, evaluation) in ranking.best_points(session, DEFAULT_SPACE).items()
        if evaluation.kind in COMPARABLE
    ]
    return page(
        request,
        "home.html",
        datasets=datasets,
        ready=ready,
        known=0 if ready is None else opened.member_count(session, ready),
        points=sorted(points, key=lambda point: point[0]),
        references=REFERENCES,
        recipe=overrides.default(workers.has_gpu(session, settings)),
    )
