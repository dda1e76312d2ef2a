"""How fast the timeline's page and the live page are with 100,000 events, in Debian's chromium without a GPU.

    python -m tests.bench.bench_pages [EVENTS=100000] [RUNS=3]

Loading ends when the page has drawn all its events. A frame is the time between two frames of the browser while its
keys and its wheel zoom from the whole run to a few events and back, and on the live page also while events come. Writes
artifacts/bench/pages.json and pages.svg.
"""

import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from harness.timeline.model import Timeline
from harness.timeline.page import page
from tests.bench.figures import Figure, report
from tests.browser.conftest import LOOKS, PROGRAMS
from tests.support.long_timeline import long_timeline
from tests.support.played_ui import PlayedWatcher
from tests.support.served_ui import served

LOAD_SECONDS, FRAME_MS = 2.0, 100.0
ZOOMS = 24
NEW_EVENTS, NEW_AT_ONCE, NEW_PAUSE_MS = 5_000, 50, 50
RECORD = """() => {
  window.gaps = [];
  let last = performance.now();
  const frame = (now) => { gaps.push(now - last); last = now; window.going = requestAnimationFrame(frame); };
  requestAnimationFrame((now) => { last = now; frame(now); });
}"""
RECORDED = "() => { cancelAnimationFrame(going); return gaps; }"
DRAWN = "() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done(performance.now()))))"


def main(events: int, runs: int) -> int:
    """Measure, print, write; return the exit code: 1 if a target is missed."""
    program = next((found for name in PROGRAMS if (found := shutil.which(name))), None)
    if program is None:
        print("UNAVAILABLE: a chromium on PATH is missing; `make test-browser` installs it")
        return 0
    from playwright.sync_api import sync_playwright

    timeline = long_timeline(events)
    figures: list[Figure] = []
    with sync_playwright() as playwright, tempfile.TemporaryDirectory() as folder:
        arguments = ["--no-sandbox"] if os.getuid() == 0 else []
        browser = playwright.chromium.launch(executable_path=program, args=arguments)
        figures += _timeline_page(browser, timeline, Path(folder), runs)
        figures += _live_page(browser, timeline, runs)
        browser.close()
    report("pages", f"pages with {events:,} events, {runs} runs", figures)
    return int(any(each.verdict == "over" for each in figures))


def _timeline_page(browser: Any, timeline: Timeline, folder: Path, runs: int) -> list[Figure]:
    file = folder / "timeline.html"
    file.write_text(page(timeline), encoding="utf-8")
    measured = [_measure(browser, file.as_uri(), lambda _: None) for _ in range(runs)]
    return _figures("timeline", measured)


def _live_page(browser: Any, timeline: Timeline, runs: int) -> list[Figure]:
    watcher = PlayedWatcher(events=timeline.events)
    _, _, kept = watcher.events.after(0, len(timeline.events))

    def wait_until_all_are_there(view: Any) -> None:
        while view.evaluate("events.length") < len(kept):
            time.sleep(0.05)

    def add_events(view: Any) -> None:
        for first in range(0, NEW_EVENTS, NEW_AT_ONCE):
            watcher.events.add(newest[first : first + NEW_AT_ONCE])
            view.wait_for_timeout(NEW_PAUSE_MS)

    def frames_with_news() -> float:
        view = browser.new_context(**LOOKS["light"]).new_page()
        view.goto(url)
        wait_until_all_are_there(view)
        longest = max(_frames(view, add_events))
        view.context.close()
        return longest

    last = timeline.events[-1]
    newest = [last.model_copy(update={"time": last.time + number / 100}) for number in range(NEW_EVENTS)]
    with served(watcher) as url:
        measured = [_measure(browser, url, wait_until_all_are_there) for _ in range(runs)]
        news = [frames_with_news() for _ in range(runs)]
    return [
        Figure("live page: events that it has", "", [len(kept)]),
        *_figures("live page", measured),
        Figure("live page: longest frame, 1,000 new events a second", "ms", news, FRAME_MS),
    ]


Measured = tuple[float, list[float], list[float]]
"""Seconds to load, and the frames' milliseconds while zooming by keys and by the wheel."""


def _figures(name: str, measured: list[Measured]) -> list[Figure]:
    return [
        Figure(f"{name}: loading", "s", [loaded for loaded, _, _ in measured], LOAD_SECONDS),
        Figure(f"{name}: longest frame, keys", "ms", [max(keys) for _, keys, _ in measured], FRAME_MS),
        Figure(f"{name}: longest frame, wheel", "ms", [max(wheel) for _, _, wheel in measured], FRAME_MS),
    ]


def _measure(browser: Any, address: str, loaded: Callable[[Any], None]) -> Measured:
    view = browser.new_context(**LOOKS["light"]).new_page()
    view.goto(address)
    view.wait_for_selector("html[data-ready=true]")
    loaded(view)
    seconds = view.evaluate(DRAWN) / 1000
    view.select_option("#payment", "")
    view.locator("#canvas").scroll_into_view_if_needed()
    found = seconds, _frames(view, _zoom_by_keys), _frames(view, _zoom_by_wheel)
    view.context.close()
    return found


def _frames(view: Any, act: Callable[[Any], None]) -> list[float]:
    view.evaluate(DRAWN)
    view.evaluate(RECORD)
    act(view)
    gaps: list[float] = view.evaluate(RECORDED)
    return gaps


def _zoom_by_keys(view: Any) -> None:
    view.focus("#canvas")
    for key in ("0", *"+" * ZOOMS, *"-" * ZOOMS):
        view.keyboard.press(key)


def _zoom_by_wheel(view: Any) -> None:
    box = view.locator("#canvas").bounding_box()
    view.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    view.keyboard.down("Control")
    for turn in (*[-100] * ZOOMS, *[100] * ZOOMS):
        view.mouse.wheel(0, turn)
    view.keyboard.up("Control")


if __name__ == "__main__":
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    sys.exit(main(count, int(sys.argv[2]) if len(sys.argv) > 2 else 3))
