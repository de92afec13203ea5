"""The three steps from images to a comparison, in a browser."""

import io
import zipfile
from pathlib import Path

from playwright.sync_api import Page, Request, expect

from tests.serving import Served


def test_three_steps_lead_from_a_zip_to_the_best_model(page: Page, site: Served, archive: Path) -> None:
    page.goto(site.url)
    expect(page.get_by_role("link", name="ready space")).to_be_visible()
    expect(page.locator("#step-propose")).to_be_hidden()

    page.set_input_files("#archive", archive)
    expect(page.locator(".thumbs img")).to_have_count(16)
    data = page.locator("#data")
    expect(data).to_contain_text("test images of 2 classes, 1 × 8 × 8")
    expect(data).to_contain_text("Skipped 1")
    expect(data).to_contain_text("notes.txt")
    expect(page.locator("#neighbors tbody")).to_contain_text("%")

    page.fill("#count", "2")
    page.locator("#most").fill("5")
    expect(page.locator("#most-shown")).to_have_text("100 k")
    page.get_by_role("button", name="Propose two").click()
    expect(page.locator("#cards .card")).to_have_count(2)
    card = page.locator("#cards .card").first
    expect(card).to_contain_text("on your images")
    parameters = int(card.inner_text().split(" parameters")[0].split()[-1].replace(",", ""))
    assert parameters <= 100_000
    page.wait_for_function(
        "() => [...document.querySelectorAll('#cards img')].every((i) => i.naturalWidth > 0)"
    )

    page.fill("#epochs", "1")
    expect(page.locator("#estimate")).to_contain_text("About")
    page.get_by_role("button", name="Compare").click()
    download = page.get_by_role("button", name="Download best model")
    expect(download).to_be_visible()
    expect(page.locator("#arms tbody tr")).to_have_count(1)
    expect(page.locator("#each tbody tr")).to_have_count(2)
    expect(page.locator("#comparison .js-plotly-plot")).to_contain_text("chance 50.0 %")
    with page.expect_download() as told:
        download.click()
    names = zipfile.ZipFile(io.BytesIO(Path(told.value.path()).read_bytes())).namelist()
    assert any(name.endswith("model.onnx") for name in names)

    # the address leads there again, and back to the step before
    address = page.url
    page.goto("about:blank")
    page.goto(address)
    expect(page.locator("#each tbody tr")).to_have_count(2)


def test_a_folder_is_packed_by_the_browser_and_back_leads_back(
    page: Page, site: Served, archive: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "from-a-folder"
    zipfile.ZipFile(archive).extractall(folder)
    page.goto(site.url)
    page.set_input_files("#folder", folder)
    expect(page.locator("#data h3").first).to_have_text("from-a-folder")
    expect(page.locator("#data")).to_contain_text("images of 2 classes")
    page.go_back()
    expect(page.locator("#data")).to_be_hidden()
    page.go_forward()
    expect(page.locator("#data h3").first).to_have_text("from-a-folder")


def test_what_is_no_archive_is_told_in_the_page(page: Page, site: Served, tmp_path: Path) -> None:
    broken = tmp_path / "broken.zip"
    broken.write_bytes(b"this is no zip")
    page.goto(site.url)
    page.set_input_files("#archive", broken)
    expect(page.locator("#upload-state .problem")).to_contain_text("zip")
    page.get_by_role("button", name="Try it with digits").click()
    expect(page.locator("#data")).to_contain_text("10 classes")
    page.locator("#most").fill("4")
    page.locator("#count").fill("1000")
    page.evaluate("document.getElementById('propose').noValidate = true")
    page.get_by_role("button", name="Propose").click()
    expect(page.locator("#proposal .problem")).to_contain_text("count")


def test_how_near_is_the_services_choice_until_it_is_moved(page: Page, site: Served) -> None:
    def is_proposal(request: Request) -> bool:
        return request.method == "POST" and request.url.endswith("/v1/proposals")

    page.goto(site.url)
    page.get_by_role("button", name="Try it with digits").click()
    page.fill("#count", "1")
    expect(page.locator("#gamma-shown")).to_have_text("by default")
    with page.expect_request(is_proposal) as asked:
        page.get_by_role("button", name="Propose one").click()
    assert "gamma" not in asked.value.post_data_json
    expect(page.locator("#cards .card")).to_have_count(1)
    page.locator("#gamma").fill("0.2")
    expect(page.locator("#gamma-shown")).to_have_text("0.20")
    with page.expect_request(is_proposal) as asked:
        page.get_by_role("button", name="Propose one").click()
    assert asked.value.post_data_json["gamma"] == 0.2
