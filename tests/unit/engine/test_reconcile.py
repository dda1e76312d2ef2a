"""Comparing notes with the node, while clients come and go."""

from typing import Any

from asyncpay.engine.lsp.effects import RequestHtlcSnapshot
from asyncpay.engine.lsp.events import HtlcSnapshot
from asyncpay.node_events import PeerConnected, PeerDisconnected

from .given import A, B
from .world import World


class SlowNode(World):
    """A node that takes longer over its list of HTLCs than a client over coming and going."""

    slow = False

    def _carry_out(self, effect: Any) -> None:
        if not (self.slow and isinstance(effect, RequestHtlcSnapshot)):
            super()._carry_out(effect)

    def answer(self, number: int) -> None:
        self.feed(HtlcSnapshot(number, tuple(self._pending())))


def asked(world: World) -> list[int]:
    return [effect.number for effect in world.did(RequestHtlcSnapshot)]


def test_a_client_that_comes_and_goes_all_the_time_keeps_no_result_from_another() -> None:
    """What waits for A is known from the snapshot, and A is told of it by that."""
    world = SlowNode()
    world.pay()
    world.disconnect(A)
    world.effects.clear()
    world.slow = True
    world.feed(PeerDisconnected(B))
    (first,) = asked(world)
    for _ in range(50):
        world.feed(PeerConnected(B))
        world.feed(PeerDisconnected(B))
    assert asked(world) == [first], "one after the other"
    world.answer(first)
    assert A in world.lsp.state.soonest_expiry
    assert len(asked(world)) == 2, "one more, for what has changed since"
    assert world.lsp.state.snapshot_pending
    world.answer(asked(world)[-1])
    assert not world.lsp.state.snapshot_pending


def test_a_new_stream_does_not_wait_for_the_snapshot_of_the_old_one() -> None:
    world = SlowNode()
    world.slow = True
    world.feed(PeerDisconnected(B))
    world.detach()
    before = len(asked(world))
    world.attach()
    assert len(asked(world)) == before + 1
