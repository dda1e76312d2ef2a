"""What the user may ask of the wallet, and what is said if that is not possible now."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest

from asyncpay.lightning import ChannelId, Link, PaymentResult, PaymentStatus
from asyncpay.lsps.jsonrpc import RpcError
from asyncpay.lsps.lsps5 import LIST_WEBHOOKS, REMOVE_WEBHOOK, SET_WEBHOOK
from asyncpay.node_events import BlockConnected, LinkChanged, PeerDisconnected
from asyncpay.nodes.base import NodeError
from asyncpay.service.common.control_client import RefusedError
from asyncpay.wire.messages import CancelRequest, PaymentPending

from .scripted_node import CHANNEL, HASH, INVOICE, LSP, ME, PREIMAGE
from .wallet_harness import WalletHarness, until, until_asked

UNUSABLE = Link(channel_id=ChannelId.from_name(CHANNEL), short_channel_id=CHANNEL, peer=LSP, usable=False)


def awake(phone: WalletHarness, story: Callable[[], Awaitable[None]]) -> None:
    async def whole() -> None:
        async with phone.awake():
            await story()

    asyncio.run(whole())


# --- status ---


def test_the_status_tells_node_lsp_and_payments(phone: WalletHarness) -> None:
    async def story() -> None:
        await phone.pay()
        attached_at = (await phone.ask("status"))["node"]["attached_at"]
        assert 0 < attached_at <= time.time()
        phone.node.tell(BlockConnected(501))
        phone.node.tell(LinkChanged(UNUSABLE))
        phone.node.tell(PeerDisconnected(LSP))

        async def is_so() -> bool:
            said = await phone.ask("status")
            node = {"attached": True, "attached_at": attached_at, "node_id": ME.hex(), "network": "regtest"}
            return bool(
                said["node"] == node | {"height_blocks": 501}
                and said["lsp"] == {"node_id": LSP.hex(), "connected": False, "channel_usable": False}
                and said["unfinished_payments"] == 1
            )

        await until_asked(is_so)
        await phone.node.payee_takes()
        await until_asked(lambda: _none_unfinished(phone))

    awake(phone, story)


async def _none_unfinished(phone: WalletHarness) -> bool:
    return bool((await phone.ask("status"))["unfinished_payments"] == 0)


def test_a_node_that_is_away_is_told_with_the_reason(phone: WalletHarness) -> None:
    async def story() -> None:
        phone.node.stop()

        async def is_so() -> bool:
            said = await phone.ask("status")
            return not said["healthy"] and "the node at x does not answer" in said["last_errors"][-1]["because"]

        await until_asked(is_so)
        assert (await phone.ask("status"))["lsp"] == {"node_id": LSP.hex(), "connected": False, "channel_usable": False}

    awake(phone, story)


def test_a_wallet_that_never_saw_its_node_has_a_status_too(phone: WalletHarness) -> None:
    phone.node.running = False

    async def story() -> None:
        said = await phone.ask("status")
        nothing = dict.fromkeys(("attached_at", "node_id", "network", "height_blocks"))
        assert said["node"] == {"attached": False} | nothing
        assert said["lsp"]["node_id"] is None

    awake(phone, story)


# --- registrations ---


def test_registering_is_passed_on_to_the_lsp(phone: WalletHarness) -> None:
    phone.node.lsp |= {
        SET_WEBHOOK: {"num_webhooks": 1, "max_webhooks": 10, "no_change": False},
        LIST_WEBHOOKS: {"app_names": ["mine"], "max_webhooks": 10},
        REMOVE_WEBHOOK: {},
    }

    async def story() -> None:
        assert (await phone.ask("register", app_name="mine", url="https://push.example/x"))["num_webhooks"] == 1
        assert (await phone.ask("webhooks"))["app_names"] == ["mine"]
        assert await phone.ask("unregister", app_name="mine") == {}

    awake(phone, story)
    mine = {"app_name": "mine"}
    assert phone.node.asked[1:] == [
        (LSP, SET_WEBHOOK, mine | {"webhook": "https://push.example/x"}),
        (LSP, LIST_WEBHOOKS, {}),
        (LSP, REMOVE_WEBHOOK, mine),
    ]


def test_the_lsp_s_refusal_is_told_in_its_words(phone: WalletHarness) -> None:
    phone.node.lsp[SET_WEBHOOK] = RpcError(502, "only https")

    async def story() -> None:
        with pytest.raises(RefusedError, match=r"the LSP refuses: only https .*code 502"):
            await phone.ask("register", app_name="mine", url="http://push.example/x")

    awake(phone, story)


def test_an_lsp_that_is_silent_or_away(phone: WalletHarness) -> None:
    async def story() -> None:
        with pytest.raises(RefusedError, match=f"LSP {LSP.hex()} did not answer lsps5.list_webhooks within"):
            await phone.ask("webhooks")
        phone.node.online = False
        with pytest.raises(RefusedError, match="not connected: is this phone online"):
            await phone.ask("webhooks")

    awake(phone, story)


# --- receive ---


def test_an_invoice(phone: WalletHarness) -> None:
    async def story() -> None:
        made = await phone.ask("receive", amount_msat=5000, description="tea", expiry_seconds=60)
        assert (made["amount_msat"], made["payment_hash"]) == (5000, HASH.hex())

    awake(phone, story)


@pytest.mark.parametrize("seconds", [0, -1, 365 * 86_400 + 1, 14_000_000_000_000, 2**63, 2**64])
def test_no_invoice_that_a_node_refuses_or_breaks_on(phone: WalletHarness, seconds: int) -> None:
    async def story() -> None:
        with pytest.raises(
            RefusedError, match=rf"expiry is {seconds} s. Choose an expiry between 1 s and 31536000 s \(365 days\)"
        ):
            await phone.ask("receive", amount_msat=5000, description="", expiry_seconds=seconds)

    awake(phone, story)


def test_no_invoice_without_a_usable_channel_to_the_lsp(phone: WalletHarness) -> None:
    """It would name no way to this phone."""
    phone.node.links = [UNUSABLE]

    async def story() -> None:
        with pytest.raises(RefusedError, match=f"channel with the LSP {LSP.hex()} is not usable now"):
            await phone.ask("receive", amount_msat=5000, description="", expiry_seconds=60)

    awake(phone, story)


def test_what_the_node_says_against_an_invoice_is_told(phone: WalletHarness) -> None:
    phone.node.failing["create_invoice"] = NodeError("LND at x: invoice amount too large")

    async def story() -> None:
        with pytest.raises(RefusedError, match="LND at x: invoice amount too large"):
            await phone.ask("receive", amount_msat=5000, description="", expiry_seconds=60)

    awake(phone, story)


# --- pay and cancel ---


def test_pay_ends_when_the_phone_may_go_offline(phone: WalletHarness) -> None:
    async def story() -> None:
        assert (await phone.pay())["state"] == "handed over"
        assert len(phone.node.got(PaymentPending)) == 1

    awake(phone, story)
    states = [each["state"] for each in phone.progress]
    assert (
        sorted(set(states), key=states.index) == ["requested", "paying", "held", "handed over"] or "blocked" in states
    )


def test_pay_with_wait_ends_with_the_preimage(phone: WalletHarness) -> None:
    async def story() -> None:
        paying = asyncio.create_task(phone.pay(wait=True))
        await until(lambda: len(phone.node.got(PaymentPending)) == 1)
        await phone.node.payee_takes()
        paid = await paying
        assert (paid["state"], paid["preimage"], paid["fee_msat"]) == ("settled", PREIMAGE.hex(), 3)

    awake(phone, story)


def test_pay_ends_with_the_node_s_reason_if_it_fails(phone: WalletHarness) -> None:
    phone.node.holds = False

    async def story() -> None:
        paying = asyncio.create_task(phone.pay())
        await until(lambda: len(phone.node.begun) == 1)
        await phone.node.decide(PaymentResult(status=PaymentStatus.FAILED, failure="no route found"))
        failed = await paying
        assert (failed["state"], failed["failure"]) == ("failed", "no route found")

    awake(phone, story)


def test_two_who_pay_one_invoice_at_the_same_time_pay_it_once(phone: WalletHarness) -> None:
    async def story() -> None:
        both = await asyncio.gather(phone.pay(), phone.pay(), return_exceptions=True)
        assert [each for each in both if isinstance(each, dict) and each["state"] == "handed over"]
        assert len(await phone.payments()) == 1

    awake(phone, story)
    assert len(phone.node.begun) == 1


def test_a_cancel_brings_the_parts_back(phone: WalletHarness) -> None:
    async def story() -> None:
        await phone.pay()
        assert (await phone.ask("cancel", payment_hash=HASH.hex()))["cancelled"]

        async def failed() -> bool:
            return bool((await phone.payments())[0]["state"] == "failed")

        await until_asked(failed)
        assert (await phone.payments())[0]["failure"] == "cancelled"
        with pytest.raises(RefusedError, match="is failed: there is nothing to cancel"):
            await phone.ask("cancel", payment_hash=HASH.hex())

    awake(phone, story)
    assert len(phone.node.got(CancelRequest)) == 1


@pytest.mark.parametrize("digits", [4, 16, 63])
def test_the_first_digits_of_a_payment_hash_are_enough(phone: WalletHarness, digits: int) -> None:
    async def story() -> None:
        await phone.pay()
        assert (await phone.ask("cancel", payment_hash=HASH.hex()[:digits]))["payment_hash"] == HASH.hex()

    awake(phone, story)


def test_digits_that_more_than_one_payment_begins_with(phone: WalletHarness) -> None:
    other = replace(INVOICE, text="lnbcrt2", payment_hash=HASH[:8] + bytes(24))
    phone.node.invoices[other.text] = other

    async def story() -> None:
        await phone.pay()
        await phone.pay(invoice=other.text)
        with pytest.raises(RefusedError, match=f"2 payment hashes begin with {HASH.hex()[:16]}: write more digits"):
            await phone.ask("cancel", payment_hash=HASH.hex()[:16])
        assert (await phone.ask("cancel", payment_hash=HASH.hex()[:20]))["payment_hash"] == HASH.hex()

    awake(phone, story)


def test_a_cancel_of_what_was_never_paid_here(phone: WalletHarness) -> None:
    async def story() -> None:
        with pytest.raises(RefusedError, match=f"there is no payment {HASH.hex()}; `asyncpay wallet payments` lists"):
            await phone.ask("cancel", payment_hash=HASH.hex())

    awake(phone, story)


def test_a_pid_is_never_shown(phone: WalletHarness) -> None:
    async def story() -> None:
        await phone.pay()
        said: list[Any] = [*phone.progress, *await phone.payments()]
        (pending,) = phone.node.got(PaymentPending)
        assert pending.pid.hex() not in repr(said)

    awake(phone, story)
