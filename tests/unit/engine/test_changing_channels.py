"""Channels under held HTLCs: they get other names and stay the same channels, or are closed by agreement."""

from dataclasses import replace

import pytest

from asyncpay.engine.lsp.records import Htlc
from asyncpay.engine.lsp.states import State
from asyncpay.engine.node_view import Channels
from asyncpay.lightning import Capabilities, ChannelId, HtlcKey, Resolution, ShortChannelId
from asyncpay.wire.messages import BlockState

from .given import CHANNEL_A, CHANNEL_A2, CHANNEL_B, CHANNEL_ROUTER, PREIMAGE, ROUTER, A, B, cln, link, lnd
from .world import World, paying_on_behalf

ALIAS, CONFIRMED, SPLICED = (ShortChannelId.parse(name) for name in ("16000000x1x1", "700x1x0", "777x1x0"))
BOTH = pytest.mark.parametrize("capabilities", [lnd(), cln()], ids=["lnd", "cln"])


def rename(world: World, name: ShortChannelId, *aliases: ShortChannelId) -> None:
    world.change_link(CHANNEL_A, short_channel_id=name, aliases=frozenset(aliases))


@BOTH
def test_a_part_stays_held_when_its_channel_is_confirmed_and_spliced(capabilities: Capabilities) -> None:
    world = World(capabilities)
    world.block()
    key = world.pay(1100)
    rename(world, CONFIRMED, ALIAS)
    world.mine()
    rename(world, SPLICED, ALIAS)
    world.mine()
    world.sleep(3600)
    assert world.state() is State.HELD
    world.release()
    assert world.answered(key) == [[Resolution.RESUME]]


@BOTH
@pytest.mark.parametrize("restart", ["component", "node"])
def test_a_part_is_counted_once_when_its_channel_got_another_name_before_a_restart(
    capabilities: Capabilities, restart: str
) -> None:
    world = World(capabilities)
    world.block(amount_msat=1000)
    key = world.pay(600)
    world.detach()
    rename(world, CONFIRMED, ALIAS)
    if restart == "node":
        world.restart_node()
        world.connect(A)
        world.connect(ROUTER)
    else:
        world.restart()
    world.mine()
    assert world.state() is State.ACCEPTED
    other = world.pay(600)
    assert world.updates()[-1] == (BlockState.HELD, 2)
    world.release()
    assert world.answered(key, other) == [[Resolution.RESUME]] * 2


def test_a_channel_by_a_name_that_it_had_is_not_there_any_more() -> None:
    """Otherwise a client that is away would count as reachable for ever."""
    world = World(cln())
    world.change_link(CHANNEL_B, short_channel_id=CONFIRMED)
    world.disconnect(B)
    key = world.pay(peer=ROUTER, channel=CHANNEL_ROUTER, outgoing_channel=CONFIRMED)
    assert world.answered(key) == [[]]
    assert world.pushes(B) == ["lsps5.payment_incoming"]
    world.connect(B)
    assert world.answered(key) == [[Resolution.RESUME]]


def test_names_lead_to_the_channel_that_has_them_now() -> None:
    first, second = link(CHANNEL_A, A), link(CHANNEL_B, B)
    channels = Channels()
    channels.replace([first, second])
    channels.set(replace(first, short_channel_id=CONFIRMED))
    assert channels.named(CHANNEL_A) is None
    channels.set(replace(second, short_channel_id=CONFIRMED))  # the first one's report comes later
    channels.set(replace(first, short_channel_id=SPLICED))
    assert (channels.named(CONFIRMED), channels.named(SPLICED)) == (
        channels.get(second.channel_id),
        channels.get(first.channel_id),
    )
    channels.remove(first.channel_id)
    assert not channels.has(A)
    assert channels.named(SPLICED) is None


@pytest.mark.parametrize("name", [CHANNEL_A, CONFIRMED, ALIAS], ids=["kept", "main name", "alias"])
def test_what_an_earlier_release_kept_by_a_name_is_the_same_htlc(name: ShortChannelId) -> None:
    """Migrated stores have names for channel ids, which on Core Lightning are none."""
    world = World(cln())
    world.block(amount_msat=1000)
    key = world.pay(600)
    world.detach()
    channel_id = ChannelId(b"\xcc" * 32)
    now = replace(
        world.links.pop(key.channel_id),
        channel_id=channel_id,
        short_channel_id=CHANNEL_A if name is CHANNEL_A else CONFIRMED,
        aliases=frozenset({ALIAS}),
    )
    world.links[channel_id] = now
    (old,) = (record for (kind, _), record in world.stored.items() if kind is Htlc)
    assert isinstance(old, Htlc)
    del world.stored[Htlc, key]
    kept = replace(old, htlc=replace(old.htlc, key=HtlcKey(ChannelId.from_name(name), key.htlc_id)))
    world.stored[Htlc, kept.key] = kept
    held = world.htlcs.pop(key)
    new_key = HtlcKey(channel_id, key.htlc_id)
    held.htlc = replace(held.htlc, key=new_key)
    world.htlcs[new_key] = held
    world.restart()
    world.mine()
    assert [each for kind, each in world.stored if kind is Htlc] == [new_key]
    assert world.state() is State.ACCEPTED
    world.cancel()
    assert world.answered(new_key) == [[Resolution.FAIL]]


# --- closed by agreement ---


def shut_down(world: World, channel: ShortChannelId = CHANNEL_A) -> None:
    world.change_link(channel, closing=True, usable=False)


@BOTH
@pytest.mark.parametrize("stage", [State.ACCEPTED, State.UNLOCKED, State.HELD, State.DUE])
def test_parts_go_back_at_once_when_a_channel_of_theirs_is_to_be_closed(
    capabilities: Capabilities, stage: State
) -> None:
    world = World(capabilities)
    world.disconnect(ROUTER)
    world.block(amount_msat=1000)
    keys = [world.pay(600, channel=CHANNEL_A2)]
    if stage in (State.HELD, State.DUE):
        keys.append(world.pay(600))
    if stage in (State.UNLOCKED, State.DUE):
        world.release()
    assert world.state() is stage
    shut_down(world, CHANNEL_A2)
    assert world.state() is State.FAILED_BACK
    assert world.answered(*keys) == [[Resolution.FAIL]] * len(keys)
    assert {each.fate for each in world.htlcs.values()} == {"failed and gone"}
    assert world.updates()[-1] == (BlockState.FAILED_BACK, len(keys))


@BOTH
@pytest.mark.parametrize("restart", ["component", "node"])
def test_a_close_that_began_while_the_component_was_away(capabilities: Capabilities, restart: str) -> None:
    world = World(capabilities)
    world.block()
    key = world.pay(1100)
    world.detach()
    shut_down(world)
    if restart == "node":
        world.restart_node()
        world.connect(A)
    else:
        world.restart()
    assert world.state() is State.FAILED_BACK
    assert world.answered(key) == [[Resolution.FAIL]]


def test_what_is_on_its_way_is_settled_on_a_channel_that_is_to_be_closed() -> None:
    world = World(cln())
    world.block()
    key = world.pay(1100)
    world.release()
    shut_down(world)
    assert world.state() is State.RELEASED
    world.payee_settles()
    assert world.state() is State.SETTLED
    assert world.htlcs[key].fate == "settled and gone"


def test_a_part_paid_on_behalf_is_claimed_on_a_channel_that_is_to_be_closed() -> None:
    world = paying_on_behalf()
    shut_down(world)
    assert world.state() is State.PAYING
    world.finish_own_payment(preimage=PREIMAGE)
    assert world.state() is State.CLAIMED
    assert [each.answers for each in world.htlcs.values()] == [[Resolution.SETTLE]]


def test_a_part_that_arrives_on_a_channel_that_is_to_be_closed_goes_back() -> None:
    world = World(cln())
    world.block()
    shut_down(world)
    key = world.pay(1100)
    assert world.answered(key) == [[Resolution.FAIL]]


@pytest.mark.parametrize("closes", ["before", "while it waits"])
def test_nothing_waits_for_a_client_whose_last_channel_is_to_be_closed(closes: str) -> None:
    """Only a usable channel could take it further, and there will be none."""
    world = World(cln())
    world.disconnect(B)
    if closes == "before":
        shut_down(world, CHANNEL_B)
    key = world.pay(peer=ROUTER, channel=CHANNEL_ROUTER, outgoing_channel=CHANNEL_B)
    if closes == "while it waits":
        assert world.answered(key) == [[]]
        shut_down(world, CHANNEL_B)
    assert world.answered(key) == [[Resolution.RESUME]]
    assert world.fates() == ["failed"]


def test_another_channel_with_the_same_client_is_waited_for() -> None:
    world = World(cln())
    second = ShortChannelId.parse("100x5x0")
    world.links[ChannelId.from_name(second)] = link(second, B)
    world.change_link(second)
    shut_down(world, CHANNEL_B)
    world.disconnect(B)
    key = world.pay(peer=ROUTER, channel=CHANNEL_ROUTER, outgoing_channel=CHANNEL_B)
    assert world.answered(key) == [[]]
    assert world.pushes(B) == ["lsps5.payment_incoming"]
