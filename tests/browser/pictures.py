"""`make pictures`: the three pictures in README, of a real testbed and of a real matrix.

The live page is taken while both phones are offline and LSP_a holds the payment, the timeline when the payment is
settled, and the matrix from artifacts/matrix (`make interop`).
"""

import os
import shutil
import sys
from pathlib import Path
from typing import Any

from harness import snapshots
from harness.checks import artifacts
from harness.errors import TestbedError
from harness.progress import Phases
from harness.scenarios.async_payment import AsyncPayment
from harness.testbed import Testbed
from harness.topology import load
from harness.ui.watcher import Watcher
from tests.browser.conftest import PROGRAMS
from tests.support.served_ui import served

FOLDER = Path("docs/pictures")
MATRIX = Path("artifacts/matrix/matrix.html")
NAME = "pictures"
BOTH_OFFLINE = "A's phone is disconnected. Both are offline now"
VIEW: Any = {"width": 1280, "height": 900}
LIVE_HEIGHT = 960
MOST_BYTES = 200_000
"""Larger pictures make a clone slow: the browser is given a smaller part of the page, or fewer colours."""


def main() -> None:
    """Take all three. Raises TestbedError if a testbed cannot be had, or the matrix has not been run."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        program = next(found for name in PROGRAMS if (found := shutil.which(name)))
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"] if os.getuid() == 0 else [])
        view = browser.new_context(viewport=VIEW, color_scheme="light").new_page()
        testbed = Testbed.prepare(load("line"), NAME, print)
        try:
            snapshots.up(testbed, Phases(print), print, fresh=False)
            _take_live_page(testbed, view)
            _take_timeline(testbed, view)
        finally:
            testbed.down()
        if not MATRIX.exists():
            raise TestbedError(f"{MATRIX} is missing, and so is its picture. Run `make interop` first")
        view.goto(MATRIX.resolve().as_uri())
        view.locator("svg").screenshot(path=FOLDER / "matrix.png")
        browser.close()


def _take_live_page(testbed: Testbed, view: Any) -> None:
    with served(Watcher(testbed.name)) as url:
        view.goto(url)
        view.wait_for_selector("html[data-ready=true]")

        def tell(sentence: str) -> None:
            print(sentence)
            if sentence.startswith(BOTH_OFFLINE):
                view.wait_for_selector("#network .badge")
                view.wait_for_selector('#phones article[data-name="A"] .bad')
                view.wait_for_timeout(2_500)  # one look more, and the events that the engine still has
                view.screenshot(
                    path=FOLDER / "live-page.png", clip={"x": 0, "y": 0, **VIEW, "height": LIVE_HEIGHT}, full_page=True
                )

        AsyncPayment(testbed, tell).play()


def _take_timeline(testbed: Testbed, view: Any) -> None:
    folder = Path("artifacts/pictures")
    if problems := artifacts.write_timeline(testbed, folder):
        raise TestbedError(f"the timeline is incomplete: {'; '.join(problems)}")
    view.goto((folder / artifacts.TIMELINE_PAGE).resolve().as_uri())
    view.wait_for_selector("html[data-ready=true]")
    view.click("#steps li:nth-child(3) button")
    view.click("#fit")
    view.screenshot(path=FOLDER / "timeline.png")


if __name__ == "__main__":
    try:
        main()
    except TestbedError as error:
        sys.exit(f"error: {error}")
    large = {file.name: size for file in FOLDER.iterdir() if (size := file.stat().st_size) > MOST_BYTES}
    if large:
        sys.exit(f"error: over {MOST_BYTES} bytes: {large}. Take a smaller part of the page")
    print("written:", *sorted(map(str, FOLDER.iterdir())))
