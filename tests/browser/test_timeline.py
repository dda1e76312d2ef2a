"""The timeline's page, looked at and used."""

from pathlib import Path
from typing import Any

import pytest

from harness.timeline import recording
from harness.timeline.model import Event, Htlc, Kind, Lane, Timeline
from harness.timeline.page import page
from harness.timeline.story import tell
from tests.browser.conftest import LOOKS, Page
from tests.support.long_timeline import long_timeline

RECORDINGS = Path(__file__).parents[1] / "unit/harness/timeline/recordings"
HOSTILE = "<img src=x onerror=alert(1)></script><script>alert(2)</script>\u202e{{7*7}}"


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "timeline.html"
    path.write_text(page(tell(recording.read(RECORDINGS / "mixed"))), encoding="utf-8")
    return path


def written(story: Timeline, folder: Path) -> Path:
    path = folder / "timeline.html"
    path.write_text(page(story), encoding="utf-8")
    return path


@pytest.mark.parametrize("opened", LOOKS, indirect=True)
def test_it_can_be_read_by_everybody(opened: Page, file: Path, request: pytest.FixtureRequest) -> None:
    from axe_playwright_python.sync_playwright import Axe

    view = opened.open(file)
    view.click("#steps li:nth-child(3) button")
    opened.picture(f"timeline-{request.node.callspec.id}")
    found = Axe().run(view).response["violations"]
    assert [(each["id"], [node["target"] for node in each["nodes"]]) for each in found] == []
    assert view.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), "nothing is cut off at the side"
    assert opened.said == []
    assert opened.requests == [file.resolve().as_uri()], "nothing else is loaded"


def test_the_eight_steps_lead_to_their_events(opened: Page, file: Path) -> None:
    view = opened.open(file)
    steps = view.locator("#steps button:enabled")
    assert steps.count() == 8
    for number in range(1, 9):
        steps.nth(number - 1).click()
        assert f"{number} of 8" in view.locator("#details").inner_text()
        assert view.locator('.row[aria-selected="true"]').count() == 1


def test_filters_and_search_narrow_the_list(opened: Page, file: Path) -> None:
    view = opened.open(file)
    title = view.locator("#list-title")
    all_of_payment = title.inner_text()
    for button in view.locator("#kinds button").all():
        if not button.inner_text().startswith("htlc"):
            button.click()
    assert title.inner_text().startswith("8 of "), "four HTLCs were offered and settled"
    assert {row.inner_text() for row in view.locator(".row .kind").all()} == {"htlc"}
    view.fill("#search", "fulfill router")
    assert title.inner_text().startswith("2 of ")
    view.fill("#search", "no such thing")
    assert "Nothing fits" in view.locator("#rows").inner_text()
    view.keyboard.press("Escape")
    off = view.locator('#kinds button[aria-pressed="false"]')
    while off.count():
        off.first.click()
    assert title.inner_text() == all_of_payment
    view.select_option("#payment", "")
    assert title.inner_text() != all_of_payment, "the whole run has more events"


def test_all_of_it_works_by_keyboard(opened: Page, file: Path) -> None:
    view = opened.open(file)
    view.keyboard.press("/")
    view.keyboard.type("requested")
    assert view.locator("#search").input_value() == "requested"
    view.focus("#rows")
    view.keyboard.press("ArrowDown")
    assert "1 of 8" in view.locator("#details").inner_text()
    view.keyboard.press("Escape")
    view.focus("#canvas")
    width = "state.to - state.from"
    whole = view.evaluate(width)
    view.keyboard.press("+")
    assert view.evaluate(width) < whole
    begin = view.evaluate("state.from")
    view.keyboard.press("ArrowRight")
    assert view.evaluate("state.from") > begin
    view.keyboard.press("0")
    assert view.evaluate(width) == pytest.approx(whole)
    view.keyboard.press("End")
    last = view.locator("#details").inner_text()
    view.keyboard.press("ArrowUp")
    assert view.locator("#details").inner_text() != last


def test_an_event_under_the_pointer_tells_what_it_is(opened: Page, file: Path) -> None:
    view = opened.open(file)
    box = view.locator("#canvas").bounding_box()
    place = view.evaluate(
        """() => {
          const number = shown.indices.findIndex((index) => events[index].step === 3);
          return [xOf(shown.at[number]), yOf(events[shown.indices[number]].lane)];
        }"""
    )
    view.mouse.move(box["x"] + place[0], box["y"] + place[1])
    view.wait_for_selector("#tip:not([hidden])")
    assert "every hash has a part" in view.locator("#tip").inner_text()
    view.mouse.click(box["x"] + place[0], box["y"] + place[1])
    assert "3 of 8" in view.locator("#details").inner_text()


def test_an_htlc_is_drawn_as_held_until_it_is_resolved(opened: Page, file: Path) -> None:
    view = opened.open(file)
    ends, resolved = view.evaluate(
        """() => {
          const htlc = htlcs.find((each) => each.held !== undefined && each.resolved !== undefined), ends = [];
          state.from = (placeOf(htlc.held) + placeOf(htlc.resolved)) / 2;
          state.to = state.from + shown.length;
          bar = (x, y, width) => { if (pen.fillStyle === colours.held) ends.push(x + width); };
          paint();
          return [ends, xOf(placeOf(htlc.resolved))];
        }"""
    )
    assert ends == [pytest.approx(resolved)], "also when its beginning is out of view"


def test_hostile_texts_are_texts(opened: Page, tmp_path: Path) -> None:
    event = Event(
        time=1.0, lane=HOSTILE, kind=Kind.DECISION, what=HOSTILE, text=HOSTILE, because=HOSTILE, to="x", channel=HOSTILE
    )
    lanes = (Lane(name=HOSTILE, kind=HOSTILE, runs=HOSTILE), Lane(name="x", kind="lsp"))
    htlc = Htlc(from_lane=HOSTILE, to="x", channel=HOSTILE, htlc_id=1, offered=1.0, resolution=HOSTILE, end=HOSTILE)
    story = Timeline(
        testbed=HOSTILE, topology=HOSTILE, lanes=lanes, events=(event,), htlcs=(htlc,), problems=(HOSTILE,)
    )
    view = opened.open(written(story, tmp_path))
    view.locator(".row").first.click()
    assert view.locator("img").count() == 0
    assert view.locator("script").count() == 2
    assert HOSTILE[:20] in view.locator("#details").inner_text()
    assert view.title() == f"Timeline of {HOSTILE}"
    assert opened.said == []


def test_an_empty_story_is_a_page_too(opened: Page, tmp_path: Path) -> None:
    view = opened.open(written(Timeline(testbed="x"), tmp_path))
    assert "Nothing fits" in view.locator("#rows").inner_text()
    assert opened.said == []


def test_a_hundred_thousand_events_can_be_used(opened: Page, tmp_path: Path) -> None:
    view: Any = opened.open(written(long_timeline(100_000), tmp_path))
    view.select_option("#payment", "")
    assert view.locator("#list-title").inner_text() == "100,000 events"
    assert view.locator(".row").count() < 60, "only what is in sight exists"
    view.wait_for_function("planned === 0")
    opened.picture("timeline-100000")
    view.focus("#canvas")
    for _ in range(25):
        view.keyboard.press("+")
    assert view.evaluate("state.to - state.from") < 100
    view.keyboard.press("0")
    view.keyboard.press("End")
    assert view.locator('.row[aria-selected="true"]').count() == 1
    view.fill("#search", "fulfill router")
    assert "of 100,000 events" in view.locator("#list-title").inner_text()
    assert opened.said == []
