"""The payer's message to the payee, sent again by the LSP."""

import math
from collections import defaultdict
from hashlib import sha256
from itertools import pairwise
from typing import Any

import pytest

from asyncpay.engine.core import Tick
from asyncpay.engine.lsp.interface import CourierSent, Relay
from asyncpay.engine.lsp.states import State
from asyncpay.engine.policy import LspPolicy
from asyncpay.lightning import NodeId
from asyncpay.wire.messages import Courier, unblock_hash

from .factories import CHANNEL_A, CHANNEL_B, ROUTER, START, STRANGER, A, B, CautiousHop, cln, courier
from .harness import LspHarness


def blocked(**changes: Any) -> LspHarness:
    harness = LspHarness()
    harness.block(courier=courier(), **changes)
    return harness


def times(harness: LspHarness, seconds: float) -> list[float]:
    """When the courier was sent, in seconds from now."""
    begin, found = harness.now, []
    while harness.now < begin + seconds:
        before = len(harness.did(Relay))
        harness.sleep(1)
        found += [harness.now - begin] * (len(harness.did(Relay)) - before)
    return found


def test_not_before_all_parts_are_held() -> None:
    harness = blocked(amount_msat=2000)
    harness.pay()
    harness.sleep(60)
    assert harness.did(Relay) == []


def test_5_seconds_after_held_then_at_most_doubling_to_10_minutes() -> None:
    harness = blocked()
    harness.pay()
    sent = times(harness, 3000)
    intervals = [sent[0], *(later - earlier for earlier, later in pairwise(sent))]
    for interval, most in zip(intervals, [5, 10, 20, 40, 80, 160, 320, 600, 600, 600], strict=False):
        assert 0.75 * most - 1 <= interval <= most + 1
    assert len(intervals) >= 10
    assert harness.did(Relay)[0].message.packet == courier().onion
    assert harness.did(Relay)[0].client == A


@pytest.mark.parametrize("end", ["release", "due", "refusal", "cancel", "deadline"])
def test_until_release_refusal_or_end(end: str) -> None:
    harness = blocked(hold_until=int(START) + 100)
    if end == "due":
        harness.disconnect(ROUTER)
    harness.pay()
    harness.sleep(20)
    match end:
        case "refusal":
            harness.refuse()
        case "cancel":
            harness.cancel()
        case "deadline":
            harness.sleep(81)
        case _:
            harness.release()
    assert harness.state() is not State.HELD
    harness.effects.clear()
    harness.sleep(3600)
    assert harness.did(Relay) == []


def test_it_goes_on_after_a_crash_where_it_was() -> None:
    harness = blocked()
    harness.pay()
    harness.sleep(16)
    undisturbed = blocked()
    undisturbed.pay()
    undisturbed.sleep(16)
    harness.restart()
    harness.effects.clear()
    undisturbed.effects.clear()
    assert times(harness, 100) == times(undisturbed, 100) != []


def test_it_waits_for_the_node() -> None:
    harness = blocked()
    harness.block(unblock_hash=bytes(32), payment_hashes=(bytes(32),), hold_until=int(START) + 60)
    harness.pay()
    harness.detach()
    harness.sleep(600)
    assert harness.did(Relay) == []
    harness.attach()
    assert len(harness.did(Relay)) == 1


def test_it_goes_on_for_as_long_as_anything_may_be_held() -> None:
    """Two weeks are more doublings than a float has room for."""
    harness = LspHarness(policy=LspPolicy(courier_first_seconds=5.0))
    harness.block(courier=courier(), hold_until=int(START) + LspPolicy().max_hold_seconds)
    harness.pay()
    harness.sleep(LspPolicy().max_hold_seconds - 1)
    assert len(harness.did(Relay)) > 1024


# --- many of them ---


def hold(harness: LspHarness, number: int, client: bytes = A) -> None:
    """A held block of this client with a courier of its own."""
    payment_hash = sha256(b"preimage %d" % number).digest()
    message = Courier(path_key=B, onion=number.to_bytes(1366, "big"))
    harness.block(client, pid=number.to_bytes(32, "big"), payment_hashes=(payment_hash,), courier=message)
    channel = CHANNEL_A if client == A else CHANNEL_B
    harness.pay(payment_hash=payment_hash, peer=client, channel=channel)


def follow(harness: LspHarness, seconds: float) -> dict[NodeId | None, CautiousHop]:
    """What reaches and passes each next hop in this time, and at its beginning."""
    hops: defaultdict[NodeId | None, CautiousHop] = defaultdict(CautiousHop)
    end = harness.now + seconds
    while True:
        for relay in harness.did(Relay):
            hops[harness.next_hop_of(relay)].take(harness.now, relay.message.packet)
        harness.effects.clear()
        if harness.engine.next_deadline > end:
            break
        harness.now = max(harness.now, harness.engine.next_deadline)
        harness.feed(Tick())
    harness.now = end
    return hops


def all_due(harness: LspHarness) -> None:
    """The node was away, so all couriers are late; where they go was told before."""
    harness.sleep(300)
    harness.detach()
    harness.sleep(900)
    harness.effects.clear()
    harness.attach()


def test_couriers_that_were_due_together_all_get_through() -> None:
    """After the node was away they are all late. A next hop that limits its rate loses none, now or later."""
    harness = LspHarness(cln())
    for number in range(60):
        hold(harness, number)
    all_due(harness)
    hop = follow(harness, 2 * 3600)[None]
    assert len(set(hop.passed)) == 60
    assert hop.dropped == 0


def test_one_clients_many_couriers_do_not_delay_anothers() -> None:
    harness = LspHarness(cln())
    harness.detach()
    harness.attach()
    for number in range(400):
        hold(harness, number)
    harness.sleep(60)
    hold(harness, 1000, client=B)
    harness.effects.clear()
    hop = follow(harness, 10)[None]
    assert len(hop.passed) == 20, "the greedy one has all that is left"
    assert (1000).to_bytes(1366, "big") in hop.passed


def test_their_pace_outlives_a_clock_that_is_set_back() -> None:
    harness = LspHarness(cln())
    for number in range(10):
        hold(harness, number)
    harness.sleep(10)
    harness.now -= 3000
    harness.feed(Tick())
    assert harness.engine.next_deadline > harness.now
    harness.sleep(3600)
    assert len({effect.message.packet for effect in harness.did(Relay)}) == 10


# --- by next hop ---


def number_of(relay: Relay) -> int:
    return int.from_bytes(relay.message.packet, "big")


def test_a_flooded_next_hop_delays_no_courier_to_another() -> None:
    """All of one client: one of its payees is behind another next hop than the 200 others."""
    harness = LspHarness()
    harness.next_hop_of = lambda relay: B if number_of(relay) == 1000 else ROUTER
    for number in [*range(200), 1000]:
        hold(harness, number)
    all_due(harness)
    hops = follow(harness, 3)
    assert len(hops[B].passed) == 1
    assert 5 <= len(hops[ROUTER].passed) <= 7
    assert hops[ROUTER].dropped == 0


def test_each_next_hop_gets_all_of_its_couriers() -> None:
    harness = LspHarness()
    harness.next_hop_of = lambda relay: (B, ROUTER, STRANGER)[number_of(relay) % 3]
    for number in range(60):
        hold(harness, number)
    all_due(harness)
    hops = follow(harness, 11)
    assert [len(set(hops[each].passed)) for each in (B, ROUTER, STRANGER)] == [20] * 3, "10 s for 20 of each"
    assert sum(hop.dropped for hop in hops.values()) == 0


def test_in_a_next_hop_the_clients_take_turns() -> None:
    harness = LspHarness()
    harness.next_hop_of = lambda _: ROUTER
    for number in range(200):
        hold(harness, number)
    hold(harness, 1000, client=B)
    all_due(harness)
    assert (1000).to_bytes(1366, "big") in follow(harness, 2)[ROUTER].passed


def test_many_next_hops_at_a_time_have_a_pace_together() -> None:
    harness = LspHarness()
    harness.next_hop_of = lambda relay: bytes([2]) + number_of(relay).to_bytes(32, "big")
    for number in range(200):
        hold(harness, number)
    all_due(harness)
    begin = len(follow(harness, 1))
    assert 48 <= begin <= 52
    assert begin + len(follow(harness, 3.5)) >= 200


def test_a_courier_whose_next_hop_is_told_while_it_waits_leaves_for_it() -> None:
    harness = LspHarness()
    for number in range(100):
        hold(harness, number)
    all_due(harness)
    follow(harness, 1)
    blocks = harness.engine.state.records.blocks.values()
    waiting = next(block.key for block in blocks if (block.courier_next_at or math.inf) < harness.now)
    harness.feed(CourierSent(waiting, B))
    harness.next_hop_of = lambda relay: B if relay.block == waiting else None
    assert len(follow(harness, 0.1)[B].passed) == 1


def test_a_courier_is_sent_on_with_its_next_hop_once_that_was_told() -> None:
    harness = blocked()
    harness.next_hop_of = lambda _: B
    harness.pay()
    harness.sleep(60)
    assert [relay.next_hop for relay in harness.did(Relay)][:2] == [None, B]


def test_nothing_is_remembered_of_the_next_hops_of_what_has_ended() -> None:
    harness = LspHarness()
    harness.next_hop_of = lambda relay: bytes([2]) + number_of(relay).to_bytes(32, "big")
    for number in range(20):
        hold(harness, number)
    all_due(harness)
    couriers = harness.engine.state.schedule.couriers
    assert len(couriers.known) == 20
    for number in range(20):
        harness.cancel(pid=number.to_bytes(32, "big"))
    assert couriers.known == frozenset()
    assert couriers.first(harness.now) == math.inf
    harness.feed(CourierSent(unblock_hash(bytes(32)), B))
    assert couriers.known == frozenset(), "it was told too late"
