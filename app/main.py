"""The application: routers, middleware, error handlers, docs."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version

from fastapi import FastAPI, Response
from fastapi.responses import PlainTextResponse
from fastapi_offline import FastAPIOffline
from prometheus_client import CONTENT_TYPE_LATEST
from pydantic import BaseModel, Field

from app import openapi, owners, problems
from app import tables as tables  # so that the metadata knows every table
from app.artifacts import Artifacts
from app.campaigns.endpoints import router as campaigns
from app.database import Database, SchemaError
from app.datasets.endpoints import router as datasets
from app.dependencies import DatabaseIn, SettingsIn
from app.devices.endpoints import router as devices
from app.evaluations.endpoints import router as evaluations
from app.experiments.endpoints import router as experiments
from app.exports.endpoints import router as exports
from app.generation.endpoints import router as generation
from app.genotypes.endpoints import router as genotypes
from app.idempotency import IdempotencyMiddleware
from app.jobs import queries, queue, workers
from app.jobs.endpoints import router as jobs
from app.jobs.following import Following
from app.jobs.queue import Sender
from app.jobs.tables import JobKind, JobStatus
from app.keys import service as keys
from app.keys.endpoints import router as keys_router
from app.keys.guard import Guard, KeyMiddleware
from app.latent_spaces.endpoints import router as latent_spaces
from app.limits import BodyLimitMiddleware
from app.metrics import Store, exposition
from app.problems import Unavailable
from app.proposals.endpoints import router as proposals
from app.recipes.endpoints import router as recipes
from app.requests import HostMiddleware, RequestMiddleware
from app.searches.endpoints import router as searches
from app.settings import Settings, get_settings
from app.tracking.mirror import Mirror
from app.trainings.endpoints import router as trainings
from app.web import genotypes as genotype_pages
from app.web import home, results, signing, spaces, static_files
from app.web import jobs as job_pages
from app.web.live import Live
from app.web.middleware import ProblemPages
from app.webhooks.endpoints import router as webhooks
from app.webhooks.sending import Sending

ROUTERS = (
    jobs,  # asked for most often, and the first that fits is taken
    datasets,
    genotypes,
    evaluations,
    exports,
    searches,
    latent_spaces,
    generation,
    proposals,
    trainings,
    experiments,
    campaigns,
    devices,
    recipes,
    webhooks,
    keys_router,
)

PAGES = (home, spaces, genotype_pages, job_pages, results, signing, static_files)

DESCRIPTION = """Neural architectures for a new data set at zero search hours.

Register or search genotypes, train a latent space on them, generate new architectures near the best
point of a similar data set, and retrain them. Long work is a job: a 202 names it in `Location`, and
`GET /v1/jobs/{id}` tells how far it is. Any POST may carry an `Idempotency-Key` and is then safe to
repeat. Errors are problem details (RFC 9457)."""


class Health(BaseModel):
    """The answer of the probe of life."""

    status: str


class Readiness(Health):
    """The answer of the probe of readiness: whether requests are answered, and whether jobs are run."""

    workers: int = Field(description="Workers that live.")
    queued_jobs: int
    warnings: list[str] = Field(description="What keeps jobs from being run.")


def create_app(settings: Settings | None = None) -> FastAPI:
    """The application.

    Args:
        settings: by default those of the environment.

    Raises:
        SchemaError: when it starts on a database whose schema is not at head.
    """
    settings = settings or get_settings()
    sender = Sender(settings.broker_url)
    database = Database(settings.database_url, settings.answer_seconds)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        database.require_head()
        keys.require_guard(database, settings)
        threads: list[Sending | Mirror] = [Sending(database, settings)]
        if settings.mlflow_url:
            threads.append(Mirror(database, settings, app.state.artifacts))
        for thread in threads:
            thread.start()
        yield
        for thread in threads:
            thread.stop()
        sender.close()
        database.close()

    app = FastAPIOffline(
        title="VGAE-NAS",
        version=version("vgae-nas"),
        description=DESCRIPTION,
        lifespan=lifespan,
        responses=problems.RESPONSES,
        openapi_tags=openapi.TAGS,
        generate_unique_id_function=lambda route: route.name,
    )
    app.state.settings, app.state.database = settings, database
    app.state.sender, app.state.following = sender, Following(database)
    app.state.live = Live(database)
    app.state.artifacts = Artifacts(settings.artifacts_url)
    problems.install(app)
    for router in ROUTERS:
        app.include_router(router)
    for pages in PAGES:
        app.include_router(pages.router)
    app.mount("/static", static_files.Files(directory=static_files.FOLDER))
    _add_probes(app)
    openapi.install(app)
    app.add_middleware(IdempotencyMiddleware, database=database)
    app.add_middleware(
        BodyLimitMiddleware,
        max_body_bytes=settings.max_body_bytes,
        max_upload_bytes=settings.max_upload_bytes,
    )
    app.add_middleware(KeyMiddleware, guard=Guard(database, settings))
    app.add_middleware(HostMiddleware, allowed=settings.allowed_hosts)
    app.add_middleware(ProblemPages)
    app.add_middleware(RequestMiddleware)
    return app


def _add_probes(app: FastAPI) -> None:
    @app.get("/metrics", tags=["probes"], response_class=PlainTextResponse)
    def metrics(database: DatabaseIn, settings: SettingsIn) -> Response:
        """Figures for Prometheus."""
        with owners.acting(None):  # figures are of everyone
            return Response(exposition(Store(database, settings)), media_type=CONTENT_TYPE_LATEST)

    @app.get("/healthz", tags=["probes"])
    async def healthz() -> Health:
        """Tells that the process answers; waits for no thread and no connection."""
        return Health(status="ok")

    @app.get("/readyz", tags=["probes"])
    def readyz(database: DatabaseIn, settings: SettingsIn) -> Readiness:
        """Whether the database answers and has the right schema, and whether workers live.

        A queue without a worker is a warning, not an error: requests are answered all the same.
        """
        try:
            database.require_head()
        except SchemaError as error:
            raise Unavailable(str(error)) from None
        with database.session(reads_only=True) as session:
            living = workers.living(session, settings)
            counts = queries.count_open(session)
        queued = {kind: counts[kind, JobStatus.QUEUED] for kind in JobKind}
        taken = {kind for worker in living for kind in worker.kinds}
        warnings = [
            f"{count} jobs of the kind {kind.value!r} wait and no worker that lives takes it; "
            f"start one by `vgae-nas worker`"
            for kind, count in queued.items()
            if count and kind not in taken
        ]
        if not queue.answers(settings.broker_url):
            warnings.append("the broker does not answer; jobs wait in the database, and start when it does")
        waiting = sum(queued.values())
        return Readiness(status="ok", workers=len(living), queued_jobs=waiting, warnings=warnings)
