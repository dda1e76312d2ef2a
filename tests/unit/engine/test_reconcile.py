"""Comparing notes with the node, while clients come and go."""

from typing import Any

from asyncpay.engine.lsp.effects import RequestHtlcSnapshot
from asyncpay.engine.lsp.events import HtlcSnapshot
from asyncpay.node_events import PeerConnected, PeerDisconnected

from .factories import A, B
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
    harness.disconnect(A)
    harness.effects.clear()
    harness.slow = True
    harness.feed(PeerDisconnected(B))
    (first,) = asked(harness)
    for _ in range(50):
        harness.feed(PeerConnected(B))
        harness.feed(PeerDisconnected(B))
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
