"""How long an archive takes from its upload to a data set, and how much memory the server takes for it.

Uploads it to a server of its own. `equal_pixels` tells whether reading the same images into memory and
streaming them from files gives the same pixels, to the bit.
"""

import argparse
import json
import os
import threading
import time
import zipfile
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil
import torch

from bench.servers import server
from models.datasets.sources import load_folder

COMPARED = 2_000
"""Images of the archive that are read both ways."""


def upload(archive: Path) -> tuple[float, float]:
    """Seconds of the request, and the largest memory of the server in MB meanwhile."""
    with server(0) as client:
        (process,) = [p for p in psutil.Process().children() if "serve" in " ".join(p.cmdline())]
        peak, over = 0, threading.Event()

        def watch() -> None:
            nonlocal peak
            while not over.wait(0.05):
                peak = max(peak, process.memory_info().rss)

        client.get("/readyz").raise_for_status()
        watcher = threading.Thread(target=watch)
        watcher.start()
        began = time.perf_counter()
        with archive.open("rb") as file:
            answer = client.post("/v1/datasets", files={"archive": file}, data={"name": archive.stem})
        seconds = time.perf_counter() - began
        over.set()
        watcher.join()
        print(answer.raise_for_status().json()["account"]["warnings"], flush=True)
        return seconds, peak / 1e6


def equal_pixels(archive: Path) -> bool:
    """Whether images in memory and images from files are the same."""
    with TemporaryDirectory() as name, zipfile.ZipFile(archive) as opened:
        names = [entry for entry in opened.namelist() if not entry.endswith("/")]
        opened.extractall(name, names[:: max(1, len(names) // COMPARED)])
        resident, streamed = load_folder(Path(name)), load_folder(Path(name), resident_bytes=1)
        return all(
            torch.equal(ours, theirs)
            for split in ("train", "test")
            for (ours, _), (theirs, _) in zip(
                getattr(resident, split).batches(256, None),
                getattr(streamed, split).batches(256, None),
                strict=True,
            )
        )


def main() -> None:
    """Prints all figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    data_root = os.environ.get("VGAE_NAS_DATA_ROOT", Path(__file__).parents[2] / "shared" / "data")
    parser.add_argument("--archive", type=Path, default=Path(data_root) / "cifar10.zip")
    arguments = parser.parse_args()
    seconds, peak = upload(arguments.archive)
    figures = {
        f"{arguments.archive.stem}_zip_s": round(seconds, 1),
        "peak_mb": round(peak),
        "equal_pixels": int(equal_pixels(arguments.archive)),
        "cores": os.cpu_count(),
        "database": "sqlite",
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
