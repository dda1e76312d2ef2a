"""HTLCs: what passes, what is held, and when a set of parts is complete."""

import pytest

from asyncpay.engine.lsp.effects import ResolveHtlc
from asyncpay.engine.lsp.events import HtlcSnapshot, ResolutionUndelivered, WebhookSet
from asyncpay.engine.lsp.policy import LspPolicy
from asyncpay.engine.lsp.records import Htlc
from asyncpay.engine.lsp.states import State
from asyncpay.lightning import ChannelId, HtlcKey, Resolution
from asyncpay.node_events import HtlcFailed, HtlcGone, HtlcOffered, HtlcSettled
from asyncpay.wire.messages import BlockState

from .given import CHANNEL_A, CHANNEL_A2, CHANNEL_B, HASH, PREIMAGE, ROUTER, A, B
from .world import World

OTHER = b"h" * 32


def test_an_htlc_without_a_block_passes_at_once_with_one_answer() -> None:
    world = World()
    world.block()
    key = world.pay(payment_hash=OTHER)
    assert world.answered(key) == [[Resolution.RESUME]]
    assert world.fates() == ["forwarded"]


def test_an_htlc_of_another_peer_with_a_blocked_hash_passes() -> None:
    world = World()
    world.block()
    world.pay(peer=ROUTER, channel=CHANNEL_B)
    assert world.fates() == ["forwarded"]
    assert world.state() is State.ACCEPTED


def test_parts_over_two_channels_of_the_payer_are_one_set() -> None:
    world = World()
    world.block(amount_msat=2000)
    world.pay()
    assert (world.state(), world.updates()) == (State.ACCEPTED, [])
    world.pay(channel=CHANNEL_A2)
    assert (world.state(), world.updates()) == (State.HELD, [(BlockState.HELD, 2)])
    assert world.fates() == ["held", "held"]


@pytest.mark.parametrize(("amount", "stage"), [(999, State.ACCEPTED), (1000, State.HELD), (1001, State.HELD)])
def test_the_sum_of_outgoing_amounts_must_be_reached(amount: int, stage: State) -> None:
    world = World()
    world.block(amount_msat=1000)
    world.pay(amount)
    assert world.state() is stage


def test_a_part_counts_for_no_more_than_it_brings() -> None:
    """The onion is the payer's to write; 2^64 - 1 must not even be too much for the store."""
    world = World()
    world.block(amount_msat=1011)
    world.pay(1000, outgoing_amount_msat=2**64 - 1)
    assert world.state() is State.ACCEPTED
    (record,) = (record for record in world.stored.values() if isinstance(record, Htlc))
    assert record.htlc.outgoing_amount_msat == 1010


def test_every_hash_needs_a_part_however_large_the_sum() -> None:
    world = World()
    world.block(payment_hashes=(HASH, OTHER))
    world.pay(5000)
    assert world.state() is State.ACCEPTED
    world.pay(1, payment_hash=OTHER)
    assert world.state() is State.HELD


def test_completeness_is_sticky_and_one_part_more_is_counted_and_told() -> None:
    world = World()
    world.block()
    world.pay()
    world.pay()
    assert world.state() is State.HELD
    assert world.updates() == [(BlockState.HELD, 1), (BlockState.HELD, 2)]
    world.release()
    assert world.fates() == ["forwarded", "forwarded"]


def test_later_parts_pass_after_a_release() -> None:
    world = World()
    world.block()
    world.pay()
    world.release()
    late = world.pay()
    assert world.answered(late) == [[Resolution.RESUME]]
    assert world.updates()[-1] == (BlockState.RELEASED, 1)


def test_what_has_passed_is_never_held_nor_failed_later() -> None:
    """lnd#5115: an HTLC is offered again after it was forwarded; by then its payer has asked for a block."""
    world = World()
    key = world.pay()
    world.block()
    world.replay(key)
    world.cancel()
    world.restart()
    world.replay(key)
    assert world.answered(key)[0] == [Resolution.RESUME] * 3
    assert world.losses == []


def test_what_has_passed_to_a_client_is_never_failed_when_that_client_goes_away() -> None:
    world = World()
    key = world.pay(outgoing_channel=CHANNEL_B, peer=ROUTER)
    world.disconnect(B)
    world.restart()
    world.replay(key)
    world.sleep(3600)
    assert set(world.answered(key)[0]) == {Resolution.RESUME}
    assert world.losses == []


def test_htlcs_from_before_the_very_first_start_have_passed() -> None:
    world = World(clients=())
    world.detach()
    world.stored.clear()
    key = HtlcKey(ChannelId.from_name(CHANNEL_A), 7)
    world.htlcs[key] = world.htlcs.get(key) or _forwarded(world, key)
    world.start()
    world.feed(WebhookSet(B, "phone", "https://push.example/x"))
    world.disconnect(B)
    world.block()
    world.replay(key)
    world.sleep(600)
    assert world.losses == []
    assert world.answered(key) == [[Resolution.RESUME]]


def _forwarded(world: World, key: HtlcKey):  # type: ignore[no-untyped-def]
    made = World()
    there = made.pay(outgoing_channel=CHANNEL_B)
    each = made.htlcs[there]
    each.htlc = type(each.htlc)(
        key=key,
        payment_hash=HASH,
        peer=A,
        incoming_amount_msat=1010,
        outgoing_amount_msat=1000,
        incoming_expiry=world.height + 200,
        outgoing_expiry=world.height + 160,
        outgoing_channel=CHANNEL_B,
    )
    each.answers.clear()
    return each


def test_a_part_offered_again_is_held_again_and_not_counted_twice() -> None:
    world = World()
    world.block(amount_msat=2000)
    key = world.pay()
    world.replay(key)
    world.restart()
    assert world.state() is State.ACCEPTED
    assert world.answered(key) == [[]]


@pytest.mark.parametrize("stage", [State.ACCEPTED, State.UNLOCKED, State.HELD, State.DUE])
def test_a_lost_part_fails_the_others_back(stage: State) -> None:
    world = World()
    world.disconnect(ROUTER)
    world.block(amount_msat=1000 if stage in (State.HELD, State.DUE) else 5000)
    lost, other = world.pay(channel=CHANNEL_A2), world.pay()
    if stage in (State.UNLOCKED, State.DUE):
        world.release()
    assert world.state() is stage
    world.close_channel(CHANNEL_A2)
    assert world.state() is State.FAILED_BACK
    assert world.answered(lost, other) == [[], [Resolution.FAIL]]
    world.release()
    assert world.state() is State.FAILED_BACK


@pytest.mark.parametrize("event", [HtlcGone, HtlcFailed])
def test_a_part_that_the_node_gave_up_on_counts_as_lost(event: type[HtlcGone | HtlcFailed]) -> None:
    world = World()
    world.block()
    gone, other = world.pay(), world.pay()
    world.feed(event(gone))
    assert world.state() is State.FAILED_BACK
    assert world.answered(gone, other) == [[], [Resolution.FAIL]]


def test_an_old_snapshot_says_nothing_of_what_was_offered_since() -> None:
    world = World()
    world.block()
    number = world.lsp.state.snapshot_number
    world.pay()
    world.feed(HtlcSnapshot(number, ()))
    assert world.state() is State.HELD


def test_more_than_the_client_may_hold_fails_its_set_back() -> None:
    world = World(policy=LspPolicy(max_holds=2))
    world.block(amount_msat=9000)
    keys = [world.pay() for _ in range(3)]
    assert world.state() is State.FAILED_BACK
    assert world.answered(*keys) == [[Resolution.FAIL]] * 3


@pytest.mark.parametrize(("limit", "stage"), [(2020, State.HELD), (2019, State.FAILED_BACK)])
def test_the_value_really_held_is_limited(limit: int, stage: State) -> None:
    world = World(policy=LspPolicy(max_held_msat=limit))
    world.block(amount_msat=2000)
    world.pay()
    world.pay()  # each brings 1010 in
    assert world.state() is stage


def test_the_payee_takes_the_parts() -> None:
    world = World()
    world.block()
    world.pay()
    world.release()
    world.disconnect(A)
    world.payee_settles()
    assert world.state() is State.SETTLED
    assert "async_payments.settlement_pending" in world.pushes(A)
    world.connect(A)
    assert world.updates()[-1] == (BlockState.SETTLED, 1)


def test_a_settlement_with_a_wrong_preimage_is_not_believed() -> None:
    world = World()
    world.block()
    key = world.pay()
    world.release()
    world.feed(HtlcSettled(key, b"x" * 32))
    assert world.state() is State.RELEASED


def test_a_released_set_that_comes_back_is_told_as_failed() -> None:
    world = World()
    world.block(amount_msat=2000)
    keys = world.pay(), world.pay()
    world.release()
    world.payee_fails(keys[0])
    assert world.state() is State.RELEASED
    world.payee_fails(keys[1])
    assert world.state() is State.RETURNED
    assert world.updates()[-1] == (BlockState.FAILED_BACK, 2)


def test_parts_that_never_left_are_failed_when_a_sibling_has_failed() -> None:
    world = World()
    world.block(amount_msat=2000)
    first, second = world.pay(), world.pay()
    world.release()
    world.htlcs[second].fate, world.htlcs[second].forwarded = "held", False  # the stream broke in between
    world.feed(ResolutionUndelivered(second))
    world.detach()
    world.payee_fails(first)
    world.feed(HtlcFailed(first))
    world.attach()
    assert world.htlcs[second].answers[-1] is Resolution.FAIL
    assert world.losses == []
    assert world.state() is State.RETURNED


def test_a_part_that_may_have_left_is_not_failed_when_a_sibling_has_failed() -> None:
    world = World()
    world.block(amount_msat=2000)
    first, second = world.pay(), world.pay()
    world.release()
    world.restart()  # this process does not know what the last one managed to say
    world.feed(ResolutionUndelivered(second))
    world.payee_fails(first)
    world.replay(second)
    assert world.losses == []


def test_nor_one_whose_second_answer_was_lost() -> None:
    world = World()
    world.block(amount_msat=2000)
    first, second = world.pay(), world.pay()
    world.release()
    world.replay(second)
    world.feed(ResolutionUndelivered(second))
    world.payee_fails(first)
    world.replay(second)
    assert world.losses == []


def test_records_of_passing_htlcs_do_not_pile_up() -> None:
    world = World()
    key = world.pay(payment_hash=OTHER)
    world.mine()
    assert (Htlc, key) in world.stored
    world.payee_fails(key)
    world.mine()
    assert not [kind for kind, _ in world.stored if kind is Htlc]


def test_an_htlc_offered_again_after_it_was_thought_gone_is_answered_alike() -> None:
    world = World()
    world.block()
    key = world.pay()
    world.cancel()
    world.feed(HtlcGone(key))
    effects = world.feed(HtlcOffered(world.htlcs[key].htlc))
    assert [effect.resolution for effect in effects if isinstance(effect, ResolveHtlc)] == [Resolution.FAIL]
    assert sum(kind is Htlc for kind, _ in world.stored) == 1
    assert PREIMAGE
