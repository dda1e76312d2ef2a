"""BOLT 11 invoices, decoded and created by LDK."""

from collections.abc import Mapping
from typing import Any

from asyncpay.lightning import Invoice, OwnInvoice
from asyncpay.nodes import numbers
from asyncpay.nodes.ldk.rpc import Rpc
from asyncpay.nodes.numbers import FINAL_CLTV_BLOCKS, UNIX_TIME, optional_amount

Json = Mapping[str, Any]


async def decode(rpc: Rpc, text: str) -> Invoice:
    """Decode BOLT 11 text and check its signature. LdkRefusedError if it is invalid; numbers.UNREADABLE."""
    decoded = await rpc.call("decode", text=text)
    return Invoice(
        text=text,
        payment_hash=bytes.fromhex(decoded["payment_hash"]),
        payee=bytes.fromhex(decoded["payee"]),
        amount_msat=optional_amount(decoded["amount_msat"]),
        network=decoded["network"],
        expires_at=UNIX_TIME(decoded["expires_at"]),
        min_final_cltv_expiry=FINAL_CLTV_BLOCKS(decoded["min_final_cltv_expiry"]),
        description=numbers.text(decoded["description"]),
        route_hints=tuple(tuple(map(bytes.fromhex, hint)) for hint in decoded["route_hints"] if hint),
        has_blinded_paths=decoded["has_blinded_paths"],
        payment_secret=bytes.fromhex(decoded["payment_secret"]),
        needs_metadata=decoded["needs_metadata"],
    )


async def create(rpc: Rpc, amount_msat: int, description: str, expiry_seconds: int) -> Invoice:
    """See Node.create_invoice. LDK creates the hints itself, for private channels if it has no others."""
    made = await rpc.call("invoice", amount_msat=amount_msat, description=description, expiry_seconds=expiry_seconds)
    return await decode(rpc, made["bolt11"])


async def look_up(rpc: Rpc, payment_hash: bytes) -> OwnInvoice | None:
    """See Node.look_up_invoice. ldkd's clock decides whether the invoice has expired, not this process's."""
    found = await rpc.call("lookupinvoice", payment_hash=payment_hash.hex())
    if found is None:
        return None
    paid = found["paid_msat"] is not None
    return OwnInvoice(
        payment_hash=payment_hash,
        amount_msat=optional_amount(found["amount_msat"]),
        expires_at=UNIX_TIME(found["expires_at"]),
        payable=not paid and not found["expired"],
        paid=paid,
        payment_secret=bytes.fromhex(found["payment_secret"]),
    )
