"""Stand-ins for the wallets' engines: they do the protocol's steps and no more, behind the same seam."""

from dataclasses import replace
from typing import Any

from asyncpay.engine.lsp.engine import Step
from asyncpay.engine.lsp.records import Put
from asyncpay.engine.payee import effects as payee_do
from asyncpay.engine.payee import events as payee_on
from asyncpay.engine.payee import stages as payee_stages
from asyncpay.engine.payee.records import Claim
from asyncpay.engine.payer import effects as payer_do
from asyncpay.engine.payer import events as payer_on
from asyncpay.engine.payer.records import OutgoingPayment
from asyncpay.engine.payer.stages import WITH_NODE, Stage
from asyncpay.lightning import PaymentStatus
from asyncpay.node_events import Attached, PeerConnected
from asyncpay.wire.messages import BlockRequest, BlockState, BlockStatus, PaymentRelease

REPEAT_SECONDS = 10.0


class ScriptedPayer:
    """Asks, pays, hands over."""

    def __init__(self, records: list[OutgoingPayment]) -> None:
        self._records = {record.key: record for record in records}
        self.next_deadline = float("inf")

    def handle(self, now: float, event: Any) -> Step:
        """See Payer.handle."""
        changes: list[Any] = []
        effects: list[Any] = []
        if isinstance(event, payer_on.Ordered) and event.payment.key not in self._records:
            self._records[event.payment.key] = event.payment
            changes.append(Put(event.payment))
            event = payer_on.Tick()
        for key, old in list(self._records.items()):
            new, todo = self._one(now, old, event)
            effects += todo
            if new != old:
                self._records[key] = new
                changes.append(Put(new))
        live = [r for r in self._records.values() if r.stage not in (Stage.SETTLED, Stage.FAILED)]
        self.next_deadline = now + REPEAT_SECONDS if live else float("inf")
        return Step(tuple(changes), tuple(effects))

    def _one(self, now: float, p: OutgoingPayment, event: Any) -> tuple[OutgoingPayment, list[Any]]:
        again = isinstance(event, (payer_on.Tick, Attached, PeerConnected))
        request = payer_do.SendToLsp(p.lsp, BlockRequest.decode(p.request[1:]))
        match event:
            case payer_on.Replied(message) if message.unblock_hash == request.message.unblock_hash:
                if p.stage is Stage.REQUESTED and message.status is BlockStatus.ACCEPTED:
                    return replace(p, stage=Stage.PAYING), [self._pay(p)]
                if p.stage is Stage.REQUESTED:
                    return replace(p, stage=Stage.FAILED, failure=message.reason or ""), []
            case payer_on.Updated(message) if message.unblock_hash == request.message.unblock_hash:
                p = replace(p, told=message.state, told_parts=message.parts)
                if p.stage is Stage.PAYING and message.state is BlockState.HELD:
                    return p, [payer_do.LookUp(p.key)]
                return p, []
            case payer_on.PaymentSeen(payment_hash, result) if payment_hash == p.key:
                if p.stage is Stage.PAYING and result.parts_in_flight == p.told_parts:
                    return replace(p, stage=Stage.HELD), [payer_do.SendPending(p.key, p.lsp, p.pending)]
            case payer_on.PendingSent(payment_hash) if payment_hash == p.key and p.stage is Stage.HELD:
                return replace(p, stage=Stage.HANDED_OVER), []
            case payer_on.PaymentReported(payment_hash, result) if payment_hash == p.key and p.stage in WITH_NODE:
                if result.status is PaymentStatus.SUCCEEDED:
                    return replace(p, stage=Stage.SETTLED, preimage=result.preimage, fee_msat=result.fee_msat), []
                if result.status in (PaymentStatus.FAILED, PaymentStatus.UNKNOWN):
                    return replace(p, stage=Stage.FAILED, failure=result.failure), []
            case payer_on.ReleaseSeen(pid) if pid == p.pid and p.stage in (Stage.HELD, Stage.HANDED_OVER):
                return p, [payer_do.SendToLsp(p.lsp, PaymentRelease(pid=pid))]
            case Attached() if p.stage is Stage.PAYING:
                return p, [self._pay(p)]
            case Attached() if p.stage in WITH_NODE:
                todo: list[Any] = [payer_do.Track(p.key)]
                if p.stage is Stage.HELD:
                    todo.append(payer_do.SendPending(p.key, p.lsp, p.pending))
                return p, todo
            case _ if now > p.hold_until and p.stage is Stage.REQUESTED:
                return replace(p, stage=Stage.FAILED), []
            case _ if again and p.stage in (Stage.REQUESTED, Stage.PAYING):
                return p, [request]
            case _ if again and p.stage is Stage.HELD:
                return p, [payer_do.SendPending(p.key, p.lsp, p.pending)]
        return p, []

    def _pay(self, p: OutgoingPayment) -> payer_do.Pay:
        return payer_do.Pay(
            payment_hash=p.key,
            lsp=p.lsp,
            invoice=p.invoice,
            amount_msat=p.amount_msat,
            fee_limit_msat=p.fee_limit_msat,
            cltv_limit_blocks=p.cltv_limit_blocks,
            slack_blocks=p.slack_blocks,
            max_parts=p.max_parts,
            timeout_seconds=60,
        )


class ScriptedPayee:
    """Releases whatever is announced for an own unpaid invoice."""

    def __init__(self, records: list[Claim]) -> None:
        self._records = {record.key: record for record in records}
        self.next_deadline = float("inf")

    def handle(self, now: float, event: Any) -> Step:
        """See Payee.handle."""
        changes: list[Any] = []
        effects: list[Any] = []
        if isinstance(event, payee_on.Announced) and event.message.pid not in self._records:
            m, path = event.message, event.reply_path
            good = all(each is not None and each.payable for each in event.invoices)
            claim = Claim(
                pid=m.pid,
                payment_hashes=m.payment_hashes,
                amount_msat=m.amount_msat,
                release_by_height=m.release_by_height,
                hold_until=m.hold_until,
                release_path=None if path is None else path.encode(),
                payer_lsp=m.payer_lsp_node_id,
                payer=m.payer_node_id,
                announced_at=now,
                stage=payee_stages.Stage.RELEASING if good else payee_stages.Stage.REFUSED,
            )
            self._records[m.pid] = claim
            changes.append(Put(claim))
            if not good:
                effects.append(payee_do.SendRefusal(claim))
        paid = isinstance(event, payee_on.InvoicePaid)
        for key, claim in list(self._records.items()):
            if claim.stage is not payee_stages.Stage.RELEASING:
                continue
            if (paid and event.payment_hash in claim.payment_hashes) or now > claim.hold_until:
                self._records[key] = replace(claim, stage=payee_stages.Stage.PAID)
                changes.append(Put(self._records[key]))
            elif isinstance(event, (payee_on.Tick, payee_on.Announced, Attached)):
                effects.append(payee_do.SendRelease(claim))
        live = [c for c in self._records.values() if c.stage is payee_stages.Stage.RELEASING]
        self.next_deadline = now + REPEAT_SECONDS * 6 if live else float("inf")
        return Step(tuple(changes), tuple(effects))


def engines(payer_records: list[Any], payee_records: list[Any]) -> dict[str, Any]:
    """The two of a wallet."""
    return {"payer": ScriptedPayer(payer_records), "payee": ScriptedPayee(payee_records)}
