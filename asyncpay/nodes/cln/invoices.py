"""BOLT 11 invoices, decoded and created by CLN."""

import secrets
from collections.abc import Mapping
from typing import Any

from asyncpay.lightning import Invoice, OwnInvoice
from asyncpay.nodes import numbers
from asyncpay.nodes.base import NodeError
from asyncpay.nodes.cln import channels
from asyncpay.nodes.cln.rpc import Rpc
from asyncpay.nodes.numbers import FINAL_CLTV_BLOCKS, UNIX_TIME, optional_amount

Json = Mapping[str, Any]

METADATA_REQUIRED = 1 << 48
"""`option_payment_metadata` (BOLT 9), required."""

_NETWORKS = {"bc": "bitcoin", "tb": "testnet", "tbs": "signet", "bcrt": "regtest"}


async def decode(rpc: Rpc, text: str) -> Json:
    """Return CLN's decoding of a BOLT 11 invoice. NodeError if it is no invoice, or its signature is invalid."""
    decoded = await rpc.call("decode", string=text)
    if decoded["type"] != "bolt11 invoice" or not decoded["valid"]:
        raise NodeError(f"CLN at {rpc.socket} cannot pay this: it is a {decoded['type']} (valid: {decoded['valid']})")
    return decoded


def invoice(text: str, decoded: Json) -> Invoice:
    """Return the invoice from CLN's decoding. Raises numbers.UNREADABLE."""
    return Invoice(
        text=text,
        payment_hash=bytes.fromhex(decoded["payment_hash"]),
        payee=bytes.fromhex(decoded["payee"]),
        amount_msat=optional_amount(decoded.get("amount_msat")),
        network=_NETWORKS.get(decoded["currency"], "unknown"),
        expires_at=UNIX_TIME(decoded["created_at"] + decoded["expiry"]),
        min_final_cltv_expiry=FINAL_CLTV_BLOCKS(decoded["min_final_cltv_expiry"]),
        description=numbers.text(decoded.get("description", "")),
        route_hints=tuple(
            tuple(bytes.fromhex(hop["pubkey"]) for hop in hint) for hint in decoded.get("routes", ()) if hint
        ),
        # CLN 26.06 does not know this field: common/bolt11_json.c lists it as `extra`.
        has_blinded_paths=any(field["tag"] == "b" for field in decoded.get("extra", ())),
        payment_secret=_payment_secret(decoded),
        needs_metadata=bool(int(decoded.get("features") or "0", 16) & METADATA_REQUIRED),
    )


async def create(rpc: Rpc, amount_msat: int, description: str, expiry_seconds: int) -> Invoice:
    """See Node.create_invoice: CLN itself omits the channels of offline peers from the hints.

    Unless they are named, CLN also omits channels with peers that have no public channel ("dead ends", lightningd's
    routehint.c). Payers would find no route to a node with only private channels behind such an LSP: it names them.
    """
    listed = await channels.open_channels(rpc)
    all_private = bool(listed) and all(channel["private"] for channel in listed)
    names = [str(name) for channel in listed for name in channels.names_of(channel)]
    made = await rpc.call(
        "invoice",
        amount_msat=amount_msat,
        label=f"asyncpay-{secrets.token_hex(8)}",
        description=description,
        expiry=expiry_seconds,
        exposeprivatechannels=names if all_private else True,
    )
    return invoice(made["bolt11"], await decode(rpc, made["bolt11"]))


async def look_up(rpc: Rpc, payment_hash: bytes) -> OwnInvoice | None:
    """See Node.look_up_invoice."""
    found = (await rpc.call("listinvoices", payment_hash=payment_hash.hex()))["invoices"]
    if not found:
        return None
    status = found[0]["status"]
    text = found[0].get("bolt11")  # an invoice of BOLT 12 has none
    return OwnInvoice(
        payment_hash=payment_hash,
        amount_msat=optional_amount(found[0].get("amount_msat")),
        expires_at=UNIX_TIME(found[0]["expires_at"]),
        payable=status == "unpaid",
        paid=status == "paid",
        payment_secret=None if text is None else _payment_secret(await decode(rpc, text)),
    )


def _payment_secret(decoded: Json) -> bytes | None:
    """Return the payment secret. `listinvoices` does not show it, but its BOLT 11 text contains it."""
    secret: str | None = decoded.get("payment_secret")
    return None if secret is None else bytes.fromhex(secret)
