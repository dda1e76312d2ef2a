"""Channels under held HTLCs: they get other names and stay the same channels, or are closed by agreement."""

from dataclasses import replace

import pytest

from asyncpay.engine.context import Channels
from asyncpay.engine.lsp.records import Htlc
from asyncpay.engine.lsp.states import State
from asyncpay.lightning import Capabilities, ChannelId, HtlcKey, Resolution, ShortChannelId
from asyncpay.wire.messages import BlockState

from .factories import CHANNEL_A, CHANNEL_A2, CHANNEL_B, CHANNEL_ROUTER, PREIMAGE, ROUTER, A, B, cln, link, lnd
from .harness import LspHarness, paying_on_behalf

ALIAS, CONFIRMED, SPLICED = (ShortChannelId.parse(name) for name in ("16000000x1x1", "700x1x0", "777x1x0"))
BOTH = pytest.mark.parametrize("capabilities", [lnd(), cln()], ids=["lnd", "cln"])


def rename(harness: LspHarness, name: ShortChannelId, *aliases: ShortChannelId) -> None:
    harness.change_link(CHANNEL_A, short_channel_id=name, aliases=frozenset(aliases))


@BOTH
def test_a_part_stays_held_when_its_channel_is_confirmed_and_spliced(capabilities: Capabilities) -> None:
    harness = LspHarness(capabilities)
    harness.block()
    key = harness.pay(1100)
    rename(harness, CONFIRMED, ALIAS)
    harness.mine()
    rename(harness, SPLICED, ALIAS)
    harness.mine()
    harness.sleep(3600)
    assert harness.state() is State.HELD
    harness.release()
    assert harness.answered(key) == [[Resolution.RESUME]]


@BOTH
@pytest.mark.parametrize("restart", ["component", "node"])
def test_a_part_is_counted_once_when_its_channel_got_another_name_before_a_restart(
    capabilities: Capabilities, restart: str
) -> None:
    harness = LspHarness(capabilities)
    harness.block(amount_msat=1000)
    key = harness.pay(600)
    harness.detach()
    rename(harness, CONFIRMED, ALIAS)
    if restart == "node":
        harness.restart_node()
        harness.connect(A)
        harness.connect(ROUTER)
    else:
        harness.restart()
    harness.mine()
    assert harness.state() is State.ACCEPTED
    other = harness.pay(600)
    assert harness.updates()[-1] == (BlockState.HELD, 2)
    harness.release()
    assert harness.answered(key, other) == [[Resolution.RESUME]] * 2


def test_a_channel_by_a_name_that_it_had_is_not_there_any_more() -> None:
    """Otherwise a client that is away would count as reachable for ever."""
    harness = LspHarness(cln())
    harness.change_link(CHANNEL_B, short_channel_id=CONFIRMED)
    harness.disconnect(B)
    key = harness.pay(peer=ROUTER, channel=CHANNEL_ROUTER, outgoing_channel=CONFIRMED)
    assert harness.answered(key) == [[]]
    assert harness.pushes(B) == ["lsps5.payment_incoming"]
    harness.connect(B)
    assert harness.answered(key) == [[Resolution.RESUME]]


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
    harness = LspHarness(cln())
    harness.block(amount_msat=1000)
    key = harness.pay(600)
    harness.detach()
    channel_id = ChannelId(b"\xcc" * 32)
    now = replace(
        harness.links.pop(key.channel_id),
        channel_id=channel_id,
        short_channel_id=CHANNEL_A if name is CHANNEL_A else CONFIRMED,
        aliases=frozenset({ALIAS}),
    )
    harness.links[channel_id] = now
    (old,) = (record for (kind, _), record in harness.stored.items() if kind is Htlc)
    assert isinstance(old, Htlc)
    del harness.stored[Htlc, key]
    kept = replace(old, htlc=replace(old.htlc, key=HtlcKey(ChannelId.from_name(name), key.htlc_id)))
    harness.stored[Htlc, kept.key] = kept
    held = harness.htlcs.pop(key)
    new_key = HtlcKey(channel_id, key.htlc_id)
    held.htlc = replace(held.htlc, key=new_key)
    harness.htlcs[new_key] = held
    harness.restart()
    harness.mine()
    assert [each for kind, each in harness.stored if kind is Htlc] == [new_key]
    assert harness.state() is State.ACCEPTED
    harness.cancel()
    assert harness.answered(new_key) == [[Resolution.FAIL]]


# --- closed by agreement ---


def shut_down(harness: LspHarness, channel: ShortChannelId = CHANNEL_A) -> None:
    harness.change_link(channel, closing=True, usable=False)


@BOTH
@pytest.mark.parametrize("state", [State.ACCEPTED, State.UNLOCKED, State.HELD, State.DUE])
def test_parts_go_back_at_once_when_a_channel_of_theirs_is_to_be_closed(
    capabilities: Capabilities, state: State
) -> None:
    harness = LspHarness(capabilities)
    harness.disconnect(ROUTER)
    harness.block(amount_msat=1000)
    keys = [harness.pay(600, channel=CHANNEL_A2)]
    if state in (State.HELD, State.DUE):
        keys.append(harness.pay(600))
    if state in (State.UNLOCKED, State.DUE):
        harness.release()
    assert harness.state() is state
    shut_down(harness, CHANNEL_A2)
    assert harness.state() is State.FAILED_BACK
    assert harness.answered(*keys) == [[Resolution.FAIL]] * len(keys)
    assert {each.fate for each in harness.htlcs.values()} == {"failed and gone"}
    assert harness.updates()[-1] == (BlockState.FAILED_BACK, len(keys))


@BOTH
@pytest.mark.parametrize("restart", ["component", "node"])
def test_a_close_that_began_while_the_component_was_away(capabilities: Capabilities, restart: str) -> None:
    harness = LspHarness(capabilities)
    harness.block()
    key = harness.pay(1100)
    harness.detach()
    shut_down(harness)
    if restart == "node":
        harness.restart_node()
        harness.connect(A)
    else:
        harness.restart()
    assert harness.state() is State.FAILED_BACK
    assert harness.answered(key) == [[Resolution.FAIL]]


def test_what_is_on_its_way_is_settled_on_a_channel_that_is_to_be_closed() -> None:
    harness = LspHarness(cln())
    harness.block()
    key = harness.pay(1100)
    harness.release()
    shut_down(harness)
    assert harness.state() is State.RELEASED
    harness.payee_settles()
    assert harness.state() is State.SETTLED
    assert harness.htlcs[key].fate == "settled and gone"


def test_a_part_paid_on_behalf_is_claimed_on_a_channel_that_is_to_be_closed() -> None:
    harness = paying_on_behalf()
    shut_down(harness)
    assert harness.state() is State.PAYING
    harness.finish_own_payment(preimage=PREIMAGE)
    assert harness.state() is State.CLAIMED
    assert [each.answers for each in harness.htlcs.values()] == [[Resolution.SETTLE]]


def test_a_part_that_arrives_on_a_channel_that_is_to_be_closed_goes_back() -> None:
    harness = LspHarness(cln())
    harness.block()
    shut_down(harness)
    key = harness.pay(1100)
    assert harness.answered(key) == [[Resolution.FAIL]]


@pytest.mark.parametrize("closes", ["before", "while it waits"])
def test_nothing_waits_for_a_client_whose_last_channel_is_to_be_closed(closes: str) -> None:
    """Only a usable channel could take it further, and there will be none."""
    harness = LspHarness(cln())
    harness.disconnect(B)
    if closes == "before":
        shut_down(harness, CHANNEL_B)
    key = harness.pay(peer=ROUTER, channel=CHANNEL_ROUTER, outgoing_channel=CHANNEL_B)
    if closes == "while it waits":
        assert harness.answered(key) == [[]]
        shut_down(harness, CHANNEL_B)
    assert harness.answered(key) == [[Resolution.RESUME]]
    assert harness.fates() == ["failed"]


def test_another_channel_with_the_same_client_is_waited_for() -> None:
    harness = LspHarness(cln())
    second = ShortChannelId.parse("100x5x0")
    harness.links[ChannelId.from_name(second)] = link(second, B)
    harness.change_link(second)
    shut_down(harness, CHANNEL_B)
    harness.disconnect(B)
    key = harness.pay(peer=ROUTER, channel=CHANNEL_ROUTER, outgoing_channel=CHANNEL_B)
    assert harness.answered(key) == [[]]
    assert harness.pushes(B) == ["lsps5.payment_incoming"]
