"""Effects on a node that does not do as it is told: the engines hear what they must, the journal says why."""

import asyncio
import io
import json
from collections.abc import Mapping
from typing import Any

import pytest

from asyncpay.engine.payee import interface as payee_io
from asyncpay.engine.payee.records import Claim
from asyncpay.engine.payer import interface as payer_io
from asyncpay.engine.wallet import WalletEffect
from asyncpay.lightning import PaymentResult, PaymentStatus
from asyncpay.log_events import LogEvent
from asyncpay.nodes.base import NodeError, NodeUnreachableError, PeerNotConnectedError
from asyncpay.service.common.event_log import EventLog
from asyncpay.service.common.onions import path_through
from asyncpay.service.wallet.lsp_link import LspLink
from asyncpay.service.wallet.own_node import ChainWatch
from asyncpay.service.wallet.performer import Performer
from asyncpay.wire.blinding import BlindedPath, ChannelEnd
from asyncpay.wire.messages import PaymentRelease, ReleaseReply, ReleaseStatus
from asyncpay.wire.onion import OnionMessage

from .scripted_node import HASH, INVOICE, LSP, ME, OTHER, PID, THEIR_LSP, ScriptedNode

PATH = path_through([THEIR_LSP, OTHER])
PAY = payer_io.Pay(
    payment_hash=HASH,
    lsp=LSP,
    invoice=INVOICE.text,
    amount_msat=1000,
    fee_limit_msat=1,
    cltv_limit_blocks=2016,
    slack_blocks=576,
    max_parts=16,
    timeout_seconds=60,
)
SENDS = [
    payer_io.SendToLsp(LSP, PaymentRelease(pid=PID)),
    payer_io.SendPending(HASH, LSP, OnionMessage(LSP, bytes(1366))),
    payer_io.SendAlong(PATH, ReleaseReply(unblock_hash=HASH, status=ReleaseStatus.RELEASED)),
]
LOST = payer_io.PaymentReported(HASH, PaymentResult(status=PaymentStatus.IN_FLIGHT))
AWAY = NodeUnreachableError("LND at x is away")
REFUSED = NodeError("LND at x refuses")
NOT_THERE = PeerNotConnectedError(LSP)


def claim(**changes: Any) -> Claim:
    values: dict[str, Any] = {
        "pid": PID,
        "payment_hashes": (HASH,),
        "amount_msat": 1000,
        "release_by_height": 900,
        "hold_until": 2_000_000_000,
        "release_path": PATH.encode(),
        "announced_at": 0,
    }
    return Claim(**(values | changes))


def perform(
    effect: WalletEffect, node: ScriptedNode | None = None, failing: Mapping[str, Exception] | None = None
) -> tuple[list[Any], list[Any]]:
    """What is reported to the engines, and what the journal says."""
    reports: list[Any] = []
    lines = io.StringIO()

    async def run() -> None:
        scripted = ScriptedNode() if node is None else node
        scripted.failing |= failing or {}
        beside: Any = scripted
        async with asyncio.TaskGroup() as tasks:
            performer = Performer(beside, LspLink(beside, LSP), EventLog(lines), reports.append, tasks, ChainWatch(0))
            performer.node_id = ME
            await performer.perform(effect)

    asyncio.run(run())
    return reports, [json.loads(line) for line in lines.getvalue().splitlines()]


@pytest.mark.parametrize("effect", SENDS)
@pytest.mark.parametrize("error", [AWAY, REFUSED, NOT_THERE])
def test_what_could_not_be_sent_is_noted_and_not_reported_as_sent(effect: WalletEffect, error: Exception) -> None:
    reports, (line,) = perform(effect, failing={"send_onion": error})
    assert reports == []
    assert str(error) in (line.get("error"), line.get("because"))
    assert line["effect"] == type(effect).__name__


@pytest.mark.parametrize("error", [AWAY, REFUSED])
@pytest.mark.parametrize(("effect", "verb"), [(PAY, "pay"), (payer_io.Track(HASH), "track_payment")])
def test_a_payment_whose_fate_is_not_known_is_asked_about_again(
    effect: WalletEffect, verb: str, error: Exception
) -> None:
    reports, lines = perform(effect, failing={verb: error})
    assert reports == [LOST]
    assert lines[-1]["error"] == str(error)


def test_nothing_is_known_either_if_the_node_is_away_before_the_invoice_is_read() -> None:
    assert perform(PAY, failing={"decode_invoice": AWAY})[0] == [LOST]


def test_an_invoice_that_the_node_will_not_read_has_failed_before_anything_left() -> None:
    node = ScriptedNode()
    reports, _ = perform(PAY, node, {"decode_invoice": REFUSED})
    assert reports == [
        payer_io.PaymentReported(HASH, PaymentResult(status=PaymentStatus.FAILED, failure="LND at x refuses"))
    ]
    assert node.begun == []


@pytest.mark.parametrize("effect", [payer_io.LookUp(HASH), payee_io.LookUpInvoices(PID, (HASH,))])
def test_a_question_that_the_node_does_not_answer_reports_nothing(effect: WalletEffect) -> None:
    reports, (line,) = perform(effect, failing={"look_up_payment": REFUSED, "look_up_invoice": REFUSED})
    assert reports == []
    assert line["error"] == "LND at x refuses"


def test_invoices_are_reported_in_their_order_and_foreign_ones_as_none() -> None:
    node, other = ScriptedNode(), b"o" * 32
    node.make_invoice(HASH)
    reports, _ = perform(payee_io.LookUpInvoices(PID, (other, HASH)), node)
    assert reports == [payee_io.InvoicesSeen(PID, (None, node.own[HASH]))]


@pytest.mark.parametrize("effect", [payee_io.SendRelease(claim()), payee_io.SendRefusal(claim(failure="no"), "no")])
@pytest.mark.parametrize("verb", ["onion_route", "send_onion"])
def test_an_answer_to_a_payer_that_cannot_be_sent_breaks_nothing(effect: WalletEffect, verb: str) -> None:
    reports, (line,) = perform(effect, failing={verb: REFUSED})
    assert (reports, line["error"]) == ([], "LND at x refuses")


@pytest.mark.parametrize("effect", [payee_io.SendRelease, lambda claim: payee_io.SendRefusal(claim, "no")])
def test_a_payer_s_path_that_begins_at_a_channel_breaks_nothing(effect: Any) -> None:
    by_channel = BlindedPath(ChannelEnd(0, 5), PATH.first_path_key, PATH.hops)
    _, (line,) = perform(effect(claim(release_path=by_channel.encode())))
    assert "begins at a channel" in line["error"]


@pytest.mark.parametrize(("old_tip", "sent"), [(None, False), (b"t" * 32, True)])
def test_a_release_waits_for_a_node_that_is_behind_and_the_engine_hears_of_it(
    old_tip: bytes | None, sent: bool
) -> None:
    node = ScriptedNode()
    node.in_sync, node.old_tip = False, old_tip
    reports, (line,) = perform(payee_io.SendRelease(claim()), node)
    assert reports == ([] if sent else [payee_io.ReleaseHeldBack(PID)])
    assert line["what"] == ("sent PaymentRelease" if sent else "release not sent")


def test_the_engines_lines_are_written_in_their_order_and_hide_the_pid() -> None:
    _, (line,) = perform(payer_io.Log(LogEvent.HANDED_OVER, HASH))
    assert (line["what"], line["payment_hash"]) == ("handed over", HASH.hex())
    _, (line,) = perform(payee_io.Log(LogEvent.RELEASING, b"n" * 32, (HASH,), "it is owed"))
    assert (line["block"], line["payment_hashes"], line["because"]) == ((b"n" * 32).hex(), [HASH.hex()], "it is owed")
