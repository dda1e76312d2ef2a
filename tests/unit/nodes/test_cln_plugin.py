"""The plugin inside lightningd: what it holds and for how long, what it tells, and that no error leaves it."""

from types import SimpleNamespace
from typing import Any

import pytest
from pyln.client import RpcException

from asyncpay.nodes.cln import plugin
from asyncpay.nodes.cln.plugin import (
    ATTACH_SECONDS,
    CONTINUE,
    FAIL,
    MARGIN_BLOCKS,
    POLL_SECONDS,
    SESSION_OVER,
    safely,
)

from .plugin_harness import KEY, PREIMAGE, PluginHarness, Request, htlc, topics


@pytest.fixture
def scenery() -> PluginHarness:
    scenery = PluginHarness()
    scenery.exchange.report("connect", {})
    return scenery


def test_an_htlc_for_the_node_itself_continues_at_once(scenery: PluginHarness) -> None:
    payload = htlc()
    del payload["onion"]["short_channel_id"]
    scenery.offer(payload)
    assert scenery.htlc.said == CONTINUE


def test_a_forward_by_node_id_is_held_too(scenery: PluginHarness) -> None:
    payload = htlc(next_node_id="03" * 33)
    del payload["onion"]["short_channel_id"]
    scenery.offer(payload)
    assert scenery.htlc.said is None


@pytest.mark.parametrize(("blocks_left", "said"), [(MARGIN_BLOCKS, FAIL), (MARGIN_BLOCKS + 1, None)])
def test_an_htlc_within_its_margin_fails_at_once(scenery: PluginHarness, blocks_left: int, said: Any) -> None:
    scenery.offer(htlc(blocks_left))
    assert scenery.htlc.said == said


def test_a_held_one_fails_when_the_chain_comes_to_its_margin(scenery: PluginHarness) -> None:
    scenery.offer()
    session = scenery.attach()
    question = scenery.ask(session, 1)
    scenery.exchange.block(1_000 - MARGIN_BLOCKS - 1)
    assert scenery.htlc.said is None
    assert topics(question) == ["block_added"]

    question = scenery.ask(session, 2)
    scenery.exchange.block(1_000 - MARGIN_BLOCKS)
    assert scenery.htlc.said == FAIL
    assert topics(question) == ["htlc_given_up"]
    assert topics(scenery.ask(session, 3)) == ["block_added"]


def test_with_nobody_there_an_htlc_waits_ten_seconds(scenery: PluginHarness) -> None:
    scenery.wait(1_000)
    scenery.offer()
    scenery.wait(ATTACH_SECONDS - 0.1)
    assert scenery.htlc.said is None
    scenery.wait(0.1)
    assert scenery.htlc.said == FAIL


def test_who_attaches_is_offered_what_is_held(scenery: PluginHarness) -> None:
    scenery.offer()
    scenery.wait(ATTACH_SECONDS - 0.1)
    question = scenery.ask(scenery.attach())
    assert question.said["events"] == [{"number": 1, "topic": "htlc_accepted", "payload": htlc()}]


def test_what_was_told_is_told_again_until_the_next_question(scenery: PluginHarness) -> None:
    session = scenery.attach()
    scenery.offer()
    assert topics(scenery.ask(session)) == ["htlc_accepted"]
    assert topics(scenery.ask(session)) == ["htlc_accepted"]
    assert scenery.ask(session, 1).said is None


def test_what_a_process_has_taken_notice_of_waits_for_it(scenery: PluginHarness) -> None:
    session = scenery.attach()
    scenery.offer()
    scenery.ask(session)
    scenery.ask(session, 1)
    for _ in range(10):
        scenery.wait(ATTACH_SECONDS)
    assert scenery.htlc.said is None
    assert topics(scenery.ask(scenery.attach())) == ["htlc_accepted"]


def test_what_it_may_never_have_heard_of_does_not(scenery: PluginHarness) -> None:
    """It died with the question asked: the answer went nowhere."""
    session = scenery.attach()
    question = scenery.ask(session)
    scenery.offer()
    assert topics(question) == ["htlc_accepted"]
    scenery.wait(ATTACH_SECONDS)
    assert scenery.htlc.said == FAIL


def test_what_lightningd_asks_about_when_it_starts_waits_for_a_process_too(scenery: PluginHarness) -> None:
    """One may have taken notice of it before lightningd went down; and nothing new comes before a peer does."""
    scenery.start()
    scenery.offer()
    scenery.exchange.report("connect", {})
    scenery.wait(100 * ATTACH_SECONDS)
    assert scenery.htlc.said is None
    assert topics(scenery.ask(scenery.attach())) == ["htlc_accepted"]


def test_what_waits_since_the_start_fails_within_its_margin(scenery: PluginHarness) -> None:
    scenery.start()
    scenery.offer()
    scenery.exchange.block(1_000 - MARGIN_BLOCKS)
    assert scenery.htlc.said == FAIL


def test_a_question_is_answered_in_time_though_nothing_happens(scenery: PluginHarness) -> None:
    question = scenery.ask(scenery.attach())
    scenery.wait(POLL_SECONDS - 0.1)
    assert question.said is None
    scenery.wait(0.1)
    assert question.said == {"events": [], "dropped": 0}


def test_a_process_that_was_away_for_too_long_must_attach_anew(scenery: PluginHarness) -> None:
    session = scenery.attach()
    scenery.wait(ATTACH_SECONDS)
    question = scenery.ask(session)
    assert isinstance(question.said, RpcException)
    assert question.said.code == SESSION_OVER


def test_the_one_that_attaches_later_has_it(scenery: PluginHarness) -> None:
    first = scenery.attach()
    waiting = scenery.ask(first)
    second = scenery.attach()
    scenery.offer()
    assert waiting.said == {"events": [], "dropped": 0}
    assert isinstance(scenery.ask(first).said, RpcException)
    assert topics(scenery.ask(second)) == ["htlc_accepted"]


def test_nothing_is_kept_for_a_process_that_is_not_there(scenery: PluginHarness) -> None:
    scenery.exchange.report("connect", {})
    assert scenery.ask(scenery.attach()).said is None


def test_a_process_that_falls_behind_must_attach_anew(scenery: PluginHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plugin, "MAX_EVENTS", 3)
    session = scenery.attach()
    scenery.offer()
    for _ in range(4):
        scenery.exchange.report("connect", {})
    assert isinstance(scenery.ask(session).said, RpcException)
    assert topics(scenery.ask(scenery.attach())) == ["htlc_accepted"]


def test_any_number_of_held_htlcs_is_offered_page_by_page(
    scenery: PluginHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plugin, "MAX_EVENTS", 5)
    monkeypatch.setattr(plugin, "MAX_REPLY_EVENTS", 7)
    requests = [Request() for _ in range(20)]
    for number, request in enumerate(requests):
        payload = htlc()
        payload["htlc"]["id"] = number
        scenery.exchange.hold(payload, request)
    session = scenery.attach()
    scenery.exchange.report("connect", {})
    told: list[dict[str, Any]] = []
    while page := scenery.ask(session, told[-1]["number"] if told else 0).said:
        assert len(page["events"]) <= 7
        told += page["events"]
    assert [event["payload"]["htlc"]["id"] for event in told[:20]] == list(range(20))
    assert [event["topic"] for event in told[20:]] == ["connect"]
    assert all(request.said is None for request in requests)


def test_an_answer_has_a_limit_in_bytes_and_always_an_event(
    scenery: PluginHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plugin, "MAX_REPLY_BYTES", 100)
    session = scenery.attach()
    for length in (1_000, 40, 40, 40):
        scenery.exchange.report("custommsg", {"payload": "0" * length})
    assert len(scenery.ask(session).said["events"]) == 1
    assert len(scenery.ask(session, 1).said["events"]) == 1
    assert len(scenery.ask(session, 2).said["events"]) == 1


def test_one_peers_flood_of_messages_leaves_room_for_anothers(
    scenery: PluginHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plugin, "MAX_MESSAGES_OF_A_PEER", 5)
    session = scenery.attach()
    for number in range(100):
        scenery.exchange.report("custommsg", {"peer_id": "greedy", "payload": f"{number}"})
    scenery.exchange.report("custommsg", {"peer_id": "honest", "payload": "hello"})
    question = scenery.ask(session)
    said = [event["payload"]["peer_id"] for event in question.said["events"]]
    assert said == ["greedy"] * 5 + ["honest"]
    waiting = scenery.ask(session, after=6)
    scenery.exchange.report("custommsg", {"peer_id": "greedy", "payload": "what was taken makes room"})
    assert len(waiting.said["events"]) == 1


def test_messages_alone_never_end_a_session(scenery: PluginHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plugin, "MAX_EVENTS", 20)
    monkeypatch.setattr(plugin, "MAX_MESSAGES", 15)
    session = scenery.attach()
    for number in range(100):
        scenery.exchange.report("custommsg", {"peer_id": f"peer {number}", "payload": "x"})
    assert len(scenery.ask(session).said["events"]) == 15


def test_messages_that_fill_the_memory_are_dropped_and_nothing_else_is(
    scenery: PluginHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plugin, "MAX_MESSAGE_BYTES", 100)
    session = scenery.attach()
    for _ in range(3):
        scenery.exchange.report("custommsg", {"payload": "0" * 30})
    scenery.exchange.report("connect", {"id": "0" * 66})
    question = scenery.ask(session)
    assert topics(question) == ["custommsg", "custommsg", "connect"]
    assert question.said["dropped"] == 1
    assert scenery.ask(session, 3).said is None
    scenery.exchange.report("custommsg", {"payload": "0" * 30})
    assert topics(scenery.ask(session, 3)) == ["custommsg"]


@pytest.mark.parametrize(
    ("result", "payment_key", "response"),
    [
        ("continue", None, CONTINUE),
        ("fail", None, FAIL),
        ("resolve", PREIMAGE.hex(), {"result": "resolve", "payment_key": PREIMAGE.hex()}),
    ],
)
def test_an_answer_reaches_lightningd_once(
    scenery: PluginHarness, result: str, payment_key: str | None, response: dict[str, Any]
) -> None:
    scenery.offer()
    assert scenery.exchange.answer(KEY, result, payment_key) == {"answered": True}
    assert scenery.htlc.said == response
    assert scenery.exchange.answer(KEY, result, payment_key) == {"answered": False}


@pytest.mark.parametrize(
    ("result", "payment_key"),
    [("resume", None), ("resolve", None), ("resolve", "11" * 32), ("resolve", "no hex")],
)
def test_what_lightningd_would_die_of_is_refused(scenery: PluginHarness, result: str, payment_key: str | None) -> None:
    scenery.offer()
    with pytest.raises(RpcException):
        scenery.exchange.answer(KEY, result, payment_key)
    assert scenery.htlc.said is None
    assert scenery.exchange.answer(KEY, "fail") == {"answered": True}


def test_a_hook_is_answered_whatever_goes_wrong() -> None:
    logged: list[str] = []
    request = Request()

    def respond(_: Any) -> None:
        raise KeyError("onion")

    safely(SimpleNamespace(log=lambda text, _level: logged.append(text)), respond, FAIL)(request, onion={})
    assert request.said == FAIL
    assert "KeyError" in logged[0]


# --- channels whose names change ---


def test_a_process_that_attaches_later_is_told_the_id_of_the_channel(scenery: PluginHarness) -> None:
    scenery.offer()
    assert scenery.exchange.names() == {"1x2x3"}
    scenery.exchange.identify("1x2x3", channel())
    assert scenery.exchange.names() == set()
    (event,) = scenery.ask(scenery.attach()).said["events"]
    assert event["payload"]["channel_id"] == "cc" * 32
    assert scenery.exchange.answer(KEY, "fail") == {"answered": True}  # by the name that lightningd gave it


def test_a_channel_that_is_not_to_be_found_is_not_looked_for_again(scenery: PluginHarness) -> None:
    scenery.offer()
    scenery.exchange.identify("1x2x3", None)
    assert scenery.exchange.names() == set()
    assert "channel_id" not in scenery.ask(scenery.attach()).said["events"][0]["payload"]


def channel(state: str = "CHANNELD_NORMAL", channel_id: str = "cc" * 32) -> dict[str, Any]:
    """An entry of `listpeerchannels`."""
    return {"channel_id": channel_id, "state": state}


def change(state: str, channel_id: str = "cc" * 32, name: str | None = "1x2x3") -> dict[str, Any]:
    """A `channel_state_changed`."""
    return {"channel_id": channel_id, "short_channel_id": name, "old_state": "CHANNELD_NORMAL", "new_state": state}


@pytest.mark.parametrize("state", ["AWAITING_UNILATERAL", "FUNDING_SPEND_SEEN", "ONCHAIN"])
@pytest.mark.parametrize("known", [True, False], ids=["known by its id", "known by its name"])
def test_what_is_held_of_a_channel_that_goes_on_chain_is_failed_while_lightningd_knows_it(
    scenery: PluginHarness, state: str, known: bool
) -> None:
    session = scenery.attach()
    scenery.offer()
    if known:
        scenery.exchange.identify("1x2x3", channel())
    scenery.exchange.notify("channel_state_changed", change(state, name=None if known else "1x2x3"))
    assert scenery.htlc.said == FAIL
    assert topics(scenery.ask(session)) == ["htlc_accepted", "htlc_given_up", "channel_state_changed"]
    assert scenery.exchange.answer(KEY, "continue") == {"answered": False}


@pytest.mark.parametrize("state", ["CHANNELD_NORMAL", "CHANNELD_AWAITING_SPLICE", "CHANNELD_SHUTTING_DOWN"])
def test_what_can_still_be_answered_is_held(scenery: PluginHarness, state: str) -> None:
    scenery.offer()
    scenery.exchange.notify("channel_state_changed", change(state))
    scenery.exchange.notify("channel_state_changed", change("ONCHAIN", channel_id="dd" * 32, name="9x9x9"))
    assert scenery.htlc.said is None


def test_asked_at_its_start_about_a_channel_that_is_on_chain_it_fails_the_htlc() -> None:
    scenery = PluginHarness()
    scenery.offer()
    scenery.exchange.identify("1x2x3", channel("ONCHAIN"))
    assert scenery.htlc.said == FAIL
