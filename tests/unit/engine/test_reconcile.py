"""Comparing notes with the node, while clients come and go."""

from typing import Any

from asyncpay.engine.lsp.interface import HtlcSnapshot, RequestHtlcSnapshot
from asyncpay.node_events import PeerConnected, PeerDisconnected

from .factories import CHANNEL_B, A, B
from .harness import LspHarness


class SlowNode(LspHarness):
    """A node that takes longer over its list of HTLCs than a client over coming and going."""

    slow = False

    def _carry_out(self, effect: Any) -> None:
        if not (self.slow and isinstance(effect, RequestHtlcSnapshot)):
            super()._carry_out(effect)

    def answer(self, number: int) -> None:
        self.feed(HtlcSnapshot(number, tuple(self._pending())))


def asked(harness: LspHarness) -> list[int]:
    return [effect.number for effect in harness.did(RequestHtlcSnapshot)]


def test_a_client_that_comes_and_goes_all_the_time_keeps_no_result_from_another() -> None:
    """What waits for A is known from the snapshot, and A is told of it by that."""
    harness = SlowNode()
    harness.pay()
    harness.pay(peer=B, channel=CHANNEL_B)
    harness.disconnect(A)
    harness.sleep(2)
    harness.effects.clear()
    harness.slow = True
    harness.feed(PeerDisconnected(B))
    (first,) = asked(harness)
    for _ in range(50):
        harness.feed(PeerConnected(B))
        harness.feed(PeerDisconnected(B))
        harness.sleep(2)
    assert asked(harness) == [first], "one after the other"
    harness.answer(first)
    assert A in harness.engine.state.soonest_expiry
    assert len(asked(harness)) == 2, "one more, for what has changed since"
    assert harness.engine.state.snapshot_pending
    harness.answer(asked(harness)[-1])
    assert not harness.engine.state.snapshot_pending


def test_a_new_stream_does_not_wait_for_the_snapshot_of_the_old_one() -> None:
    harness = SlowNode()
    harness.slow = True
    harness.feed(PeerDisconnected(B))
    harness.detach()
    before = len(asked(harness))
    harness.attach()
    assert len(asked(harness)) == before + 1


def test_a_client_that_has_nothing_to_come_back_for_causes_no_snapshot() -> None:
    harness = LspHarness()
    harness.block()
    harness.pay()
    harness.effects.clear()
    harness.disconnect(B)
    harness.disconnect(A)  # its part is held: nothing is decided yet
    assert asked(harness) == []
    harness.release()
    harness.connect(A)
    harness.effects.clear()
    harness.disconnect(A)
    assert len(asked(harness)) == 1


def test_clients_that_leave_one_after_the_other_cause_one_snapshot_a_second() -> None:
    harness = LspHarness()
    harness.pay()
    harness.pay(peer=B, channel=CHANNEL_B)
    harness.effects.clear()
    for _ in range(10):
        for client in (A, B):
            harness.feed(PeerDisconnected(client))
            harness.feed(PeerConnected(client))
    assert len(asked(harness)) == 1
    harness.sleep(0.9)
    assert len(asked(harness)) == 1
    harness.sleep(0.2)
    assert len(asked(harness)) == 2, "what has changed since is not missed"
    harness.sleep(10)
    assert len(asked(harness)) == 2


def test_a_long_list_is_gone_through_in_slices_and_events_are_handled_meanwhile() -> None:
    harness = LspHarness()
    gone, kept = [harness.pay() for _ in range(7)], [harness.pay() for _ in range(7)]
    harness.engine.slice_size = 3
    for key in gone:
        del harness.htlcs[key]  # its HtlcGone was lost
    harness.mine(1)
    known = harness.engine.state.records.htlcs
    assert harness.engine.state.reconciliation is not None
    assert harness.engine.next_deadline < harness.now + 0.02, "the rest follows soon"
    late = harness.pay()  # not on the list
    harness.sleep(1)
    assert harness.engine.state.reconciliation is None
    assert set(known) == {*kept, late}


def test_a_snapshot_that_is_wanted_while_a_list_is_gone_through_follows_it() -> None:
    harness = LspHarness()
    for _ in range(10):
        harness.pay()
    harness.engine.slice_size = 3
    harness.mine(1)
    harness.effects.clear()
    harness.mine(1)
    assert asked(harness) == [], "the list that has come is not thrown away"
    harness.sleep(1)
    assert len(asked(harness)) == 1
    assert harness.engine.state.reconciliation is None


def test_at_the_very_first_start_no_crash_comes_between_two_slices() -> None:
    """What passed without this LSP must never be held or failed: the whole list is stored in one transaction."""
    harness = SlowNode()
    for _ in range(5):
        harness.pay()
    harness.stored.clear()  # a new store, beside a node with HTLCs
    harness.slow = True
    harness.start()
    harness.engine.slice_size = 2
    harness.answer(asked(harness)[-1])
    assert set(harness.engine.state.records.htlcs) == set(harness.htlcs)
