"""Writes a picture of every page of the dashboard to `docs/pictures`, after a real search and comparison."""

import tempfile
import zipfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, expect

from bench.browser import chromium
from bench.newcomer import write_images
from bench.servers import server

PICTURES = Path(__file__).parents[1] / "docs" / "pictures"

PATIENCE = 3_600_000
"""Milliseconds; machines differ."""

SEARCH = {"channels": 8, "cells": 3, "epochs": 6, "warmup_epochs": 1, "batch_size": 32, "train_images": 128}

EPOCHS = "8"
"""Of the comparison's trainings."""

SPACE = "lat_00000000000000000000000001"

COLOURS = 128
"""Of a picture; that halves its file."""


def take(page: Page, name: str, whole: bool = False) -> None:
    """Writes what a page shows."""
    page.wait_for_timeout(1_500)
    path = PICTURES / f"dashboard-{name}.png"
    page.screenshot(path=path, full_page=whole)
    with Image.open(path) as picture:
        few = picture.convert("RGB").quantize(COLOURS)
    few.save(path, optimize=True)


def three_steps(page: Page, url: str, archive: Path) -> None:
    """From an archive to a comparison."""
    page.goto(url)
    take(page, "start")
    page.set_input_files("#archive", archive)
    expect(page.locator(".thumbs img")).to_have_count(16)
    expect(page.locator("#neighbors tbody tr").first).to_be_visible()
    page.locator("#most").fill("5.7")
    page.get_by_role("button", name="Propose five").click()
    expect(page.locator("#cards .card")).to_have_count(5)
    page.wait_for_function(
        "() => [...document.querySelectorAll('#cards img')].every((i) => i.naturalWidth > 0)"
    )
    take(page, "proposal", whole=True)
    page.get_by_role("button", name="Try it with digits").click()
    expect(page.locator("#data")).to_contain_text("10 classes")
    page.get_by_role("button", name="Propose five").click()
    expect(page.locator("#cards .card")).to_have_count(5)
    page.fill("#epochs", EPOCHS)
    page.select_option("#reference", "random")
    page.get_by_role("button", name="Compare").click()
    expect(page.get_by_role("button", name="Download best model")).to_be_visible()
    page.locator("#h-compare").evaluate("(heading) => heading.scrollIntoView()")
    take(page, "comparison")


def on_the_map(page: Page, url: str) -> None:
    """New architectures near one that is known."""
    page.goto(f"{url}/spaces/{SPACE}")
    page.wait_for_selector("#map-page[data-drawn]")
    page.fill("#find", "DARTS-V2")
    expect(page.locator("#point h2")).to_have_text("DARTS-V2")
    page.fill("#count", "20")
    page.get_by_role("button", name="Generate here").click()
    expect(page.locator("#new li")).to_have_count(20)
    page.select_option("#colour", "parameters")
    page.evaluate("scrollTo(0, 0)")
    take(page, "map")


def others(page: Page, url: str) -> None:
    """Every other page, after a search was watched to its end."""
    answer = page.request.post(
        f"{url}/v1/searches", data={"dataset": "digits", "recipe": "quick", "overrides": SEARCH}
    )
    job = answer.json()["items"][0]["id"]
    page.goto(f"{url}/jobs/{job}")
    expect(page.locator("#status")).to_have_text("succeeded")
    take(page, "job")
    page.goto(f"{url}/jobs")
    take(page, "jobs")
    page.goto(f"{url}/genotypes?origin=published")
    page.wait_for_load_state("networkidle")
    take(page, "cells")
    page.goto(f"{url}/genotypes/DARTS-V1?beside=DARTS-V2")
    take(page, "two-cells")
    page.goto(f"{url}/results")
    take(page, "results")
    page.goto(f"{url}/datasets/cifar10")
    take(page, "leaderboard")
    page.goto(f"{url}/results")
    page.locator('a[href^="/experiments/"]').first.click()
    expect(page.locator("#each tbody tr").first).to_be_visible()
    take(page, "experiment")
    page.locator('#each a[href^="/evaluations/"]').first.click()
    page.wait_for_load_state("networkidle")
    take(page, "evaluation")
    page.emulate_media(color_scheme="dark")
    page.set_viewport_size({"width": 390, "height": 800})
    page.goto(url)
    take(page, "narrow-and-dark")


def main() -> None:
    """Starts a service of its own and looks at all of it."""
    expect.set_options(timeout=PATIENCE)
    with tempfile.TemporaryDirectory() as folder, server(2) as client, chromium() as browser:
        images, archive = Path(folder) / "photos", Path(folder) / "photos.zip"
        write_images(images)
        with zipfile.ZipFile(archive, "w") as packed:
            for image in sorted(images.rglob("*.jpg"))[::5]:
                packed.write(image, image.relative_to(images))
        client.post("/v1/genotypes/published").raise_for_status()
        client.post("/v1/datasets", json={"name": "digits"}).raise_for_status()
        page = browser.new_page(viewport={"width": 1280, "height": 860})
        page.set_default_timeout(PATIENCE)
        url = str(client.base_url).rstrip("/")
        three_steps(page, url, archive)
        on_the_map(page, url)
        others(page, url)


if __name__ == "__main__":
    main()
