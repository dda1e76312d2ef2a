"""The story of recorded runs: demo payments on real nodes, whose logs are in recordings/ (without lines of no use)."""

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.timeline import recording, select
from harness.timeline.model import Event, Kind, Timeline, read_story
from harness.timeline.recording import Recording
from harness.timeline.story import tell

RECORDINGS = Path(__file__).parent / "recordings"
EIGHT = [(1, "A"), (2, "LSP_a"), (3, "LSP_a"), (4, "A"), (5, "B"), (6, "B"), (7, "LSP_a"), (8, "A")]


@pytest.fixture(params=["lnd", "mixed", "ldk"])
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def recorded(name: str) -> Recording:
    return recording.read(RECORDINGS / name)


def the_only_payment(story: Timeline) -> Timeline:
    return select.of_payment(story, select.payment_of(story, None))


def test_all_eight_steps_are_told_in_order(name: str) -> None:
    (payment,) = tell(recorded(name)).payments
    assert [(step.number, step.lane) for step in payment.steps] == EIGHT
    times = [step.time for step in payment.steps]
    assert times == sorted(times)
    assert payment.amount_msat == 25_000_000


def test_each_hop_has_its_htlc_with_its_whole_life(name: str) -> None:
    htlcs = tell(recorded(name)).htlcs
    assert [(htlc.from_lane, htlc.to) for htlc in htlcs] == [
        ("A", "LSP_a"),
        ("LSP_a", "router"),
        ("router", "LSP_b"),
        ("LSP_b", "B"),
    ]
    (payment,) = tell(recorded(name)).payments
    assert {htlc.payment_hash for htlc in htlcs} == {payment.payment_hash}
    assert {htlc.end for htlc in htlcs} == {"settled"}
    assert htlcs[0].offered is not None
    assert htlcs[0].held is not None
    assert htlcs[0].ended is not None
    assert htlcs[0].offered < htlcs[0].held < htlcs[0].ended
    assert htlcs[0].resolved is not None
    assert htlcs[0].held < htlcs[0].resolved <= htlcs[0].ended
    assert htlcs[0].resolution == {"lnd": "settle", "mixed": "resume", "ldk": "resume"}[name], (
        "LND's LSP pays in the payer's place"
    )
    assert htlcs[0].ended - htlcs[0].held > 1, "it was held while A and B were away"
    amounts = [htlc.amount_msat or 0 for htlc in htlcs]
    assert amounts == sorted(amounts, reverse=True), "each hop keeps its fee"
    assert amounts[-1] == 25_000_000


def test_a_message_is_one_event_whatever_both_ends_say(name: str) -> None:
    events = tell(recorded(name)).events
    offers = [event for event in events if event.what == "update_add_htlc"]
    assert len(offers) == 4
    messages = [event for event in events if event.kind in (Kind.HTLC, Kind.ONION)]
    assert len([event for event in messages if event.kind is Kind.ONION]) >= 10
    assert all(event.arrived is not None for event in messages)
    assert all(-0.5 < (event.arrived or 0) - event.time < 2 for event in messages)


def test_a_story_survives_its_json(name: str) -> None:
    import json

    story = tell(recorded(name))
    assert read_story(json.dumps(story.as_json()).encode(), "x") == story


def test_what_is_told_of_a_payment_leaves_out_what_was_long_before_it(name: str) -> None:
    story = tell(recorded(name))
    about = the_only_payment(story)
    assert 0 < len(about.events) < len(story.events)
    assert not [event for event in about.events if event.what == "attached"]
    assert {Kind.DECISION, Kind.HTLC, Kind.ONION, Kind.PUSH, Kind.PEER} <= {event.kind for event in about.events}


def test_blocks_that_are_mined_together_are_one_event(name: str) -> None:
    blocks = [event for event in tell(recorded(name)).events if event.kind is Kind.BLOCK]
    assert blocks
    assert len(blocks) < max(event.height_blocks or 0 for event in blocks)


def damaged(name: str, change: Callable[[Recording], None]) -> Timeline:
    recording = recorded(name)
    change(recording)
    return tell(recording)


def test_a_torn_last_line_is_said_and_the_rest_is_told(name: str) -> None:
    def tear(recording: Recording) -> None:
        log = recording.logs["LSP_a-lsp"]
        recording.logs["LSP_a-lsp"] = log[: log.rindex(b'"what"') + 4]

    story = damaged(name, tear)
    assert "1 lines of LSP_a-lsp are incomplete or damaged, and omitted" in story.problems
    assert len(story.payments[0].steps) == 8


def test_a_log_that_is_gone_takes_its_own_view_along_and_no_more(name: str) -> None:
    def lose(recording: Recording) -> None:
        del recording.logs["router"]

    story = damaged(name, lose)
    assert len(story.htlcs) == 4, "its neighbours have seen them"
    assert [(step.number, step.lane) for step in story.payments[0].steps] == EIGHT


def test_a_process_with_a_clock_of_its_own_is_put_where_it_belongs(name: str) -> None:
    """A component whose clock shows an hour later: its lines are where the engine took them, and it is said."""
    import re

    def later(recording: Recording) -> None:
        log = recording.logs["LSP_a-lsp"]
        recording.logs["LSP_a-lsp"] = re.sub(
            rb'"time": (\d+\.\d+)', lambda time: b'"time": %.3f' % (float(time[1]) + 3600), log
        )

    story = damaged(name, later)
    assert [(step.number, step.lane) for step in story.payments[0].steps] == EIGHT
    of_lsp = [event for event in story.events if event.source == "LSP_a-lsp"]
    assert of_lsp
    assert all(3590 < (event.clock_offset_seconds or 0) < 3610 for event in of_lsp)
    times = [step.time for step in story.payments[0].steps]
    assert times == sorted(times)


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_no_log_whatever_is_in_it_makes_an_error(data: st.DataObject) -> None:
    recording = recorded("mixed")
    service = data.draw(st.sampled_from(sorted(recording.logs)))
    log = recording.logs[service]
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(log)))
        log = log[:at] + data.draw(st.binary(max_size=60)) + log[at + data.draw(st.integers(0, 200)) :]
    recording.logs[service] = log
    recording.actions = data.draw(st.binary(max_size=200))
    story = tell(recording)
    assert [event.time for event in story.events] == sorted(event.time for event in story.events)


def test_numbers_and_texts_of_a_log_stay_within_bounds() -> None:
    recording = recorded("lnd")
    stamp = b"2026-11-27T19:10:40.000000000Z "
    recording.logs["LSP_a-lsp"] += b"\n".join(
        stamp + line
        for line in (
            b'{"time": 1e400, "what": "held"}',
            b'{"time": -5, "what": "held", "amount_msat": 99999999999999999999999}',
            b'{"time": true, "what": "held", "payment_hash": ["x"], "payment_hashes": "no list", "block": 7}',
            b'{"time": 1795806640.0, "what": "' + b"x" * 50_000 + b'", "because": {"a": [1, 2]}}',
            b'{"time": 1795806640.0, "what": "held", "because": "\\ud800 half", "app_name": "\\udfff"}',
            b'{"what": 7}',
            b"[" * 5_000,
            b'{"a": ' + b"[" * 50_000,
            b"{}",
            b"",
        )
    )
    story = tell(recording)
    added = [event for event in story.events if event.source == "LSP_a-lsp" and event.time >= 1795806640 - 0.1]
    assert len([event for event in added if event.what == "held"]) == 4
    assert [event.because for event in added if event.because.endswith("half")] == ["? half"]
    assert max(len(event.what) for event in added) <= 500
    assert "3 lines of LSP_a-lsp are incomplete or damaged, and omitted" in story.problems


def test_a_payment_is_found_by_the_first_digits_of_its_hash() -> None:
    from harness.errors import TestbedError

    story = tell(recorded("lnd"))
    (payment,) = story.payments
    assert select.payment_of(story, payment.payment_hash[:4].upper()) == payment
    with pytest.raises(TestbedError, match=f"there is none. The last ones: {payment.payment_hash[:8]}"):
        select.payment_of(story, "zz")
    other = Event(time=1, lane="A", kind=Kind.DECISION, what="x")
    with pytest.raises(TestbedError, match="there is no payment in this timeline"):
        select.payment_of(story.model_copy(update={"payments": (), "events": (other,)}), None)
