"""What hostile uploads do to the API: what they are answered, what they leave, and what memory they take.

A server of the bench's own is sent every upload of `bench.corpus`. What it takes for a data set is removed
again; then no file may be left, neither in the store nor among temporary ones.
"""

import argparse
import json
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import psutil

from bench.corpus import Upload, corpus, picture, tarred, zipped
from bench.servers import machine, server

WARM_UP = 20
"""Good uploads before memory is looked at."""

READ_SECONDS = 120


def send(client: httpx.Client, upload: Upload, number: int) -> httpx.Response:
    """Sends one upload under a name of its own."""
    if upload.body is not None:
        headers = {"Content-Type": upload.content_type}
        return client.post("/v1/datasets", content=upload.body, headers=headers)
    fields = {"name": f"hostile-{number}", **upload.fields}
    parts = {"archive": ("archive.zip", upload.archive, "application/zip")}
    return client.post("/v1/datasets", data=fields, files=parts)


def forget(client: httpx.Client, answer: httpx.Response) -> None:
    """Removes the data set that an upload has become."""
    dataset_id = quote(answer.json()["id"])
    client.delete(f"/v1/datasets/{dataset_id}").raise_for_status()


def files(*folders: Path) -> set[str]:
    """The paths of all files below folders."""
    return {str(path) for folder in folders for path in folder.rglob("*") if path.is_file()}


def measure(seed: int) -> dict[str, Any]:
    """The figures of all uploads."""
    statuses: Counter[int] = Counter()
    faults: list[str] = []
    with tempfile.TemporaryDirectory() as home:
        temporary, artifacts = Path(home) / "tmp", Path(home) / "artifacts"
        temporary.mkdir()
        settings = {
            "TMPDIR": str(temporary),
            "VGAE_NAS_ARTIFACTS_URL": str(artifacts),
            "VGAE_NAS_READ_SECONDS": str(READ_SECONDS),
        }
        with server(0, environment=settings) as client:
            (api,) = [p for p in psutil.Process().children() if "serve" in " ".join(p.cmdline())]
            tree = {f"{name}/{i}.png": picture(value=i) for name in ("cats", "dogs") for i in range(9)}
            for number in range(WARM_UP):
                good = Upload("good", (zipped, tarred)[number % 2](tree))
                answer = send(client, good, -number)
                if answer.status_code != 201:
                    raise SystemExit(f"a good upload was answered {answer.status_code}: {answer.text}")
                forget(client, answer)
            before, memory, largest = files(temporary, artifacts), api.memory_info().rss, 0
            for number, upload in enumerate(corpus(seed)):
                answer = send(client, upload, number)
                statuses[answer.status_code] += 1
                told = "problem" in answer.headers["content-type"]
                if answer.status_code >= 500 or answer.is_error != told:
                    faults.append(f"{upload.name}: {answer.status_code} {answer.text[:200]}")
                if answer.status_code == 201:
                    forget(client, answer)
                largest = max(largest, api.memory_info().rss)
            left = files(temporary, artifacts) - before
            grown = api.memory_info().rss - memory
    for line in [*faults, *(f"left: {path}" for path in sorted(left))]:
        print(line, file=sys.stderr)
    return {
        "seed": seed,
        "uploads": statuses.total(),
        "server_errors": sum(count for status, count in statuses.items() if status >= 500),
        "unclear_errors": len(faults),
        "files_left": len(left),
        "memory_grown_mb": round(grown / 1e6, 1),
        "memory_grown_most_mb": round((largest - memory) / 1e6, 1),
        "by_status": {str(status): count for status, count in sorted(statuses.items())},
    }


def main() -> None:
    """Prints the figures; fails if an upload did what it must not."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=0)
    began = time.monotonic()
    figures = measure(parser.parse_args().seed)
    figures["seconds"] = round(time.monotonic() - began)
    print(json.dumps({**machine(), "command": "make hostile", **figures}))
    bad = figures["server_errors"] or figures["unclear_errors"] or figures["files_left"]
    sys.exit(bool(bad) or figures["memory_grown_mb"] >= 100)


if __name__ == "__main__":
    main()
