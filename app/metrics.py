"""What Prometheus is told: requests and jobs of this process and its siblings, and what the store holds."""

import os
from collections.abc import Iterator

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.multiprocess import MultiProcessCollector

from app.database import Database
from app.jobs import queries, workers
from app.settings import Settings

FOLDER = "PROMETHEUS_MULTIPROC_DIR"
"""The variable that names the folder in which the processes of one `serve` share their figures."""

REQUESTS = Counter("http_requests", "Requests answered.", ["method", "handler", "status"])
REQUEST_SECONDS = Histogram(
    "http_request_duration_seconds",
    "Seconds from a request to the end of its answer.",
    ["method", "handler"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
)

JOB_SECONDS = Histogram(
    "vgae_nas_job_seconds",
    "Seconds from the last start of a job to its end, by what it ended in.",
    ["kind", "status"],
    buckets=(1, 5, 15, 60, 300, 900, 3_600, 14_400, 43_200, 86_400, 259_200),
)
LEASES_LOST = Counter("vgae_nas_leases_lost", "Running jobs whose worker was lost.", ["kind"])


class Store:
    """Collects what the store holds, at each scrape.

    Args:
        database: of the service.
        settings: which say when a worker counts as dead.
    """

    def __init__(self, database: Database, settings: Settings) -> None:
        self.database, self.settings = database, settings

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """The gauges: jobs that wait and run by kind, workers that live, and the memory of their GPUs."""
        with self.database.session(reads_only=True) as session:
            counts = queries.count_open(session)
            living = workers.living(session, self.settings)
        jobs = GaugeMetricFamily("vgae_nas_jobs", "Jobs that wait or run.", labels=["kind", "status"])
        for (kind, status), count in counts.items():
            jobs.add_metric([kind, status], count)
        yield jobs
        yield GaugeMetricFamily("vgae_nas_workers", "Workers that live.", value=len(living))
        memory = GaugeMetricFamily(
            "vgae_nas_gpu_memory_bytes", "Memory of a worker's GPU that is in use.", labels=["host", "pid"]
        )
        for worker in living:
            if worker.gpu_memory is not None:
                memory.add_metric([worker.host, str(worker.pid)], worker.gpu_memory)
        yield memory


def exposition(store: Store) -> bytes:
    """All figures in Prometheus's text format."""
    together: CollectorRegistry = REGISTRY
    if FOLDER in os.environ:
        together = CollectorRegistry()
        MultiProcessCollector(together)  # type: ignore[no-untyped-call]
    asked = CollectorRegistry()
    asked.register(store)
    return generate_latest(together) + generate_latest(asked)
