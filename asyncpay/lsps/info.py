"""`async_payments.get_info`: what an LSP offers, as a wallet reads it.

The LSP's side is asyncpay.engine.lsp.policy.describe, where the limits are.
"""

from typing import Annotated, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, StrictBool, ValidationError

from asyncpay.lightning import NodeId
from asyncpay.lsps.jsonrpc import METHOD_NOT_FOUND, Answer, RpcError

GET_INFO = "async_payments.get_info"
VERSION = 1
"""The version of the protocol that this code speaks."""

Limit: TypeAlias = Annotated[int, Field(ge=0, lt=2**63)]
"""A number that an LSP may choose: bounded, so that a wallet can add to it, store it and show it."""
Versions: TypeAlias = Annotated[tuple[Annotated[int, Field(ge=0, lt=2**16)], ...], Field(max_length=100)]


class UnsuitableLspError(Exception):
    """Async payments do not work with this LSP; the text says which, why, and what to do."""


class LspInfo(BaseModel):
    """What an LSP offers. The limits are those of asyncpay.engine.lsp.policy.LspPolicy, for one client.

    transit_release: it sees a release that passes through. forwards_with_payer_offline: a payer may be away
    when its payment is released. pays_on_behalf: otherwise it pays the invoice itself, if it has it.
    courier: it hands a payment_pending to the payee for a payer that is gone.
    """

    model_config = ConfigDict(frozen=True)

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


def read_answer(lsp: NodeId, answer: Answer) -> LspInfo:
    """What `lsp` answered to `get_info`; UnsuitableLspError for anything but an offer of this version."""
    name = f"LSP {lsp.hex()}"
    try:
        info = LspInfo.model_validate(answer.result())
    except RpcError as error:
        if error.code == METHOD_NOT_FOUND:
            why = "does not offer async payments: use another LSP, or ask this one to install it"
        else:
            why = f"did not say what it offers: {error}"
        raise UnsuitableLspError(f"{name} {why}") from error
    except ValidationError as error:
        fields = ", ".join(sorted({str(each["loc"][0]) for each in error.errors()}))
        raise UnsuitableLspError(
            f"{name} gave an answer to {GET_INFO} that cannot be read (missing or wrong: {fields}). "
            "Tell its operator, or use another LSP"
        ) from None
    if VERSION not in info.versions:
        raise UnsuitableLspError(
            f"{name} speaks versions {list(info.versions)} of async payments, this wallet {VERSION}: update the older"
        )
    return info
