"""One browser for all tests; UNAVAILABLE where there is none."""

import importlib.util
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
ARTIFACTS = Path("artifacts/browser")
LOOKS = {
    "light": {"viewport": {"width": 1440, "height": 1000}, "color_scheme": "light"},
    "dark": {"viewport": {"width": 1440, "height": 1000}, "color_scheme": "dark"},
    "narrow": {"viewport": {"width": 390, "height": 844}, "color_scheme": "light"},
}


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    program = next((found for name in PROGRAMS if (found := shutil.which(name))), None)
    if program is None or importlib.util.find_spec("playwright") is None:
        missing = "a chromium on PATH" if program is None else "playwright"
        pytest.skip(f"UNAVAILABLE: {missing} is missing; `make test-browser` installs it")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        # Chromium's own sandbox cannot be set up by root, as whom containers and this project's CI run.
        arguments = ["--no-sandbox"] if os.getuid() == 0 else []
        launched = playwright.chromium.launch(executable_path=program, args=arguments)
        yield launched
        launched.close()


class Page:
    """A page that is open; `said` is what it has complained about."""

    def __init__(self, browser: Any, look: str) -> None:
        self.page = browser.new_context(**LOOKS[look]).new_page()
        self.said: list[str] = []
        self.requests: list[str] = []
        self.page.on("console", self._note)
        self.page.on("pageerror", lambda error: self.said.append(f"error: {error}"))
        self.page.on("dialog", self._dismiss)
        self.page.on("request", lambda request: self.requests.append(request.url))

    def _note(self, message: Any) -> None:
        # Chromium drops requests whenever a network of this machine comes or goes, as those of testbeds do.
        if "net::ERR_NETWORK_CHANGED" not in message.text:
            self.said.append(f"{message.type}: {message.text}")

    def _dismiss(self, dialog: Any) -> None:
        self.said.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    def open(self, where: Path | str) -> Any:
        self.page.goto(where if isinstance(where, str) else where.resolve().as_uri())
        self.page.wait_for_selector("html[data-ready=true]")
        return self.page

    def wait_until(self, expression: str, seconds: float = 30) -> None:
        """Return when an expression is true. Playwright's own wait needs `eval`, which the live page forbids."""
        ends = time.monotonic() + seconds
        while not self.page.evaluate(expression):
            assert time.monotonic() < ends, f"{expression} has not become true"
            self.page.wait_for_timeout(50)

    def picture(self, name: str) -> None:
        ARTIFACTS.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=ARTIFACTS / f"{name}.png", full_page=True)


@pytest.fixture
def opened(browser: Any, request: pytest.FixtureRequest) -> Iterator[Page]:
    made = Page(browser, getattr(request, "param", "light"))
    yield made
    made.page.context.close()
