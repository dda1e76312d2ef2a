"""From "pay this invoice" to an order that can be carried out: checked, with every message made and signed.

Nothing has been sent when this returns, except the question to the LSP what it offers.
"""

import secrets
from dataclasses import dataclass, field, replace

from asyncpay.engine.payer import planning
from asyncpay.engine.payer.planning import OrderRefused, PaymentPlan, PayOptions
from asyncpay.engine.payer.records import OutgoingPayment
from asyncpay.engine.policy import PayerPolicy
from asyncpay.lightning import Invoice, NodeId, bolt11_text
from asyncpay.lsp_info import LspInfo
from asyncpay.lsps.info import UnsuitableLspError
from asyncpay.nodes.base import Node, NodeError, NodeUnreachableError
from asyncpay.service.common import onions
from asyncpay.service.common.clock import SteadyClock
from asyncpay.service.common.onions import release_path
from asyncpay.service.wallet.lsp_link import LspLink, NoLspError
from asyncpay.service.wallet.own_node import OwnNode
from asyncpay.wire import messages
from asyncpay.wire.errors import WireError
from asyncpay.wire.messages import UNSIGNED, BlockRequest, CancelRequest, Courier, PaymentPending
from asyncpay.wire.onion import SMALL_ROOM, OnionMessage


@dataclass(frozen=True, slots=True)
class PayRequest:
    """What the user asks for.

    private: the LSP is not to see the invoice. literal_release: the payee is to build the path for the release itself,
    for which it is told who the payer and its LSP are.
    """

    invoice: str
    wishes: PayOptions
    private: bool = field(default=False, kw_only=True)
    literal_release: bool = field(default=False, kw_only=True)


async def prepare(
    node: Node, me: OwnNode, link: LspLink, policy: PayerPolicy, wanted: PayRequest, clock: SteadyClock
) -> OutgoingPayment:
    """The order. Raises OrderRefused, with the reason, for anything that cannot be paid like this."""
    try:
        invoice = await node.decode_invoice(bolt11_text(wanted.invoice))
    except NodeUnreachableError as error:
        raise OrderRefused(f"the node cannot read the invoice now: {error}") from None
    except NodeError as error:
        raise OrderRefused(f"this is no invoice that can be paid here: {error}") from None
    _check_payee(node, me, invoice)
    try:
        lsp, offer = link.node_id, await link.info()
    except (NoLspError, UnsuitableLspError) as error:
        raise OrderRefused(str(error)) from None
    plan = planning.plan(invoice, wanted.wishes, offer, policy, now=clock.unix(), height=me.height, network=me.network)
    pid = secrets.token_bytes(32)
    route = await _route(node, me, lsp, invoice)
    pending, courier = _pending(me, lsp, offer, invoice, plan, pid, route, wanted.literal_release)
    return OutgoingPayment(
        payment_hash=invoice.payment_hash,
        pid=pid,
        lsp=lsp,
        payee=invoice.payee,
        invoice=invoice.text,
        description=invoice.description,
        amount_msat=plan.amount_msat,
        fee_limit_msat=plan.fee_limit_msat,
        slack_blocks=plan.slack_blocks,
        cltv_limit_blocks=plan.cltv_limit_blocks,
        max_parts=policy.max_parts,
        max_part_msat=plan.max_part_msat,
        release_by_height=plan.release_by_height,
        hold_until=plan.hold_until,
        request=await _signed_request(node, lsp, offer, invoice, plan, pid, courier, wanted.private),
        cancel=await _signed_cancel(node, lsp, pid),
        pending=pending,
        created_at=clock.now(),
    )


def _check_payee(node: Node, me: OwnNode, invoice: Invoice) -> None:
    """What no wish of the user's can change."""
    if invoice.payee == me.node_id:
        raise OrderRefused("this invoice is this wallet's own. Give it to the payer")
    can = node.capabilities.metadata_with_slack
    if invoice.needs_metadata and not can:
        raise OrderRefused(
            f"the payee demands payment metadata, which this wallet's node cannot send in a payment that is held: "
            f"{can.because}. Ask the payee for an invoice without it, or pay with another wallet"
        )


async def _route(node: Node, me: OwnNode, lsp: NodeId, invoice: Invoice) -> tuple[NodeId, ...]:
    """Hops for the message to the payee; the first beside this node is the LSP, which keeps the copy of it."""
    try:
        route = await onions.route_to(node, invoice.payee, invoice.route_hints)
    except NodeError as error:
        raise OrderRefused(f"no message can reach the payee {invoice.payee.hex()}: {error}") from None
    first = route[1] if route[0] == me.node_id else route[0]
    if first == lsp:
        return route
    raise OrderRefused(
        f"the only known way for a message to the payee {invoice.payee.hex()} leads by {first.hex()}, not by the "
        f"LSP {lsp.hex()}, which has to pass it on while this phone is offline"
    )


def _pending(
    me: OwnNode,
    lsp: NodeId,
    offer: LspInfo,
    invoice: Invoice,
    plan: PaymentPlan,
    pid: bytes,
    route: tuple[NodeId, ...],
    literal_release: bool,
) -> tuple[OnionMessage, OnionMessage]:
    """The message to the payee, as this node sends it and as the LSP gets it."""
    message = PaymentPending(
        pid=pid,
        payment_hashes=(invoice.payment_hash,),
        amount_msat=plan.amount_msat,
        release_by_height=plan.release_by_height,
        hold_until=plan.hold_until,
        invoice_proof=messages.invoice_proof(pid, (invoice.payment_hash,), (_secret_of(invoice),)),
    )
    back = None
    if literal_release:
        message = replace(message, payer_lsp_node_id=lsp, payer_node_id=me.node_id)
    else:
        back = release_path(lsp, me.node_id, pid, offer.transit_release)
    try:
        if route[0] == me.node_id:
            return onions.wrap_from_here(route, message, back, rooms=(SMALL_ROOM,))
        return (onions.wrap(onions.path_through(route), message, back, rooms=(SMALL_ROOM,)),) * 2
    except WireError as error:
        raise OrderRefused(
            f"the way to the payee {invoice.payee.hex()} is too long ({len(route)} hops) for a message that tells it "
            f"of the payment: {error}"
        ) from None


def _secret_of(invoice: Invoice) -> bytes:
    """BOLT 11 demands it, and without it the payee would take this payer for a stranger."""
    if invoice.payment_secret is None:
        raise OrderRefused(
            "the invoice has no payment secret. Ask the payee for an invoice with one (BOLT 11, field s)"
        )
    return invoice.payment_secret


async def _signed_request(
    node: Node,
    lsp: NodeId,
    offer: LspInfo,
    invoice: Invoice,
    plan: PaymentPlan,
    pid: bytes,
    courier: OnionMessage,
    private: bool,
) -> bytes:
    """The LSP learns the payee only if it needs the invoice, to pay it in the place of a payer that is away."""
    needs_invoice = offer.pays_on_behalf and not offer.forwards_with_payer_offline
    shows_invoice = needs_invoice and not private and invoice.amount_msat == plan.amount_msat
    request = BlockRequest(
        unblock_hash=messages.unblock_hash(pid),
        courier=Courier(courier.path_key, courier.packet) if offer.courier else None,
        payment_hashes=(invoice.payment_hash,),
        invoice=invoice.text if shows_invoice else None,
        amount_msat=plan.amount_msat,
        release_by_height=plan.release_by_height,
        hold_until=plan.hold_until,
        signature=UNSIGNED,
    )
    return replace(request, signature=await node.sign(request.signed_text(lsp))).encode()


async def _signed_cancel(node: Node, lsp: NodeId, pid: bytes) -> bytes:
    """Sign the cancel in advance: later the node may be away."""
    cancel = CancelRequest(unblock_hash=messages.unblock_hash(pid), signature=UNSIGNED)
    return replace(cancel, signature=await node.sign(cancel.signed_text(lsp))).encode()
