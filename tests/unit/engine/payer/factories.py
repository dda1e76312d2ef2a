"""What the tests of the payer's engine begin with: who is there, an order to pay, what a node knows of a payment."""

from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

from asyncpay.engine.payer.records import OutgoingPayment
from asyncpay.lightning import PaymentResult, PaymentStatus, ShortChannelId
from asyncpay.wire.blinding import BlindedHop, BlindedPath
from asyncpay.wire.messages import BlockRequest, CancelRequest, unblock_hash
from asyncpay.wire.onion import OnionMessage
from tests.support.keys import node_id

LSP, OTHER_LSP, PAYEE, PAYER = (node_id(name) for name in ("LSP", "other LSP", "payee", "payer"))
CHANNEL = ShortChannelId.parse("100x1x0")
PID = b"p" * 32
BLOCK = unblock_hash(PID)
PREIMAGE = b"s" * 32
HASH = sha256(PREIMAGE).digest()
START = 1_000_000.0
HEIGHT = 500
AMOUNT = 1000
PATH = BlindedPath(first_node_id=LSP, first_path_key=LSP, hops=(BlindedHop(LSP, b""),))
IN_FLIGHT, SUCCEEDED, FAILED, UNKNOWN = (
    PaymentStatus.IN_FLIGHT,
    PaymentStatus.SUCCEEDED,
    PaymentStatus.FAILED,
    PaymentStatus.UNKNOWN,
)


def order(pid: bytes = PID, payment_hash: bytes = HASH, **changes: Any) -> OutgoingPayment:
    """A payment as the shell prepares it."""
    name = unblock_hash(pid)
    values: dict[str, Any] = {
        "payment_hash": payment_hash,
        "pid": pid,
        "lsp": LSP,
        "payee": PAYEE,
        "invoice": "lnbcrt1",
        "description": "coffee",
        "amount_msat": AMOUNT,
        "fee_limit_msat": 20,
        "slack_blocks": 576,
        "cltv_limit_blocks": 2016,
        "max_parts": 16,
        "max_part_msat": 400,
        "release_by_height": HEIGHT + 432,
        "hold_until": int(START) + 86_400,
        "pending": OnionMessage(b"k" * 33, b"onion"),
        "created_at": START,
    }
    values |= changes
    courier = values.pop("courier", None)
    request = BlockRequest(
        unblock_hash=name,
        courier=courier,
        payment_hashes=(payment_hash,),
        amount_msat=values["amount_msat"],
        release_by_height=values["release_by_height"],
        hold_until=values["hold_until"],
        signature=bytes(65),
    )
    cancel = CancelRequest(unblock_hash=name, signature=bytes(65))
    return OutgoingPayment(**values, request=request.encode(), cancel=cancel.encode())


@dataclass
class NodePayment:
    """What the node knows of a hash. parts: what is in flight."""

    status: PaymentStatus = IN_FLIGHT
    parts: list[int] = field(default_factory=list)
    preimage: bytes | None = None
    failure: str = ""

    def result(self) -> PaymentResult:
        return PaymentResult(
            status=self.status,
            preimage=self.preimage,
            fee_msat=7 if self.status is SUCCEEDED else 0,
            failure=self.failure,
            parts_in_flight=len(self.parts),
            in_flight_msat=sum(self.parts),
        )
