"""The pid releases a payment, wherever the LSP sees it; any other value does not."""

import secrets
from collections.abc import Callable

import pytest

from asyncpay.node_events import OnionReceived
from asyncpay.wire import blinding, onion
from asyncpay.wire.blinding import Hop, HopData
from asyncpay.wire.messages import BlockState, BlockStatus, PaymentRelease, ReleaseStatus, release_path_id
from asyncpay.wire.onion import Payload
from harness.waits import Predicate, wait_for
from tests.support.implementations import capabilities
from tests.support.scripted_peer import Hold, ScriptedPeer

from .hold_harness import HoldHarness


def to_the_lsp(hold: Hold) -> list[Hop]:
    return [Hop(hold.lsp_id, HopData(path_id=hold.pid, payment_unblock=hold.pid))]


def through_the_lsp(hold: Hold) -> list[Hop]:
    onwards = HopData(next_node_id=hold.payer.node_id, payment_unblock=hold.pid)
    return [Hop(hold.lsp_id, onwards), Hop(hold.payer.node_id, HopData(path_id=release_path_id(hold.pid)))]


def send(sender: ScriptedPeer, hops: list[Hop], content: bytes | None) -> None:
    path = blinding.build(hops, secrets.token_bytes(32))
    message = onion.build(path, Payload(async_payment=content), secrets.token_bytes(32))
    sender.run(sender.node.send_onion(hops[0].node_id, message))


@pytest.mark.parametrize("path", [to_the_lsp, through_the_lsp])
@pytest.mark.parametrize("says_so", [True, False], ids=["payment_release", "path alone"])
def test_path_of_the_payer_releases(payments: HoldHarness, path: Callable[[Hold], list[Hop]], says_so: bool) -> None:
    hold = payments.hold().ask().pay().update(BlockState.HELD)

    send(payments.b, path(hold), PaymentRelease(pid=hold.pid).encode() if says_so else None)

    if path is through_the_lsp and not capabilities(payments.testbed, "LSP").transit_release:
        pass_on(payments, hold, says_so)
    hold.update(BlockState.SETTLED)
    payments.assert_paid(hold)


def pass_on(payments: HoldHarness, hold: Hold, says_so: bool) -> None:
    """A release that the LSP cannot read reaches the payer, who passes it on to the LSP."""
    known_by = release_path_id(hold.pid)

    def missing() -> str | None:
        got = [event for event in payments.a.events if isinstance(event, OnionReceived) and event.path_id == known_by]
        return None if [event.async_payment is not None for event in got] == [says_so] else f"A got {got}"

    wait_for(Predicate("release_at_the_payer", missing))
    payments.assert_held(hold, 1)
    payments.a.send(hold.lsp_id, PaymentRelease(pid=hold.pid))


def test_pid_releases_its_own_payment_only(payments: HoldHarness) -> None:
    hold = payments.hold().ask().pay(parts=2).update(BlockState.HELD, 2)
    other = payments.hold().ask().pay().update(BlockState.HELD)

    for _ in ("shown", "replayed"):
        assert payments.release(hold, other.pid) is ReleaseStatus.RELEASED
        other.update(BlockState.SETTLED)
        payments.assert_held(hold, 2)

    assert payments.release(hold) is ReleaseStatus.RELEASED
    payments.assert_paid(hold, other)


def test_guessed_pid_releases_nothing(payments: HoldHarness) -> None:
    hold = payments.hold().ask().pay().update(BlockState.HELD)

    almost = hold.pid[:-1] + bytes([hold.pid[-1] ^ 1])
    for guess in (secrets.token_bytes(32), bytes(32), almost, hold.request.unblock_hash, hold.invoice.payment_hash):
        assert payments.release(hold, guess) is ReleaseStatus.UNKNOWN

    payments.assert_held(hold, 1)
    assert payments.release(hold) is ReleaseStatus.RELEASED
    payments.assert_paid(hold)


def test_pids_that_disagree_release_nothing(payments: HoldHarness) -> None:
    hold = payments.hold().ask().pay().update(BlockState.HELD)
    earlier = len(payments.logged("message dropped"))

    send(payments.b, to_the_lsp(hold), PaymentRelease(pid=secrets.token_bytes(32)).encode())

    wait_for(Predicate("dropped", lambda: None if len(payments.logged("message dropped")) > earlier else "not dropped"))
    payments.assert_held(hold, 1)
    assert payments.release(hold) is ReleaseStatus.RELEASED
    payments.assert_paid(hold)


def test_pid_of_a_payment_that_ended_is_of_no_more_use(payments: HoldHarness) -> None:
    ended = payments.hold().ask().pay().update(BlockState.HELD)
    ended.cancel()
    ended.update(BlockState.FAILED_BACK)

    assert payments.release(ended) is ReleaseStatus.TOO_LATE
    payments.hold(unblock_hash=ended.request.unblock_hash).ask(BlockStatus.CONFLICT)

    payments.assert_returned(ended)
