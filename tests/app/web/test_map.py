"""The map of a latent space, in a browser."""

import re

from playwright.sync_api import Page, expect

from tests.serving import Served

READY = "/spaces/lat_00000000000000000000000001"


def drawn(page: Page) -> int:
    """The points on the map, once it is drawn."""
    page.wait_for_selector("#map-page[data-drawn]")
    return int(page.get_attribute("#map-page", "data-drawn") or 0)


def test_new_architectures_appear_near_the_chosen_point(page: Page, site: Served) -> None:
    page.goto(f"{site.url}{READY}")
    before = drawn(page)
    page.fill("#find", "DARTS-V2")
    expect(page.locator("#point h2")).to_have_text("DARTS-V2")
    page.locator("#gamma").fill("0.05")
    page.fill("#count", "3")
    page.get_by_role("button", name="Generate here").click()
    expect(page.locator("#new li")).to_have_count(3)
    expect(page.locator("#map-page")).to_have_attribute("data-drawn", str(before + 3))
    lines = "document.getElementById('map').data[0].x.filter((x) => x !== null).length"
    assert page.evaluate(lines) >= 6  # from the start to each
    page.reload()
    expect(page.locator("#point h2")).to_have_text("DARTS-V2")  # the address says what was chosen


def test_a_point_is_found_by_the_mouse_and_shows_its_cells(page: Page, site: Served) -> None:
    page.goto(f"{site.url}{READY}")
    drawn(page)
    axes = page.evaluate(
        """() => { const map = document.getElementById("map"), box = map.getBoundingClientRect();
        const best = map.data[1], { x, y } = { x: best.x[0], y: best.y[0] };
        const [[a, b], [c, d]] = [map.layout.xaxis.range, map.layout.yaxis.range];
        const left = 56, top = 12, width = box.width - 68, height = box.height - 60;
        return [box.left + left + ((x - a) / (b - a)) * width,
          box.top + top + (1 - (y - c) / (d - c)) * height]; }"""
    )
    page.mouse.move(*axes)
    expect(page.locator(".hover img")).to_be_visible()
    page.mouse.click(*axes)
    expect(page.locator("#point h2")).to_be_visible()
    page.select_option("#colour", "accuracy")
    expect(page.locator("#legend")).to_contain_text("accuracy on cifar10 (%)")
    page.select_option("#colour", "origin")
    expect(page.locator("#legend")).to_contain_text("published")
    expect(page).to_have_url(re.compile("colour=origin"))


def test_a_walk_goes_from_one_best_point_to_another(page: Page, site: Served) -> None:
    page.goto(f"{site.url}{READY}")
    before = drawn(page)
    page.fill("#steps", "4")
    page.get_by_role("button", name="Walk").click()
    expect(page.locator("#new li")).to_have_count(4)
    expect(page.locator("#map-page")).to_have_attribute("data-drawn", str(before + 4))
    page.select_option("#method", "tsne")
    expect(page.locator("#map-note")).to_contain_text("tsne needs at least 30")
