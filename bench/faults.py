"""Whether anything is lost: hundreds of jobs through a hundred faults, then `vgae-nas check`.

PostgreSQL, Redis, the API and the workers are the bench's own. Faults are drawn with a seed that is printed:
workers killed at random and at each step that matters, stopped, and frozen past their lease; a broker killed,
frozen, emptied or full, messages sent twice or taken away; a database restarted, crashed or frozen; files
that cannot be written. Leases are the defaults. A job may lose its worker as often as the faults want; what
failed for want of disk is tried again, as its error says.
"""

import argparse
import json
import os
import random
import resource
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any
from uuid import uuid4

import httpx
import psutil
import redis as client_of_redis

from app.jobs import queue
from app.jobs.tables import JobKind, Message
from app.settings import Settings
from bench.servers import VGAE_NAS, Postgres, Redis, machine, postgres, redis, server
from bench.steps import STEPS

JOBS, FAULTS, WORKERS = 300, 100, 3
PATIENCE_SECONDS = 600
"""Without any change, after which what is not over is stuck."""

ORPHAN_SECONDS, ORDER_SECONDS = 30, 1.0
SEARCH = {"channels": 8, "cells": 2, "epochs": 3, "warmup_epochs": 1, "batch_size": 32, "train_images": 128}
TRAIN = {"channels": 4, "cells": 2, "epochs": 3, "batch_size": 64, "train_images": 200}
FIT = {"max_epochs": 300, "random_genotypes": 0}


class Client:
    """Asks the API as a patient client does: each POST has a key, and is repeated until it is answered."""

    def __init__(self, http: httpx.Client) -> None:
        self.http, self.unavailable = http, 0

    def ask(self, method: str, path: str, body: Any = None, **params: Any) -> Any:
        """The answer's JSON; what has none is `None`."""
        headers = {"Idempotency-Key": uuid4().hex} if method == "POST" else {}
        while True:
            with suppress(httpx.TransportError):
                answer = self.http.request(
                    method, path, json=body, params=params, headers=headers, timeout=60
                )
                if answer.status_code == 409 and headers and "Retry-After" in answer.headers:
                    pass  # the first try is still worked on
                elif answer.status_code < 500:
                    answer.raise_for_status()
                    return answer.json()
                elif answer.status_code != 503:
                    raise SystemExit(f"{method} {path} was answered {answer.status_code}: {answer.text}")
            self.unavailable += 1
            time.sleep(0.5)

    def jobs(self) -> list[Any]:
        """All jobs."""
        items, cursor = [], {}
        while True:
            page = self.ask("GET", "/v1/jobs", limit=500, **cursor)
            items += page["items"]
            if page["next_cursor"] is None:
                return items
            cursor = {"cursor": page["next_cursor"]}

    def events(self, job_id: str) -> list[Any]:
        """All events of a job."""
        events: list[Any] = self.ask("GET", f"/v1/jobs/{job_id}/events", limit=500)["items"]
        return events


class Workers:
    """Some worker processes; who died is followed by another.

    Args:
        count: how many.
        environment: of each.
        log: of all.
    """

    def __init__(self, count: int, environment: dict[str, str], log: Path) -> None:
        self.environment, self.log = environment, log
        self.processes = [self._started("worker.main") for _ in range(count)]

    def _started(self, *module: str) -> "subprocess.Popen[bytes]":
        with self.log.open("ab") as out:
            command = [sys.executable, "-m", *module]
            return subprocess.Popen(command, env=self.environment, stdout=out, stderr=out)

    def replace(self, place: int, how: signal.Signals, *module: str) -> None:
        """Ends a worker by a signal, and starts another in its place."""
        self.processes[place].send_signal(how)
        self.processes[place].wait()
        self.processes[place] = self._started(*(module or ("worker.main",)))

    def revive(self) -> None:
        """Starts another for each that died."""
        for place, process in enumerate(self.processes):
            if process.poll() is not None:
                self.processes[place] = self._started("worker.main")

    def close(self) -> None:
        """Stops all."""
        for process in self.processes:
            process.send_signal(signal.SIGCONT)
            process.terminate()
        for process in self.processes:
            process.wait()


class Faults:
    """Everything that goes wrong, each once it is called.

    Args:
        draw: of what is left to chance.
        workers, database, broker: what faults are made in.
        queued: ids and kinds of jobs that were started.
    """

    def __init__(
        self,
        draw: random.Random,
        workers: Workers,
        database: Postgres,
        broker: Redis,
        queued: list[Message],
    ) -> None:
        self.draw, self.workers, self.database, self.broker = draw, workers, database, broker
        self.queued = queued
        self.killed: list[float] = []
        self.steps = list(STEPS)
        draw.shuffle(self.steps)

    def kinds(self) -> dict[str, tuple[Callable[[], None], int]]:
        """All faults by name, with how often each is drawn compared to the others."""
        return {
            "worker killed": (self.kill_worker, 5),
            "worker killed at a step": (self.kill_at_step, 4),
            "worker stopped": (self.stop_worker, 2),
            "worker frozen past its lease": (self.freeze_worker, 1),
            "no file can be written": (self.fill_disk, 1),
            "broker killed": (self.broker.restart, 1),
            "broker frozen": (lambda: self._frozen([self.broker.process.pid], 2, 8), 1),
            "broker emptied": (lambda: self._redis().flushall() and None, 2),
            "broker full": (self.fill_broker, 1),
            "messages sent twice": (self.duplicate, 2),
            "a message taken away": (self.drop, 2),
            "database restarted": (lambda: self._restarted("fast"), 1),
            "database crashed": (lambda: self._restarted("immediate"), 1),
            "database frozen": (self.freeze_database, 1),
        }

    def kill_worker(self) -> None:
        """Kills one as `kill -9` does."""
        self.killed.append(time.time())
        self.workers.replace(self._place(), signal.SIGKILL)

    def kill_at_step(self) -> None:
        """Puts one in place of another that kills itself at the next of the steps."""
        step = self.steps.pop()
        self.steps.insert(0, step)
        times = str(self.draw.randint(1, 3))
        self.workers.replace(self._place(), signal.SIGTERM, "bench.steps", step, times)

    def stop_worker(self) -> None:
        """Stops one as an operator does."""
        self.workers.replace(self._place(), signal.SIGTERM)

    def freeze_worker(self) -> None:
        """Holds one until its lease has run out; it comes back and finds its job taken."""
        lease = Settings().lease_seconds
        self._frozen([self.workers.processes[self._place()].pid], lease + 3, lease + 6)

    def fill_disk(self) -> None:
        """Lets a worker write no file for a while."""
        process = self.workers.processes[self._place()]
        with suppress(ProcessLookupError):
            old = resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
            time.sleep(self.draw.uniform(1, 3))
            resource.prlimit(process.pid, resource.RLIMIT_FSIZE, old)

    def fill_broker(self) -> None:
        """Leaves the broker no memory for messages for a while."""
        self._redis().config_set("maxmemory", 1)
        time.sleep(self.draw.uniform(2, 6))
        self._redis().config_set("maxmemory", 0)

    def duplicate(self) -> None:
        """Sends messages of some jobs again, whatever has become of them."""
        for message in self.draw.sample(self.queued, min(5, len(self.queued))):
            queue.send(self.broker.url, message)

    def drop(self) -> None:
        """Takes a message that no worker has yet."""
        redis = self._redis()
        full = [kind for kind in JobKind if redis.llen(queue.name(kind))]
        if full:
            redis.lpop(queue.name(self.draw.choice(full)))

    def freeze_database(self) -> None:
        """Holds the database's processes, so that connections hang and are not refused."""
        server = psutil.Process(self.database.pid())
        self._frozen([server.pid, *(child.pid for child in server.children(recursive=True))], 3, 14)

    def _restarted(self, how: str) -> None:
        self.database.stop(how)
        time.sleep(self.draw.uniform(0, 5))
        self.database.start()

    def _frozen(self, pids: list[int], least: float, most: float) -> None:
        for pid in pids:
            _signal(pid, signal.SIGSTOP)
        time.sleep(self.draw.uniform(least, most))
        for pid in pids:
            _signal(pid, signal.SIGCONT)

    def _place(self) -> int:
        return self.draw.randrange(len(self.workers.processes))

    def _redis(self) -> Any:
        return client_of_redis.Redis.from_url(self.broker.url, socket_timeout=10)


def _signal(pid: int, which: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, which)


def orders(draw: random.Random, client: Client, count: int) -> Iterator[list[Any]]:
    """Starts so many jobs of every kind, in a drawn order; each step starts one."""
    digits = client.ask("POST", "/v1/datasets", {"name": "digits"})["id"]
    ids = [row["id"] for row in client.ask("POST", "/v1/genotypes/published")["items"]]

    def search(seed: int) -> list[Any]:
        body = {"dataset_id": digits, "recipe": "quick", "overrides": SEARCH, "seeds": [seed]}
        items: list[Any] = client.ask("POST", "/v1/searches", body)["items"]
        return items

    def sample(seed: int) -> list[Any]:
        body = {"dataset_id": digits, "recipe": "quick", "method": "random", "seeds": [seed]}
        items: list[Any] = client.ask("POST", "/v1/searches", body)["items"]
        return items

    def train(seed: int) -> list[Any]:
        body = {"dataset_id": digits, "recipe": "quick", "overrides": TRAIN, "seeds": [seed]}
        chosen = [ids[seed % len(ids)]]
        items: list[Any] = client.ask("POST", "/v1/trainings", body | {"genotype_ids": chosen})["items"]
        return items

    def fit(seed: int) -> list[Any]:
        body = {"genotype_ids": ids[:6], "overrides": FIT, "seed": seed}
        return [client.ask("POST", "/v1/latent-spaces", body)]

    kinds = [search] * 10 + [sample] * 5 + [train] * 8 + [fit] * 2
    for seed in range(count):
        yield draw.choice(kinds)(seed)


def settle(client: Client, workers: Workers) -> tuple[list[Any], int]:
    """The jobs once every one is over, and how often one was tried again that could not write a file."""
    before, moved, retried = None, time.monotonic(), 0
    while True:
        workers.revive()
        found = client.jobs()
        for job in found:
            if job["status"] == "failed" and "could not be" in job["error"]["detail"]:
                client.ask("POST", f"/v1/jobs/{job['id']}/retry")
                retried += 1
        state = [(job["id"], job["status"], job["progress"], job["attempt"]) for job in found]
        if all(job["status"] == "succeeded" for job in found):
            return found, retried
        if state != before:
            before, moved = state, time.monotonic()
        elif time.monotonic() - moved > PATIENCE_SECONDS:
            return found, retried
        time.sleep(2)


def recoveries(client: Client, found: list[Any], killed: list[float]) -> list[float]:
    """Seconds from each kill to the next start of the job that its worker had, if it had one."""
    taken = []
    for job in found:
        if job["attempt"] < 2:
            continue
        events = client.events(job["id"])
        for event, following in pairwise(events):
            if event["type"] != "put_back" or "lost" not in event["data"]["reason"]:
                continue
            lost, started = (datetime.fromisoformat(one["at"]).timestamp() for one in (event, following))
            near = [moment for moment in killed if moment < lost]
            if following["type"] == "started" and near and lost - near[-1] < 2 * Settings().lease_seconds:
                taken.append(started - near[-1])
    return taken


def checked(environment: dict[str, str]) -> dict[str, int]:
    """What `vgae-nas check` finds, once the workers have had time to remove files."""
    began = time.monotonic()
    while True:
        command = [VGAE_NAS, "check", "--age", "0"]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if not done.stdout:
            raise SystemExit(f"the check failed: {done.stderr}")
        counts: dict[str, int] = json.loads(done.stdout.splitlines()[-1])
        if not counts["orphans"] or time.monotonic() - began > PATIENCE_SECONDS:
            print(done.stdout, file=sys.stderr)
            return counts
        time.sleep(5)


@contextmanager
def deployment(home: Path) -> Iterator[tuple[Client, Workers, Postgres, Redis, dict[str, str]]]:
    """The whole service, in production's form."""
    with postgres() as database, redis() as broker:
        settings = {
            "VGAE_NAS_DATABASE_URL": database.url,
            "VGAE_NAS_BROKER_URL": broker.url,
            "VGAE_NAS_ARTIFACTS_URL": str(home / "artifacts"),
            "VGAE_NAS_ORPHAN_SECONDS": str(ORPHAN_SECONDS),
            "VGAE_NAS_MAX_ATTEMPTS": "1000",
        }
        environment = {**os.environ, **settings, "OMP_NUM_THREADS": "1"}
        with server(0, environment=settings) as http:
            workers = Workers(WORKERS, environment, home / "workers.log")
            try:
                yield Client(http), workers, database, broker, environment
            finally:
                workers.close()


def run(seed: int, jobs: int, count: int) -> dict[str, Any]:
    """The figures of so many jobs and faults."""
    draw, began = random.Random(seed), time.monotonic()
    with (
        tempfile.TemporaryDirectory() as home,
        deployment(Path(home)) as (client, workers, database, broker, environment),
    ):
        queued: list[Message] = []

        def order() -> None:
            for started in orders(random.Random(seed), client, jobs):
                queued.extend(Message(job["id"], JobKind(job["kind"])) for job in started)
                time.sleep(ORDER_SECONDS)

        ordering = threading.Thread(target=order)
        ordering.start()
        faults = Faults(draw, workers, database, broker, queued)
        kinds = faults.kinds()
        drawn: Counter[str] = Counter()
        while sum(drawn.values()) < count or ordering.is_alive():
            # each of them once, then by their shares
            first = [name for name in kinds if name not in drawn]
            name = first[0] if first else draw.choices(list(kinds), [share for _, share in kinds.values()])[0]
            drawn[name] += 1
            print(f"{sum(drawn.values())}: {name}", file=sys.stderr, flush=True)
            kinds[name][0]()
            time.sleep(draw.uniform(0.5, 2.5))
            workers.revive()
        ordering.join()
        found, retried = settle(client, workers)
        taken = recoveries(client, found, faults.killed)
        counts = checked(environment)
    unfinished = [job for job in found if job["status"] != "succeeded"]
    started = {message.job_id for message in queued}
    return {
        "seed": seed,
        "jobs": len(started),
        "faults": sum(drawn.values()),
        "lost": counts["lost"] + len(started - {job["id"] for job in found}),
        "applied_twice": counts["applied_twice"] + len({job["id"] for job in found} - started),
        "stuck": counts["stuck"] + len(unfinished),
        "orphans": counts["orphans"],
        "events_wrong": counts["events"],
        "recovery_p50_s": round(median(taken), 1) if taken else None,
        "recoveries": len(taken),
        "recovery_max_s": round(max(taken), 1) if taken else None,
        "tried_again": retried,
        "answers_503": client.unavailable,
        "by_fault": dict(drawn),
        "seconds": round(time.monotonic() - began),
    }


def main() -> None:
    """Prints the figures; fails if anything was lost, applied twice, stuck or left."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", type=int, default=JOBS)
    parser.add_argument("--faults", type=int, default=FAULTS)
    parser.add_argument("--seed", type=int, default=None)
    arguments = parser.parse_args()
    seed = random.SystemRandom().randrange(10**6) if arguments.seed is None else arguments.seed
    print(f"seed {seed}", file=sys.stderr)
    figures = run(seed, arguments.jobs, arguments.faults)
    print(json.dumps({**machine(), "command": "make faults", **figures}))
    troubles = ("lost", "applied_twice", "stuck", "orphans", "events_wrong")
    sys.exit(any(figures[trouble] for trouble in troubles))


if __name__ == "__main__":
    main()
