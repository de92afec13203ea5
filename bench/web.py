"""The dashboard in a browser, with 10,000 architectures: first view, the map, panning, and axe's findings.

Times are medians over fresh visitors, in a Chromium without a screen that draws WebGL by software.
"""

import json
import statistics
import sys
from typing import Any

import httpx
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page

from bench.browser import chromium
from bench.servers import machine, server

ARCHITECTURES, VISITS = 10_000, 5
"""Architectures in the store, all on the map; and visitors that each time is the median of."""

MOVES = 120
"""Steps of the mouse while it pans."""

PATIENCE = 600_000
"""Milliseconds; machines differ."""

SPACE = "lat_00000000000000000000000001"

PAGES = ("/", "/spaces", f"/spaces/{SPACE}", "/genotypes", "/jobs", "/results", "/datasets/cifar10", "/login")

FRAMES = """() => { window.frames_ms = []; let last = performance.now();
const next = (now) => { window.frames_ms.push(now - last); last = now; requestAnimationFrame(next); };
requestAnimationFrame(next); }"""


def visitor(browser: Browser) -> Page:
    """A page of someone who was never here."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    context.set_default_timeout(PATIENCE)
    return context.new_page()


def first_view(browser: Browser, url: str) -> tuple[float, int]:
    """Milliseconds until a page shows what it is about, and the bytes that it took beside Plotly."""
    page, sizes = visitor(browser), []
    page.on("requestfinished", lambda request: sizes.append((request.url, request.sizes())))
    page.goto(url)
    page.wait_for_function("() => performance.getEntriesByName('first-contentful-paint').length")
    painted = page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime")
    page.wait_for_load_state("networkidle")
    page.context.close()
    taken = [
        size["responseBodySize"]
        for address, size in sizes
        if "plotly" not in address and "/v1/" not in address
    ]
    return painted, sum(taken)


def map_view(browser: Browser, url: str) -> tuple[float, list[float]]:
    """Milliseconds until all points are drawn, and those of each frame while the map is panned."""
    page = visitor(browser)
    page.goto(f"{url}/spaces/{SPACE}")
    page.wait_for_selector("#map-page[data-drawn]")
    drawn = page.evaluate("performance.now()")
    assert int(page.get_attribute("#map-page", "data-drawn") or 0) == ARCHITECTURES
    box = page.locator("#map").bounding_box()
    assert box is not None
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.evaluate(FRAMES)
    for step in range(MOVES):
        page.mouse.move(x + step, y + step / 2)
    frames: list[float] = page.evaluate("window.frames_ms")
    page.mouse.up()
    page.context.close()
    return drawn, frames


def findings(browser: Browser, url: str) -> list[str]:
    """What axe-core calls serious or critical, on every page."""
    page, found = visitor(browser), []
    for path in PAGES:
        page.goto(f"{url}{path}")
        page.wait_for_timeout(1_000)
        for violation in Axe().run(page).response["violations"]:
            if violation["impact"] in ("serious", "critical"):
                found.append(f"{path}: {violation['id']}")
    page.context.close()
    return found


def run() -> dict[str, Any]:
    """All figures, on a service of the bench's own."""
    with server(0) as client, chromium() as browser:
        client.post("/v1/genotypes/published").raise_for_status()
        known = len(client.get("/v1/genotypes").json()["items"])
        body = {"random": "uniform", "count": ARCHITECTURES - known, "seed": 0}
        client.post(f"/v1/latent-spaces/{SPACE}/generate", json=body).raise_for_status()
        url = str(client.base_url).rstrip("/")
        views = {name: [first_view(browser, f"{url}{name}") for _ in range(VISITS)] for name in PAGES[:2]}
        views["/genotypes"] = [first_view(browser, f"{url}/genotypes") for _ in range(VISITS)]
        maps = [map_view(browser, url) for _ in range(VISITS)]
        serious = findings(browser, url)
    frames = sorted(frame for _, taken in maps for frame in taken)
    return {
        "architectures": ARCHITECTURES,
        "first_view_ms": round(max(statistics.median(t for t, _ in taken) for taken in views.values())),
        "first_view_ms_by_page": {
            name: round(statistics.median(time for time, _ in taken)) for name, taken in views.items()
        },
        "page_bytes": {name: max(size for _, size in taken) for name, taken in views.items()},
        "map_10000_points_ms": round(statistics.median(drawn for drawn, _ in maps)),
        "frame_ms_p95": round(frames[int(0.95 * len(frames))], 1),
        "frame_ms_p50": round(statistics.median(frames), 1),
        "axe_serious": len(serious),
        "axe": serious,
    }


def main() -> None:
    """Prints one JSON line; fails if axe found something serious."""
    try:
        figures = run()
    except httpx.HTTPStatusError as error:
        raise SystemExit(error.response.text) from None
    print(json.dumps({**machine(), "command": "make bench-web", **figures}))
    sys.exit(bool(figures["axe_serious"]))


if __name__ == "__main__":
    main()
