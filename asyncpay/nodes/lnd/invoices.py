"""Being paid by LND: invoices of its own."""

from collections.abc import AsyncIterable, AsyncIterator

import grpc

from asyncpay.lightning import OwnInvoice
from asyncpay.node_events import InvoicePaid
from asyncpay.nodes.lnd.connection import CALL_SECONDS, Connection, LndRefusedError
from asyncpay.nodes.proto import lightning_pb2 as ln


async def create(lnd: Connection, amount_msat: int, description: str, expiry_seconds: int) -> str:
    """The BOLT 11 text of a new invoice, with hints for private channels (`private`)."""
    request = ln.Invoice(value_msat=amount_msat, memo=description, expiry=expiry_seconds, private=True)
    with lnd.calling("make an invoice"):
        return (await lnd.lightning.AddInvoice(request, timeout=CALL_SECONDS)).payment_request


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
    """An invoice as LND keeps it; ACCEPTED: parts of a payment have arrived, and wait for the others."""
    return OwnInvoice(
        payment_hash=invoice.r_hash,
        amount_msat=invoice.value_msat or None,
        expires_at=invoice.creation_date + invoice.expiry,
        payable=invoice.state in (ln.Invoice.OPEN, ln.Invoice.ACCEPTED),
        paid=invoice.state == ln.Invoice.SETTLED,
        payment_secret=payment_secret(invoice.payment_addr),
    )


def payment_secret(payment_addr: bytes) -> bytes | None:
    """What LND calls payment_addr; where an invoice has none it is empty, or zero."""
    return payment_addr if len(payment_addr) == 32 and any(payment_addr) else None


async def payments(updates: AsyncIterable[ln.Invoice]) -> AsyncIterator[InvoicePaid]:
    """Of what SubscribeInvoices tells, the invoices that are paid."""
    async for invoice in updates:
        if invoice.state == ln.Invoice.SETTLED:
            yield InvoicePaid(invoice.r_hash, invoice.amt_paid_msat)
