"""How fast a new data set is placed among the known ones, and whether the places are right.

    VGAE_NAS_DATA_ROOT=data python -m bench.neighbors --archive cifar10.zip

Starts a server of its own, registers MNIST, USPS, the digits and an archive, and then uploads a new data
set: 10,000 training and 2,000 test images of the archive, drawn by a seed.
"""

import argparse
import io
import json
import random
import time
import zipfile

import httpx
import torch

from bench.servers import server

TRAIN, TEST, SEED = 10_000, 2_000, 0
KNOWN = ("mnist", "usps", "digits")


def drawn(path: str) -> io.BytesIO:
    """An archive of some images of another."""
    out = io.BytesIO()
    with zipfile.ZipFile(path) as whole, zipfile.ZipFile(out, "w") as part:
        names = [name for name in whole.namelist() if name.endswith((".jpg", ".jpeg", ".png"))]
        for split, count in (("train/", TRAIN), ("test/", TEST)):
            of_split = [name for name in names if f"/{name}".find(f"/{split}") >= 0]
            for name in random.Random(SEED).sample(of_split, count):
                part.writestr(name, whole.read(name))
    out.seek(0)
    return out


def add(client: httpx.Client, name: str, archive: object = None) -> str:
    """A data set's id."""
    if archive is None:
        answer = client.post("/v1/datasets", json={"name": name})
    else:
        answer = client.post("/v1/datasets", data={"name": name}, files={"archive": archive})  # type: ignore[dict-item]
    dataset_id: str = answer.raise_for_status().json()["id"]
    return dataset_id


def main() -> None:
    """Prints how long placing took, and the distances."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--archive", required=True, help="CIFAR-10 as a zip")
    arguments = parser.parse_args()
    new = drawn(arguments.archive)
    with server() as client:
        ids = {name: add(client, name) for name in KNOWN}
        with open(arguments.archive, "rb") as archive:
            ids["cifar10"] = add(client, "cifar10", archive)
        began = time.perf_counter()
        new_id = add(client, "new", new)
        uploaded = time.perf_counter()
        nearest_first = client.get(f"/v1/datasets/{new_id}/neighbors").raise_for_status().json()["items"]
        placed = time.perf_counter()
        client.get(f"/v1/datasets/{new_id}/neighbors").raise_for_status()
        again = time.perf_counter()
        from_usps = client.get(f"/v1/datasets/{ids['usps']}/neighbors").raise_for_status().json()["items"]
    figures = {
        "images": TRAIN,
        "known": len(ids),
        "upload_s": round(uploaded - began, 2),
        "place_s": round(placed - uploaded, 2),
        "place_again_ms": round(1000 * (again - placed), 1),
        "new": {row["name"]: round(row["distance"], 2) for row in nearest_first},
        "usps": {row["name"]: round(row["distance"], 2) for row in from_usps},
        "device": "cpu",
        "threads": torch.get_num_threads(),
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
