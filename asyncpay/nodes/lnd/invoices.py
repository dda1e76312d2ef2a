"""LND's own invoices."""

from collections.abc import AsyncIterable, AsyncIterator

import grpc

from asyncpay.lightning import OwnInvoice
from asyncpay.node_events import InvoicePaid
from asyncpay.nodes.lnd import channels
from asyncpay.nodes.lnd.connection import CALL_SECONDS, Connection, LndRefusedError
from asyncpay.nodes.numbers import UNIX_TIME, optional_amount
from asyncpay.nodes.proto import lightning_pb2 as ln

_MOST_HINTS = 20
"""LND's limit for one invoice."""


async def create(lnd: Connection, amount_msat: int, description: str, expiry_seconds: int) -> str:
    """Create an invoice with hints for the private channels, and return its BOLT 11 text.

    With `private` LND omits channels with peers that have no public channel (invoicesrpc/addinvoice.go,
    `chanCanBeHopHint`). Payers would find no route to a node with only private channels behind such an LSP, so the
    hints of a node without a public channel are created here.
    """
    hints = await _hints(lnd)
    request = ln.Invoice(value_msat=amount_msat, memo=description, expiry=expiry_seconds)
    request.route_hints.extend(hints)
    request.private = not hints
    with lnd.calling("make an invoice"):
        return (await lnd.lightning.AddInvoice(request, timeout=CALL_SECONDS)).payment_request


async def _hints(lnd: Connection) -> list[ln.RouteHint]:
    """Return a hint for each usable channel of a node whose channels are all private; none for another node."""
    listed = await channels.open_channels(lnd)
    if not all(channel.private for channel in listed):
        return []
    usable = [channel for channel in listed if channel.active][:_MOST_HINTS]
    hints = [await _hint(lnd, channel) for channel in usable]
    return [hint for hint in hints if hint is not None]


async def _hint(lnd: Connection, channel: ln.Channel) -> ln.RouteHint | None:
    """Return a hint with the peer's policy for this channel; None if the peer has not announced it yet."""
    try:
        with lnd.calling(f"look up channel {channel.chan_id}"):
            edge = await lnd.lightning.GetChanInfo(ln.ChanInfoRequest(chan_id=channel.chan_id), timeout=CALL_SECONDS)
    except LndRefusedError:
        return None
    return hop_hint(channel, edge)


def hop_hint(channel: ln.Channel, edge: ln.ChannelEdge) -> ln.RouteHint | None:
    """Return a hint with the policy of the channel's other end, and with that end's alias if there is one."""
    first = edge.node1_pub == channel.remote_pubkey
    if not edge.HasField("node1_policy" if first else "node2_policy"):
        return None
    policy = edge.node1_policy if first else edge.node2_policy
    hop = ln.HopHint(
        node_id=channel.remote_pubkey,
        chan_id=channel.peer_scid_alias or channel.chan_id,
        fee_base_msat=policy.fee_base_msat,
        fee_proportional_millionths=policy.fee_rate_milli_msat,
        cltv_expiry_delta=policy.time_lock_delta,
    )
    return ln.RouteHint(hop_hints=[hop])


async def look_up(lnd: Connection, payment_hash: bytes) -> OwnInvoice | None:
    """See Node.look_up_invoice."""
    try:
        with lnd.calling(f"look up invoice {payment_hash.hex()}"):
            found = await lnd.lightning.LookupInvoice(ln.PaymentHash(r_hash=payment_hash), timeout=CALL_SECONDS)
    except LndRefusedError as error:
        if error.code is grpc.StatusCode.NOT_FOUND or "unable to locate invoice" in error.details:
            return None
        raise
    return own_invoice(found)


def own_invoice(invoice: ln.Invoice) -> OwnInvoice:
    """Return LND's record of an invoice; ACCEPTED: parts of a payment have arrived, and wait for the others."""
    return OwnInvoice(
        payment_hash=invoice.r_hash,
        amount_msat=optional_amount(invoice.value_msat),
        expires_at=UNIX_TIME(invoice.creation_date + invoice.expiry),
        payable=invoice.state in (ln.Invoice.OPEN, ln.Invoice.ACCEPTED),
        paid=invoice.state == ln.Invoice.SETTLED,
        payment_secret=payment_secret(invoice.payment_addr),
    )


def payment_secret(payment_addr: bytes) -> bytes | None:
    """Return the payment secret from LND's payment_addr, which is empty or zero if there is none."""
    return payment_addr if len(payment_addr) == 32 and any(payment_addr) else None


async def payments(updates: AsyncIterable[ln.Invoice]) -> AsyncIterator[InvoicePaid]:
    """Yield the paid invoices in the updates of SubscribeInvoices."""
    async for invoice in updates:
        if invoice.state == ln.Invoice.SETTLED:
            yield InvoicePaid(invoice.r_hash, invoice.amt_paid_msat)
