"""Performing the effects of the wallet's engines. Each effect is one short method, and none makes decisions."""

import asyncio
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

from asyncpay.engine.payee import interface as payee_io
from asyncpay.engine.payee.records import Claim
from asyncpay.engine.payer import interface as payer_io
from asyncpay.engine.wallet import WalletEffect
from asyncpay.lightning import NodeId, PaymentResult, PaymentStatus
from asyncpay.log_events import LogEvent
from asyncpay.nodes.base import Node, NodeError, NodeUnreachableError, Payment, PeerNotConnectedError
from asyncpay.service.common import onions
from asyncpay.service.common.event_log import EventLog, guarded
from asyncpay.service.common.onions import answer_path, literal_release_path
from asyncpay.service.wallet.lsp_link import LspLink, NoLspError
from asyncpay.service.wallet.own_node import ChainWatch
from asyncpay.wire.blinding import BlindedPath
from asyncpay.wire.errors import WireError
from asyncpay.wire.messages import PaymentRefused, PaymentRelease, unblock_hash


class Performer:
    """Perform effects on a node, and report their results with `report` if the effects require it."""

    def __init__(
        self,
        node: Node,
        link: LspLink,
        event_log: EventLog,
        report: Callable[[Any], None],
        tasks: asyncio.TaskGroup,
        chain_watch: ChainWatch,
    ) -> None:
        self.node_id: NodeId = b""  # set when the node is attached
        self._node = node
        self._link = link
        self._event_log = event_log
        self._report = report
        self._tasks = tasks
        self._chain_watch = chain_watch

    async def perform(self, effect: WalletEffect) -> None:
        """Begin an effect. Log lines are written before this returns; other effects run in the background."""
        match effect:
            case payer_io.Log():
                self._event_log.write(effect.what, payment_hash=effect.payment_hash, because=effect.because or None)
            case payee_io.Log():
                self._event_log.write(
                    effect.what,
                    block=effect.pid_hash,
                    payment_hashes=effect.payment_hashes or None,
                    because=effect.because or None,
                )
            case _:
                work, failed = partial(self._on_the_side, effect), partial(self._report_failure, effect)
                self._tasks.create_task(guarded(self._event_log, type(effect).__name__, work, failed))

    async def _on_the_side(self, effect: WalletEffect) -> None:
        try:
            await self._work(effect)
        except PeerNotConnectedError as error:
            self._event_log.write(LogEvent.NOT_SENT, effect=type(effect).__name__, because=error)
        except (NodeError, NoLspError, WireError) as error:
            self._event_log.error(LogEvent.EFFECT_FAILED, error, effect=type(effect).__name__)
            self._report_failure(effect)

    def _report_failure(self, effect: WalletEffect) -> None:
        """Report an effect that the node did not carry out as having no known result, so that the engine asks again."""
        if isinstance(effect, (payer_io.Pay, payer_io.Track)):
            lost = PaymentResult(status=PaymentStatus.IN_FLIGHT)
            self._report(payer_io.PaymentReported(effect.payment_hash, lost))

    def _work(self, effect: WalletEffect) -> Coroutine[Any, Any, None]:
        match effect:
            case payer_io.SendToLsp():
                return self._send_to_lsp(effect)
            case payer_io.SendPending():
                return self._send_pending(effect)
            case payer_io.SendAlong():
                return onions.send_along(self._node, self.node_id, effect.path, effect.message)
            case payer_io.Pay():
                return self._pay(effect)
            case payer_io.Track():
                return self._track(effect)
            case payer_io.LookUp():
                return self._look_up(effect)
            case payee_io.SendRelease():
                return self._send_release(effect.claim)
            case payee_io.SendRefusal():
                return self._send_refusal(effect.claim, effect.reason)
            case payee_io.LookUpInvoices():
                return self._look_up_invoices(effect)
        raise TypeError(f"no way to perform {effect}")

    async def _send_to_lsp(self, effect: payer_io.SendToLsp) -> None:
        await onions.send_to_peer(self._node, effect.lsp, effect.message)
        self._event_log.write(LogEvent(f"sent {type(effect.message).__name__}"), to=effect.lsp)

    async def _send_pending(self, effect: payer_io.SendPending) -> None:
        await self._node.send_onion(effect.lsp, effect.message)
        self._event_log.write(LogEvent.SENT_PENDING, payment_hash=effect.payment_hash)
        self._report(payer_io.PendingSent(effect.payment_hash))

    async def _pay(self, effect: payer_io.Pay) -> None:
        self._event_log.write(LogEvent.PAY, payment_hash=effect.payment_hash, amount_msat=effect.amount_msat)
        try:
            invoice = await self._node.decode_invoice(effect.invoice)
        except NodeUnreachableError:
            raise
        except NodeError as error:
            self._tell(effect.payment_hash, PaymentResult(status=PaymentStatus.FAILED, failure=str(error)))
            return
        payment = Payment(
            invoice=invoice,
            amount_msat=effect.amount_msat,
            fee_limit_msat=effect.fee_limit_msat,
            cltv_limit_blocks=effect.cltv_limit_blocks,
            slack_blocks=effect.slack_blocks,
            max_parts=effect.max_parts,
            max_part_msat=effect.max_part_msat,
            timeout_seconds=effect.timeout_seconds,
            first_hop=effect.lsp,
        )
        self._tell(effect.payment_hash, await self._node.pay(payment))

    async def _track(self, effect: payer_io.Track) -> None:
        self._tell(effect.payment_hash, await self._node.track_payment(effect.payment_hash))

    def _tell(self, payment_hash: bytes, result: PaymentResult) -> None:
        event = LogEvent(f"payment {result.status.value}")
        self._event_log.write(event, payment_hash=payment_hash, because=result.failure or None)
        self._report(payer_io.PaymentReported(payment_hash, result))

    async def _look_up(self, effect: payer_io.LookUp) -> None:
        result = await self._node.look_up_payment(effect.payment_hash)
        self._report(payer_io.PaymentSeen(effect.payment_hash, result))

    async def _send_release(self, claim: Claim) -> None:
        if (objection := self._chain_watch.objection(await self._node.sync_state())) is not None:
            self._event_log.error(LogEvent.RELEASE_NOT_SENT, objection)
            self._report(payee_io.ReleaseHeldBack(claim.pid))
            return
        answer = answer_path(self._link.node_id, self.node_id, claim.pid)
        message = PaymentRelease(pid=claim.pid)
        if claim.release_path is not None:
            path = BlindedPath.decode(claim.release_path)
            await onions.send_along(self._node, self.node_id, path, message, answer)
        else:
            route = await self._node.onion_route(_told(claim.payer_lsp))
            path = literal_release_path(route, _told(claim.payer), claim.pid)
            await self._node.send_onion(route[0], onions.wrap(path, message, answer))
        self._event_log.write(LogEvent.SENT_RELEASE, block=unblock_hash(claim.pid), tries=claim.tries)

    async def _send_refusal(self, claim: Claim, reason: str) -> None:
        """Send the refusal to the LSP itself: on the release path it would see only the pid, which means "release"."""
        if claim.release_path is not None:
            lsp = onions.introduction_node(BlindedPath.decode(claim.release_path))
        else:
            lsp = _told(claim.payer_lsp)
        route = await self._node.onion_route(lsp)
        message = PaymentRefused(pid=claim.pid, reason=reason)
        await self._node.send_onion(route[0], onions.wrap(onions.path_through(route), message))
        self._event_log.write(LogEvent.SENT_REFUSAL, block=unblock_hash(claim.pid), because=claim.failure)

    async def _look_up_invoices(self, effect: payee_io.LookUpInvoices) -> None:
        invoices = [await self._node.look_up_invoice(payment_hash) for payment_hash in effect.payment_hashes]
        self._report(payee_io.InvoicesSeen(effect.pid, tuple(invoices)))


def _told(node_id: NodeId | None) -> NodeId:
    """Return the node id, which is set: the engine keeps no claim that has neither a path nor node ids."""
    assert node_id is not None
    return node_id
