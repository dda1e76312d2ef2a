"""block_request and cancel_request: who is answered, and with what."""

from typing import Any

import pytest

from asyncpay.engine.lsp.interface import BlockRequested, SendToClient
from asyncpay.engine.lsp.records import BLOCK_BYTES
from asyncpay.engine.lsp.states import State
from asyncpay.engine.policy import LspPolicy
from asyncpay.wire.messages import BlockReply, BlockState, BlockStatus, Courier, unblock_hash

from .factories import HASH, HEIGHT, PID, PREIMAGE, START, STRANGER, A, B, cln, courier, invoice, request
from .harness import LspHarness

OTHER_PID = b"q" * 32
OTHER_HASH = b"h" * 32


def statuses(effects: list[Any]) -> list[BlockStatus]:
    return [
        effect.message.status
        for effect in effects
        if isinstance(effect, SendToClient) and isinstance(effect.message, BlockReply)
    ]


def test_a_good_request_is_accepted_and_told_so() -> None:
    harness = LspHarness()
    assert statuses(harness.block()) == [BlockStatus.ACCEPTED]
    assert harness.state() is State.ACCEPTED


NOW = int(START)
POLICY = LspPolicy(pace_seconds=0, max_amount_msat=5000, max_hold_seconds=1000, max_hold_blocks=500)
OK = BlockStatus.ACCEPTED
BAD = BlockStatus.BAD_VALUE


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"amount_msat": 5000}, OK),
        ({"amount_msat": 5001}, BlockStatus.AMOUNT_TOO_LARGE),
        ({"amount_msat": 0}, BAD),
        ({"hold_until": NOW + 1000}, OK),
        ({"hold_until": NOW + 1001}, BlockStatus.HOLD_TOO_LONG),
        ({"hold_until": NOW}, OK),
        ({"hold_until": NOW - 1}, BAD),
        ({"release_by_height": HEIGHT + 500}, OK),
        ({"release_by_height": HEIGHT + 501}, BlockStatus.HOLD_TOO_LONG),
        ({"release_by_height": HEIGHT}, OK),
        ({"release_by_height": HEIGHT - 1}, BAD),
        ({"payment_hashes": (HASH, OTHER_HASH)}, OK),
        ({"payment_hashes": (HASH, HASH)}, BAD),
        ({"courier": courier()}, OK),
        ({"courier": Courier(path_key=bytes(33), onion=bytes(1366))}, BAD),
        ({"invoice": "lnbcrt1"}, OK),
        ({"invoice": "nonsense", "read_as": None}, BAD),
        ({"invoice": "x", "read_as": invoice(payment_hash=OTHER_HASH)}, BAD),
        ({"invoice": "x", "read_as": invoice(amount_msat=999)}, BAD),
        ({"invoice": "x", "read_as": invoice(amount_msat=None)}, BAD),
        ({"invoice": "x", "read_as": invoice(network="bitcoin")}, BAD),
        ({"invoice": "x", "read_as": invoice(expires_at=NOW)}, BAD),
        ({"invoice": "x", "read_as": invoice(has_blinded_paths=True)}, BAD),
        ({"invoice": "x", "read_as": invoice(expires_at=NOW + 1)}, OK),
        ({"invoice": "x", "payment_hashes": (HASH, OTHER_HASH)}, BAD),
    ],
)
def test_values_and_limits_at_their_edges(changes: dict[str, Any], status: BlockStatus) -> None:
    harness = LspHarness(policy=POLICY)
    values = {"hold_until": NOW + 500, **changes}
    assert statuses(harness.block(**values)) == [status]
    assert (harness.state() is State.ACCEPTED) == (status is OK)


def test_a_refusal_says_why() -> None:
    harness = LspHarness()
    (reply,) = (effect.message for effect in harness.block(amount_msat=0) if isinstance(effect, SendToClient))
    assert isinstance(reply, BlockReply)
    assert "amount" in (reply.reason or "")


def test_the_same_request_again_is_answered_the_same_and_changes_nothing() -> None:
    harness = LspHarness()
    harness.block()
    stored = dict(harness.stored)
    assert statuses(harness.block()) == [OK]
    assert harness.stored == stored


def test_the_same_request_again_brings_the_current_state() -> None:
    harness = LspHarness()
    harness.block()
    harness.pay()
    harness.effects.clear()
    harness.block()
    assert harness.updates() == [(BlockState.HELD, 1)]


def test_the_clock_is_looked_at_before_the_request() -> None:
    harness = LspHarness()
    harness.block()
    harness.pay()
    harness.now += 86_401  # nobody has ticked
    harness.effects.clear()
    harness.block()
    assert BlockState.HELD not in dict(harness.updates())


@pytest.mark.parametrize(
    "changes",
    [
        {"amount_msat": 1001},  # same unblock_hash, another digest
        {"unblock_hash": unblock_hash(OTHER_PID)},  # same payment hash under another pid
    ],
)
def test_conflicts(changes: dict[str, Any]) -> None:
    harness = LspHarness()
    harness.block()
    assert statuses(harness.block(**changes)) == [BlockStatus.CONFLICT]
    assert harness.state() is State.ACCEPTED
    assert harness.state(OTHER_PID) is None


def test_an_unblock_hash_is_unique_in_the_lsp() -> None:
    harness = LspHarness()
    harness.block()
    assert statuses(harness.block(client=B)) == [BlockStatus.CONFLICT]


def test_another_client_may_block_the_same_payment_hash() -> None:
    harness = LspHarness()
    harness.block(client=B, unblock_hash=unblock_hash(OTHER_PID))
    assert statuses(harness.block()) == [OK]
    harness.pay()
    assert harness.state() is State.HELD
    assert harness.state(OTHER_PID) is State.ACCEPTED


def test_a_finished_block_is_never_reactivated() -> None:
    harness = LspHarness()
    harness.block()
    key = harness.pay()
    harness.cancel()
    harness.effects.clear()
    assert statuses(harness.block()) == [OK]
    assert harness.updates() == [(BlockState.FAILED_BACK, 1)]
    assert statuses(harness.block(unblock_hash=unblock_hash(OTHER_PID))) == [BlockStatus.CONFLICT]
    assert harness.state() is State.FAILED_BACK
    assert harness.htlcs[key].fate.startswith("failed")


def test_a_tombstone_goes_when_both_its_deadlines_have_passed() -> None:
    harness = LspHarness()
    harness.block()
    harness.mine_to(HEIGHT + 433)
    assert harness.state() is State.FAILED_BACK
    harness.sleep(86_400)
    harness.mine()
    assert harness.state() is State.FAILED_BACK  # hold_until itself is not past
    harness.sleep(1)
    harness.mine()
    assert harness.state() is None


def test_a_tombstone_stays_for_the_last_block_in_which_a_release_was_allowed() -> None:
    harness = LspHarness()
    harness.block()
    harness.sleep(86_401)
    harness.mine_to(HEIGHT + 432)
    assert harness.state() is State.FAILED_BACK
    harness.mine()
    assert harness.state() is None


def test_a_request_replayed_after_its_tombstone_is_refused() -> None:
    harness = LspHarness()
    harness.block()
    harness.mine_to(HEIGHT + 433)
    harness.sleep(86_401)
    harness.mine()
    assert statuses(harness.block()) == [BAD]


def test_blocks_in_force_are_counted_by_client() -> None:
    harness = LspHarness(policy=LspPolicy(pace_seconds=0, max_holds=2))
    for number in range(2):
        pid = bytes([number]) * 32
        changes: dict[str, Any] = {"unblock_hash": unblock_hash(pid), "payment_hashes": (pid,)}
        assert statuses(harness.block(**changes)) == [OK]
    assert statuses(harness.block()) == [BlockStatus.TOO_MANY_HOLDS]
    assert statuses(harness.block(client=B)) == [OK]


def test_tombstones_are_counted_too() -> None:
    harness = LspHarness(policy=LspPolicy(pace_seconds=0, max_blocks=2))
    for number in range(2):
        pid = bytes([number]) * 32
        harness.block(unblock_hash=unblock_hash(pid), payment_hashes=(pid,))
        harness.cancel(pid=pid)
    assert statuses(harness.block()) == [BlockStatus.TOO_MANY_HOLDS]


def test_nobody_without_a_channel_is_answered() -> None:
    harness = LspHarness()
    assert not [effect for effect in harness.block(client=STRANGER) if isinstance(effect, SendToClient)]
    assert harness.state() is None


def test_without_its_node_the_lsp_is_unavailable() -> None:
    harness = LspHarness()
    harness.detach()
    effects = harness.feed(BlockRequested(A, request()))
    assert statuses(effects) == [BlockStatus.UNAVAILABLE]
    assert harness.state() is None


def test_cancel_before_between_and_after_the_parts() -> None:
    for parts in (0, 1, 2):
        harness = LspHarness()
        harness.block(amount_msat=2000)
        keys = [harness.pay() for _ in range(parts)]
        harness.cancel()
        assert harness.state() is State.FAILED_BACK
        assert harness.fates() == ["failed"] * parts
        assert harness.updates()[-1] == (BlockState.FAILED_BACK, parts)
        late = harness.pay()
        assert harness.htlcs[late].fate.startswith("failed")
        assert len(keys) == parts


def test_cancel_is_too_late_after_the_release() -> None:
    harness = LspHarness()
    harness.block()
    harness.pay()
    harness.release()
    harness.effects.clear()
    harness.cancel()
    assert harness.updates() == [(BlockState.RELEASED, 1)]
    assert harness.fates() == ["forwarded"]


def test_cancelling_an_unknown_block_is_answered_so_that_the_payer_can_rest() -> None:
    harness = LspHarness()
    harness.cancel()
    assert harness.updates() == [(BlockState.FAILED_BACK, 0)]
    assert harness.state() is None


def test_a_stranger_cancels_nothing_and_learns_nothing() -> None:
    harness = LspHarness()
    harness.block()
    harness.pay()
    harness.cancel(client=B)
    assert harness.state() is State.HELD
    assert harness.updates(B) == [(BlockState.FAILED_BACK, 0)]
    assert not [effect for effect in harness.cancel(client=STRANGER) if isinstance(effect, SendToClient)]


def test_values_are_the_same_on_cln() -> None:
    harness = LspHarness(cln())
    assert statuses(harness.block()) == [OK]
    assert PREIMAGE != PID


def ask(harness: LspHarness, client: bytes, number: int, **changes: Any) -> BlockStatus:
    payment_hash = number.to_bytes(32, "big")
    effects = harness.block(client, pid=payment_hash, payment_hashes=(payment_hash,), **changes)
    messages = [effect.message for effect in effects if isinstance(effect, SendToClient)]
    return next(message.status for message in messages if isinstance(message, BlockReply))


def test_bytes_of_a_client() -> None:
    """An invoice may be as long as a message: without this limit a client could have 9 MB of them kept."""
    harness = LspHarness(policy=LspPolicy(pace_seconds=0, max_block_bytes=20_000))
    long_invoice = "x" * 7_000
    invoices = (invoice(payment_hash=number.to_bytes(32, "big"), text=long_invoice) for number in range(3))
    asked = [ask(harness, A, number, invoice=long_invoice, read_as=read) for number, read in enumerate(invoices)]
    assert asked == [BlockStatus.ACCEPTED, BlockStatus.ACCEPTED, BlockStatus.TOO_MANY_HOLDS]
    assert ask(harness, A, 3) is BlockStatus.ACCEPTED
    assert ask(harness, B, 4) is BlockStatus.ACCEPTED


def test_bytes_of_all_clients_never_keep_out_one_that_has_few() -> None:
    harness = LspHarness(policy=LspPolicy(pace_seconds=0, max_all_block_bytes=10_000, assured_block_bytes=4_000))
    greedy = [ask(harness, A, number, courier=courier()) for number in range(10)]
    honest = [ask(harness, B, 100 + number, courier=courier()) for number in range(3)]
    assert greedy == [BlockStatus.ACCEPTED] * 5 + [BlockStatus.TOO_MANY_HOLDS] * 5
    assert honest == [BlockStatus.ACCEPTED] * 2 + [BlockStatus.TOO_MANY_HOLDS]


def test_bytes_of_forgotten_blocks_are_free_again() -> None:
    harness = LspHarness(policy=LspPolicy(pace_seconds=0, max_block_bytes=BLOCK_BYTES))
    assert ask(harness, A, 1, hold_until=int(START) + 60, release_by_height=HEIGHT + 1) is BlockStatus.ACCEPTED
    assert ask(harness, A, 2) is BlockStatus.TOO_MANY_HOLDS
    harness.sleep(61)
    for _ in range(2):
        harness.mine()
    harness.sleep(1)
    assert ask(harness, A, 2) is BlockStatus.ACCEPTED
