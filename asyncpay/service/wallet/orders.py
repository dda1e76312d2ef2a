"""Preparing an order to pay an invoice: it is checked, and all its messages are created and signed.

Nothing is sent by this, except the request to the LSP for its offer.
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
    """The user's request.

    private: the LSP does not get the invoice. literal_release: the payee builds the path for the release itself,
    for which the node ids of the payer and its LSP are revealed to it.
    """

    invoice: str
    wishes: PayOptions
    private: bool = field(default=False, kw_only=True)
    literal_release: bool = field(default=False, kw_only=True)


async def prepare(
    node: Node, me: OwnNode, link: LspLink, policy: PayerPolicy, wanted: PayRequest, clock: SteadyClock
) -> OutgoingPayment:
    """Return the order. Raises OrderRefused, with the reason, if the payment cannot be made as requested."""
    try:
        invoice = await node.decode_invoice(bolt11_text(wanted.invoice))
    except NodeUnreachableError as error:
        raise OrderRefused(f"the node cannot decode the invoice now: {error}") from None
    except NodeError as error:
        raise OrderRefused(f"this is not an invoice that the wallet can pay: {error}") from None
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
    """Raise OrderRefused for an invoice that no option of the user makes payable."""
    if invoice.payee == me.node_id:
        raise OrderRefused("this invoice is this wallet's own. Give it to the payer")
    can = node.capabilities.metadata_with_slack
    if invoice.needs_metadata and not can:
        raise OrderRefused(
            f"the payee requires payment metadata, which this wallet's node cannot send in a payment that is held: "
            f"{can.because}. Ask the payee for an invoice without it, or pay with another wallet"
        )


async def _route(node: Node, me: OwnNode, lsp: NodeId, invoice: Invoice) -> tuple[NodeId, ...]:
    """Return the hops for the message to the payee; the first after this node is the LSP, which stores a copy of it."""
    try:
        route = await onions.route_to(node, invoice.payee, invoice.route_hints)
    except NodeError as error:
        raise OrderRefused(f"no message can reach the payee {invoice.payee.hex()}: {error}") from None
    first = route[1] if route[0] == me.node_id else route[0]
    if first == lsp:
        return route
    raise OrderRefused(
        f"the only known route for a message to the payee {invoice.payee.hex()} leads through {first.hex()}, not the "
        f"LSP {lsp.hex()}, which has to forward it while this phone is offline"
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
    """Return the message to the payee, as this node sends it and as the LSP receives it."""
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
            f"the route to the payee {invoice.payee.hex()} is too long ({len(route)} hops) for the message that "
            f"announces the payment: {error}"
        ) from None


def _secret_of(invoice: Invoice) -> bytes:
    """Return the payment secret. BOLT 11 requires it, and without it the payee would treat this payer as a stranger."""
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
    """Sign the block_request. It reveals the payee to the LSP only if the LSP needs the invoice to pay on behalf."""
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
    """Sign the cancel_request in advance: later the node may be unreachable."""
    cancel = CancelRequest(unblock_hash=messages.unblock_hash(pid), signature=UNSIGNED)
    return replace(cancel, signature=await node.sign(cancel.signed_text(lsp))).encode()
