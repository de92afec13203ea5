"""Who may look, what pages of other sites may do, and that pages suit everyone."""

import re
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import httpx
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from bench.servers import VGAE_NAS, free_port
from tests.serving import Served, environment_of, serving, start

PAGES = (
    "/",
    "/spaces",
    "/spaces/lat_00000000000000000000000001",
    "/genotypes",
    "/jobs",
    "/results",
    "/login",
)

TINY = {"channels": 4, "cells": 2, "epochs": 1, "train_images": 64, "batch_size": 32}

SERIOUS = ("serious", "critical")

CUT_OFF = """() => document.documentElement.scrollWidth <= innerWidth ? [] :
[...document.querySelectorAll("body *")].filter((e) => e.getBoundingClientRect().right > innerWidth + 1)
.map((e) => e.outerHTML.slice(0, 80))"""
"""What makes a page wider than its window."""


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Served, str]]:
    """A service that asks for a key, and one that opens it."""
    with serving(tmp_path_factory.mktemp("guarded"), workers=0) as served:
        command = [VGAE_NAS, "keys", "create", "--name", "someone", "--scope", "write"]
        made = subprocess.run(command, env=environment_of(served.home), capture_output=True, check=True)
        (key,) = [word for word in made.stdout.decode().split() if word.startswith("nas_")]
        yield served, key


def test_with_keys_a_page_asks_for_one_and_goes_on(page: Page, guarded: tuple[Served, str]) -> None:
    served, key = guarded
    page.goto(f"{served.url}/genotypes?origin=published")
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    page.fill("input[name=key]", "nas_wrong")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_contain_text("opens nothing")
    page.fill("input[name=key]", key)
    page.get_by_role("button", name="Sign in").click()
    expect(page).to_have_url(f"{served.url}/genotypes?origin=published")
    assert key not in page.content()
    assert page.evaluate("document.cookie") == ""  # no script reads it
    page.goto(served.url)
    page.get_by_role("button", name="Try it with digits").click()
    expect(page.locator("#data")).to_contain_text("10 classes")
    # with the cookie alone, as another site would send it
    status = "fetch('/v1/genotypes/published', {method: 'POST'}).then((answer) => answer.status)"
    assert page.evaluate(status) == 403
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    page.goto(f"{served.url}/jobs")
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()


def test_pages_of_other_sites_change_nothing(site: Served) -> None:
    path = f"{site.url}/v1/genotypes/published"
    for headers in (
        {"Sec-Fetch-Site": "cross-site"},
        {"Origin": "http://example.org"},
        {"Origin": "null"},
        {"Origin": "http://["},
    ):
        answer = httpx.post(path, headers=headers, timeout=60)
        assert answer.status_code == 403, headers
        assert "another site" in answer.json()["detail"]
    for headers in ({}, {"Origin": site.url}, {"Sec-Fetch-Site": "same-origin"}):
        assert httpx.post(path, headers=headers, timeout=60).status_code == 201
    assert httpx.get(path.rsplit("/", 1)[0], headers={"Origin": "http://example.org"}).status_code == 200


def test_the_page_says_that_the_service_is_away_and_goes_on(page: Page, tmp_path: Path) -> None:
    home, port = tmp_path / "home", free_port()
    home.mkdir()
    served = start(home, workers=0, port=port)
    try:
        page.goto(served.url)
        expect(page.locator("#banner")).to_contain_text("No worker lives")
        served.kill()
        expect(page.locator("#banner")).to_contain_text("does not answer")
        page.get_by_role("button", name="Try it with digits").click()
        expect(page.locator("#upload-state .problem")).to_contain_text("does not answer")
        served = start(home, workers=0, port=port)
        expect(page.locator("#banner")).to_contain_text("No worker lives")
        page.get_by_role("button", name="Try it with digits").click()
        expect(page.locator("#data")).to_contain_text("10 classes")
        (path,) = home.glob("*.db")
        with closing(sqlite3.connect(path)) as database:
            (head,) = database.execute("SELECT version_num FROM alembic_version").fetchone()
            for version, said in (("0001", "cannot work"), (head, "No worker lives")):
                database.execute("UPDATE alembic_version SET version_num = ?", (version,))
                database.commit()
                expect(page.locator("#banner")).to_contain_text(said)
    finally:
        served.kill()


def test_nothing_serious_is_in_anyones_way_and_nothing_is_cut_off(page: Page, site: Served) -> None:
    httpx.post(f"{site.url}/v1/datasets", json={"name": "digits"}, timeout=60).raise_for_status()
    dataset, genotype = (
        httpx.get(f"{site.url}/v1/{kind}").json()["items"][0]["id"] for kind in ("datasets", "genotypes")
    )
    cifar = httpx.get(f"{site.url}/v1/datasets/cifar10").json()["id"]
    (evaluation,) = httpx.get(f"{site.url}/v1/datasets/{cifar}/leaderboard?limit=1").json()["items"]
    proposal = httpx.post(f"{site.url}/v1/proposals", json={"dataset": "digits", "count": 2}, timeout=300)
    body = {"dataset": "digits", "recipe": "quick", "overrides": TINY, "genotypes": ["DARTS-V1"]}
    arm = {"kind": "genotypes", "genotypes": ["DARTS-V1", "DARTS-V2"]}
    asked = {"datasets": ["digits"], "recipe": "quick", "overrides": TINY, "arms": [arm]}
    training = httpx.post(f"{site.url}/v1/trainings", json=body, timeout=60).json()["items"][0]["id"]
    experiment = httpx.post(f"{site.url}/v1/experiments", json=asked, timeout=60).json()
    budget = {"dataset": "digits", "recipe": "quick", "overrides": TINY, "budget": {"trainings": 1}}
    campaign = httpx.post(f"{site.url}/v1/campaigns", json=budget, timeout=60).json()
    while httpx.get(f"{site.url}/v1/jobs/{training}?wait=30", timeout=60).json()["finished_at"] is None:
        pass
    listed = httpx.get(f"{site.url}/v1/trainings?genotype=DARTS-V1&expand=evaluation").json()["items"]
    trained = listed[-1]
    more = (
        f"/jobs/{training}",
        f"/experiments/{experiment['links']['experiment'].rsplit('/', 1)[1]}",
        f"/campaigns/{campaign['links']['campaign'].rsplit('/', 1)[1]}",
        f"/evaluations/{trained['evaluation']['id']}",
        f"/genotypes/{genotype}",
        "/genotypes/DARTS-V1?beside=DARTS-V2",
        f"/datasets/{cifar}",
        f"/evaluations/{evaluation['id']}",
        f"/?dataset={dataset}&proposal={proposal.json()['id']}",
        "/nothing-here",
    )
    for path in (*PAGES, *more):
        page.set_viewport_size({"width": 1280, "height": 900})
        page.goto(f"{site.url}{path}")
        page.wait_for_timeout(500)
        for theme in ("light", "dark"):
            page.emulate_media(color_scheme=theme)  # type: ignore[arg-type]
            found = Axe().run(page).response["violations"]
            serious = {f["id"]: [n["html"] for n in f["nodes"]][:3] for f in found if f["impact"] in SERIOUS}
            assert serious == {}, (path, theme)
        page.set_viewport_size({"width": 390, "height": 800})
        page.wait_for_timeout(300)
        cut = page.evaluate(CUT_OFF)
        assert cut == [], path


def test_the_first_thing_that_the_keyboard_reaches_skips_to_the_content(page: Page, site: Served) -> None:
    page.goto(site.url)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile("#main$"))
    page.get_by_role("button", name="Light or dark").click()
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    page.reload()
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
