"""The live page, looked at and used. Its testbed is played; tests/e2e/testbed/test_ui.py has a real one."""

import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from harness import verbs
from harness.checks.status import PhoneStatus
from harness.errors import PaymentError
from harness.nodes.base import Payment
from harness.services.phone_verbs import WITHOUT_ARGUMENTS
from harness.ui.event_buffer import MOST_EVENTS
from tests.browser.conftest import LOOKS, Page
from tests.support.long_timeline import long_timeline
from tests.support.played_ui import HASH, HOSTILE, PlayedWatcher, recorded, recorded_lanes
from tests.support.served_ui import served


@pytest.fixture
def watcher() -> PlayedWatcher:
    return PlayedWatcher(events=recorded())


@pytest.fixture
def address(watcher: PlayedWatcher) -> Iterator[str]:
    with served(watcher) as url:
        yield url


@pytest.mark.parametrize("opened", LOOKS, indirect=True)
def test_it_can_be_read_by_everybody(opened: Page, address: str, request: pytest.FixtureRequest) -> None:
    from axe_playwright_python.sync_playwright import Axe

    view = opened.open(address)
    view.wait_for_selector(".row .what")
    view.click("summary")
    view.select_option("#payment", index=1)
    opened.picture(f"ui-{request.node.callspec.id}")
    found = Axe().run(view).response["violations"]
    assert [(each["id"], [node["target"] for node in each["nodes"]]) for each in found] == []
    assert view.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), "nothing is cut off at the side"
    assert opened.said == []
    assert {url for url in opened.requests if not url.startswith(address)} == set(), "nothing else is loaded"


def test_it_shows_what_the_testbed_is_doing(opened: Page, address: str) -> None:
    view = opened.open(address)
    network = view.locator("#network")
    for text in (
        "LSP_b",
        "lsp · cln 0.21.2",
        "asleep · disconnected",
        "1 HTLC",
        "100x1x0 private, not usable",
        "block 123",
    ):
        assert text in network.text_content(), text
    phone = view.locator("#phones article[data-name=B]")
    assert "in 77" in phone.text_content(), "blocks until it must be released"
    assert "\u221225\u202f000" in phone.text_content()
    lsp = view.locator("#lsps article[data-name=LSP_a-lsp]").text_content()
    assert f"{HASH[:8]}…A25\u202f000held1block 200, in 77" in lsp
    assert "B22600" in lsp, "two messages with 2600 bytes wait for B"
    assert "not signed" in view.locator("#pushes").text_content()


def test_deadlines_count_down(opened: Page, address: str) -> None:
    view = opened.open(address)
    hold = view.locator("#lsps [data-time]").first
    hold.evaluate("made => { made.dataset.time = Date.now() / 1000 + 90; tick(); }")
    opened.wait_until(
        "[...document.querySelectorAll('#lsps [data-time]')].some((each) => /^in 8[5-8] s$/.test(each.textContent))"
    )


def test_events_come_as_they_happen_and_where_their_time_puts_them(
    opened: Page, watcher: PlayedWatcher, address: str
) -> None:
    view = opened.open(address)
    before = len(recorded())
    opened.wait_until(f"events.length === {before}")
    last = recorded()[-1]
    news = [
        last.model_copy(update={"time": last.time + 2, "what": "later"}),
        last.model_copy(update={"time": last.time + 1, "what": "sooner"}),
    ]
    watcher.events.add(news)
    opened.wait_until(f"events.length === {before + 2}")
    assert view.evaluate("events.slice(-2).map((event) => event.what)") == ["sooner", "later"]
    assert "later" in view.locator(".row").last.text_content()
    assert opened.said == []


def test_a_testbed_that_is_brought_up_again_begins_with_an_empty_page(
    opened: Page, watcher: PlayedWatcher, address: str
) -> None:
    view = opened.open(address)
    opened.wait_until(f"events.length === {len(recorded())}")
    view.locator("#payment").select_option(index=1)
    watcher.events.begin_anew([recorded()[0].model_copy(update={"what": "of the new one"})])
    opened.wait_until("events.length === 1")
    assert view.locator(".row").count() == 1
    assert "of the new one" in view.locator(".row").text_content()
    assert view.evaluate("[payments.length, htlcs.length, lives.size, state.payment]") == [0, 0, 0, ""]
    assert view.locator("#steps").is_hidden()
    watcher.events.add(recorded())
    opened.wait_until(f"events.length === {len(recorded()) + 1}")
    assert view.evaluate("payments.length") == 1
    assert opened.said == []


def test_of_many_events_the_last_ones_are_kept(opened: Page) -> None:
    many = long_timeline(MOST_EVENTS + 1_000).events
    watcher = PlayedWatcher(events=many)
    with served(watcher) as url:
        view = opened.open(url)
        opened.wait_until(f"events.length === {MOST_EVENTS}")
        watcher.events.add([many[-1].model_copy(update={"time": many[-1].time + 1, "what": "the last"})])
        opened.wait_until("events[events.length - 1].what === 'the last'")
        assert view.evaluate("events.length") < MOST_EVENTS
        assert view.evaluate("payments.length") > 100
        assert "the last" in view.locator(".row").last.text_content()
        assert view.locator(".row").count() < 60, "only what is in sight exists"
        assert opened.said == []


def test_a_button_tells_what_it_does(opened: Page, address: str) -> None:
    view = opened.open(address)
    sleep = view.locator("#phones article[data-name=B]").get_by_role("button", name="sleep")
    opened.wait_until("document.querySelector('#phones button').title !== ''")
    assert sleep.get_attribute("title") == WITHOUT_ARGUMENTS["sleep"]


def test_a_payment_has_its_steps_and_its_htlcs(opened: Page, address: str) -> None:
    view = opened.open(address)
    view.wait_for_selector(".row .what")
    view.select_option("#payment", index=1)
    assert view.locator("#steps button:enabled").count() == 8
    table = view.locator("#htlcs").text_content()
    assert table.count("settled") == 4
    assert "resume" in table, "what LSP_a held, it has let go"


def test_it_shows_when_a_phone_was_away_as_the_timeline_does(opened: Page, address: str) -> None:
    view = opened.open(address)
    opened.wait_until(f"events.length === {len(recorded())}")
    told = {lane.name: [span.model_dump(exclude_none=True) for span in lane.away] for lane in recorded_lanes()}
    assert told["B"], "the recording has some"
    shown = view.evaluate("Object.fromEntries(story.lanes.map((lane) => [lane.name, lane.away || []]))")
    assert {name: shown[name] for name in ("A", "B")} == {name: told[name] for name in ("A", "B")}


def test_two_browsers_see_the_same_and_ask_the_nodes_once(browser: Any, watcher: PlayedWatcher, address: str) -> None:
    one, other = Page(browser, "light"), Page(browser, "dark")
    one.open(address), other.open(address)
    watcher.events.add([recorded()[-1].model_copy(update={"what": "news for both"})])
    for each in (one, other):
        each.wait_until("events.some((event) => event.what === 'news for both')")
        assert each.said == []
    began, looks = time.monotonic(), watcher.looks
    one.page.wait_for_timeout(4_000)
    assert watcher.looks - looks <= (time.monotonic() - began) / 1.0 + 1, "once a second at most, for however many"
    one.page.context.close(), other.page.context.close()


def test_hostile_texts_are_texts(opened: Page) -> None:
    event = recorded()[0].model_copy(update={"what": HOSTILE, "text": HOSTILE, "because": HOSTILE, "lane": HOSTILE})
    with served(PlayedWatcher(HOSTILE, [event])) as url:
        view = opened.open(url)
        view.wait_for_selector(".row .what")
        view.locator(".row").first.click()
        view.click("summary")
        assert view.locator("img").count() == 0
        assert view.locator("script:not([src])").count() == 0, "all scripts are files of the server"
        for place in ("#network", "#phones", "#lsps", "#pushes", "#details", "#rows"):
            assert HOSTILE[:20] in view.locator(place).text_content(), place
        assert opened.said == []


def test_a_testbed_that_goes_down_and_comes_back(opened: Page, watcher: PlayedWatcher, address: str) -> None:
    from axe_playwright_python.sync_playwright import Axe

    view = opened.open(address)
    watcher.up = False
    view.wait_for_selector("#problems:not([hidden])")
    assert "testbed line is down" in view.locator("#problems").text_content()
    assert view.locator("#network").text_content(), "what was seen last stays"
    violations = Axe().run(view).response["violations"]
    assert [each["id"] for each in violations] == [], "it can still be read"
    view.get_by_role("form", name="Mine", exact=True).get_by_role("button").click()
    view.wait_for_selector("#done .bad")
    assert "testbed line is down" in view.locator("#done li").first.text_content()
    watcher.up = True
    view.wait_for_selector("#problems[hidden]", state="attached")


def test_a_server_that_has_ended_is_told(opened: Page) -> None:
    with served(PlayedWatcher()) as url:
        view = opened.open(url)
    view.wait_for_selector("#problems:not([hidden])")
    assert "start `testbed ui` again" in view.locator("#problems").text_content()


def test_the_whole_story_is_a_page_of_its_own(opened: Page, address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from harness.timeline import recording as recordings
    from tests.support.played_ui import RECORDING

    monkeypatch.setattr(recordings, "gather", lambda _: recordings.read(RECORDING))
    view = opened.open(f"{address}timeline.html")
    assert view.locator("#steps button:enabled").count() == 8
    assert opened.said == []


def test_a_form_sends_what_is_in_it_and_tells_what_came_of_it(
    opened: Page, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[Any, ...]] = []

    def pay(_: Any, *arguments: Any) -> Payment:
        asked.append(arguments)
        if arguments[0] == arguments[1]:
            raise PaymentError(f"no route {HOSTILE}")
        return Payment("ab" * 32, "cd" * 32, arguments[2], 1_500)

    monkeypatch.setattr(verbs, "pay", pay)
    view = opened.open(address)
    form = view.get_by_role("form", name="Pay", exact=True)
    form.get_by_label("amount").fill(" 2000sat ")
    form.get_by_label("amount").press("Enter")
    view.wait_for_selector("#done .good")
    assert asked == [("A", "B", 2_000_000)]
    assert "fee 1.500 sat; preimage cdcd" in view.locator("#done li").first.text_content()
    form.get_by_label("payee").select_option("A")
    form.get_by_role("button").click()
    view.wait_for_selector("#done .bad")
    assert HOSTILE[:20] in view.locator("#done li").first.text_content()
    form.get_by_label("amount").fill("2000")
    form.get_by_role("button").click()
    opened.wait_until("document.querySelectorAll('#done .bad').length === 2")
    assert "is not an amount" in view.locator("#done li").first.text_content()
    assert view.locator("img").count() == 0
    assert {line for line in opened.said if "Failed to load resource" not in line} == set(), "but for refusals nothing"


def test_a_phone_is_worked_by_keyboard(opened: Page, address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    lasts = threading.Event()

    def do(_: Any, phone: str, verb: str) -> PhoneStatus:
        done.append(f"{phone} {verb}")
        assert lasts.wait(30)
        return PhoneStatus(phone, "LSP_b", "asleep", "normal", False)

    monkeypatch.setattr(verbs, "do_to_phone", do)
    view = opened.open(address)
    button = view.locator("#phones article[data-name=B]").get_by_role("button", name="sleep")
    button.focus()
    view.keyboard.press("Enter")
    view.wait_for_selector("#done li")
    assert button.is_disabled(), "it is not sent twice"
    looked = view.evaluate("lastStatus.height_blocks")
    opened.wait_until("document.querySelector('#phones article[data-name=B] button') !== null")
    assert looked == 123, "the page goes on meanwhile"
    lasts.set()
    view.wait_for_selector("#done .good")
    assert done == ["B sleep"]
    assert "asleep, link normal" in view.locator("#done li").first.text_content()
    view.keyboard.press("Tab")
    assert view.evaluate("document.activeElement.tagName") != "BODY", "the focus has not been lost"


def test_an_invoice_is_offered_to_the_other_phone(opened: Page, address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verbs, "wallet_receive", lambda *_: {"invoice": "lnbcrt250u1", "payment_hash": "ab" * 32})
    view = opened.open(address)
    payee, payer = (view.locator(f"#phones article[data-name={name}]") for name in ("B", "A"))
    for card in (payee, payer):
        card.locator("summary").click()
    payee.get_by_role("button", name="Receive").click()
    view.wait_for_selector("#done .good")
    assert payer.locator("[data-field=invoice]").input_value() == "lnbcrt250u1"
    assert view.locator("#done input").input_value() == "lnbcrt250u1"
    assert payee.locator("[data-field=invoice]").input_value() == ""
