"""Jobs as they go on, in a browser."""

import httpx
from playwright.sync_api import Page, expect

from tests.serving import Served

TINY = {"channels": 8, "cells": 2, "warmup_epochs": 1, "batch_size": 32, "train_images": 128}


def started(site: Served, epochs: int) -> str:
    """The id of a new search."""
    httpx.post(f"{site.url}/v1/datasets", json={"name": "digits"}, timeout=60).raise_for_status()
    body = {"dataset": "digits", "recipe": "quick", "overrides": {**TINY, "epochs": epochs}}
    answer = httpx.post(f"{site.url}/v1/searches", json=body, timeout=60)
    return str(answer.raise_for_status().json()["items"][0]["id"])


def test_a_search_is_watched_to_its_end(page: Page, site: Served) -> None:
    job = started(site, epochs=3)
    page.goto(f"{site.url}/jobs/{job}")
    expect(page.locator("#status")).to_have_text("succeeded")
    expect(page.locator("#curves .js-plotly-plot, #curves.js-plotly-plot")).to_be_visible()
    expect(page.locator("#cells img")).to_be_visible()
    expect(page.locator("#events tbody")).to_contain_text("epoch 3")
    expect(page.locator("#worker")).to_contain_text("process")
    page.get_by_role("link", name="genotype").click()
    expect(page.get_by_role("img", name="Normal and reduction cell")).to_be_visible()


def test_a_job_is_cancelled_from_the_list_and_tried_again(page: Page, site: Served) -> None:
    job = started(site, epochs=50)
    page.goto(f"{site.url}/jobs")
    row = page.locator(f'tr[data-job="{job}"]')
    row.get_by_role("button", name="Cancel").click()
    expect(row.locator(".status")).to_have_text("cancelled")
    page.goto(f"{site.url}/jobs/{job}")
    page.get_by_role("button", name="Retry").click()
    page.get_by_role("button", name="Cancel").click()
    expect(page.locator("#status")).to_have_text("cancelled")
