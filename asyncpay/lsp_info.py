"""`async_payments.get_info`: the schema of an LSP's offer, for LSPs that send it and wallets that read it.

asyncpay.engine.policy.describe fills it in, asyncpay.lsps.info reads it, and
asyncpay.engine.payer.planning plans within it.
"""

from dataclasses import dataclass
from typing import Annotated, TypeAlias

from pydantic import Field, StrictBool

VERSION = 1
"""The version of the protocol that this code speaks."""

Limit: TypeAlias = Annotated[int, Field(ge=0, lt=2**63)]
"""A number that an LSP may choose: bounded, so that a wallet can add to it, store it and show it."""
Versions: TypeAlias = Annotated[tuple[Annotated[int, Field(ge=0, lt=2**16)], ...], Field(max_length=100)]


@dataclass(frozen=True, slots=True, kw_only=True)
class LspInfo:
    """The offer of an LSP. The limits are those of asyncpay.engine.policy.LspPolicy, for one client.

    transit_release: the LSP sees a release that its node forwards. forwards_with_payer_offline: a payer may be offline
    when its payment is released. pays_on_behalf: the LSP pays the invoice itself if the payer is offline and it has the
    invoice. courier: the LSP delivers a payment_pending to the payee for a payer that is offline.
    """

    versions: Versions
    transit_release: StrictBool
    forwards_with_payer_offline: StrictBool
    pays_on_behalf: StrictBool
    courier: StrictBool
    max_holds: Limit
    max_hold_seconds: Limit
    max_hold_blocks: Limit
    max_amount_msat: Limit
    min_margin_blocks: Limit
