"""Channels under held HTLCs: they get other names and stay the same channels."""

from dataclasses import replace

import pytest

from asyncpay.engine.channels import Channels
from asyncpay.engine.lsp.records import Htlc
from asyncpay.engine.lsp.stages import Stage
from asyncpay.lightning import Capabilities, ChannelId, HtlcKey, ShortChannelId, Verdict
from asyncpay.wire.messages import BlockState

from .given import CHANNEL_A, CHANNEL_B, CHANNEL_ROUTER, ROUTER, A, B, cln, link, lnd
from .world import World

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
    assert world.stage() is Stage.HELD
    world.release()
    assert world.answered(key) == [[Verdict.RESUME]]


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
    assert world.stage() is Stage.ACCEPTED
    other = world.pay(600)
    assert world.updates()[-1] == (BlockState.HELD, 2)
    world.release()
    assert world.answered(key, other) == [[Verdict.RESUME]] * 2


def test_a_channel_by_a_name_that_it_had_is_not_there_any_more() -> None:
    """Otherwise a client that is away would count as reachable for ever."""
    world = World(cln())
    world.change_link(CHANNEL_B, short_channel_id=CONFIRMED)
    world.disconnect(B)
    key = world.pay(peer=ROUTER, channel=CHANNEL_ROUTER, outgoing_channel=CONFIRMED)
    assert world.answered(key) == [[]]
    assert world.pushes(B) == ["lsps5.payment_incoming"]
    world.connect(B)
    assert world.answered(key) == [[Verdict.RESUME]]


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
    assert world.stage() is Stage.ACCEPTED
    world.cancel()
    assert world.answered(new_key) == [[Verdict.FAIL]]
