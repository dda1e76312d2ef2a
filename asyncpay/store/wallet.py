"""The wallet's store."""

from typing import ClassVar

from asyncpay.engine.payee.records import Claim
from asyncpay.engine.payer.records import OutgoingPayment
from asyncpay.engine.wallet import WalletRecord
from asyncpay.store.database import Store, Table


class WalletStore(Store[WalletRecord]):
    """The records of asyncpay.engine.payer and asyncpay.engine.payee."""

    owner = "wallet"
    application_id = 0x41505741  # "APWA"
    folder = "wallet"
    if_not_written = "payments under way go on in the node"
    if_damaged = (
        "it holds the secrets of payments that may be under way. With an empty file in its place the node would still "
        "finish them, but they could be neither cancelled nor handed over, and what waits to be received would be late"
    )
    tables: ClassVar = {
        OutgoingPayment: Table(OutgoingPayment, "payments", ["payment_hash"], "created_at"),
        Claim: Table(Claim, "claims", ["pid"], "announced_at"),
    }
