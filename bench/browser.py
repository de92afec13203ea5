"""A browser without a screen, for benches and tests of the dashboard."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Browser, sync_playwright

OPTIONS = ("--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader")
"""WebGL is drawn by software, as machines of tests have no other."""


def path() -> str | None:
    """The Chromium of this machine, if it has one; Debian's package is `chromium`."""
    return shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@contextmanager
def chromium() -> Iterator[Browser]:
    """A Chromium for as long as the context lasts.

    Raises:
        SystemExit: there is none.
    """
    found = path()
    if found is None:
        raise SystemExit("there is no Chromium; Debian's package `chromium` has it")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=OPTIONS)
        yield browser
        browser.close()
