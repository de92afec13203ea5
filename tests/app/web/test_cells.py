"""Cells and results, in a browser."""

import csv
from pathlib import Path

import httpx
from playwright.sync_api import Page, expect

from tests.serving import Served


def test_two_architectures_stand_side_by_side_with_what_differs_marked(page: Page, site: Served) -> None:
    page.goto(f"{site.url}/genotypes?origin=published")
    page.get_by_role("link", name="DARTS-V1", exact=False).first.click()
    page.fill("input[name=beside]", "DARTS-V2")
    page.get_by_role("button", name="Compare").click()
    pictures = page.locator("figure img.cells")
    expect(pictures).to_have_count(2)
    page.wait_for_function(
        "() => [...document.querySelectorAll('figure img')].every((i) => i.naturalWidth > 0)"
    )
    for number in range(2):
        source = pictures.nth(number).get_attribute("src")
        assert 'class="changed"' in httpx.get(f"{site.url}{source}").text
    page.get_by_role("link", name="Alone").click()
    expect(pictures).to_have_count(1)


def test_a_leaderboard_has_its_front_and_leaves_as_csv(page: Page, site: Served) -> None:
    page.goto(f"{site.url}/results")
    page.get_by_role("link", name="cifar10").click()
    expect(page.locator("#front .main-svg").first).to_be_visible()
    rows = page.locator("#leaderboard tbody tr")
    count = rows.count()
    assert count > 5
    with page.expect_download() as told:
        page.get_by_role("button", name="CSV").click()
    lines = list(csv.DictReader(Path(told.value.path()).read_text().splitlines()))
    assert len(lines) == count
    assert float(lines[0]["Accuracy (%)"]) >= float(lines[-1]["Accuracy (%)"])
    assert int(lines[0]["Parameters"]) > 100_000
    page.select_option("select[name=sort]", "parameters")
    page.get_by_role("button", name="Show").click()
    sizes = [int(row.get_attribute("data-parameters") or 0) for row in rows.all()]
    assert sizes == sorted(sizes)
    rows.first.locator("td.n a").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("on cifar10")


def test_chance_that_is_far_below_is_told_in_words_and_leaves_the_scale_to_the_arms(
    page: Page, site: Served
) -> None:
    httpx.post(f"{site.url}/v1/datasets", json={"name": "digits"}, timeout=60).raise_for_status()
    brief = {"epochs": 6, "channels": 4, "cells": 2}
    arm = {"kind": "genotypes", "genotypes": ["DARTS-V2"]}
    asked = {"datasets": ["digits"], "recipe": "quick", "overrides": brief, "arms": [arm]}
    job = httpx.post(f"{site.url}/v1/experiments", json=asked, timeout=60).raise_for_status().json()
    page.goto(f"{site.url}/experiments/{job['links']['experiment'].rsplit('/', 1)[1]}")
    chart = page.locator(".js-plotly-plot")
    expect(chart).to_contain_text("chance 10.0 %, far below")
    assert chart.locator(".shapelayer path").count() == 0
    low, _ = chart.evaluate("plot => plot.layout.yaxis.range")
    assert low > 10
