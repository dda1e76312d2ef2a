"""`async_payments.get_info` over LSPS0, as a wallet reads it: asyncpay.lsp_info has the schema."""

from pydantic import TypeAdapter, ValidationError

from asyncpay.lightning import NodeId
from asyncpay.lsp_info import VERSION, LspInfo
from asyncpay.lsps.jsonrpc import METHOD_NOT_FOUND, Answer, RpcError

GET_INFO = "async_payments.get_info"

_SCHEMA = TypeAdapter(LspInfo)


class UnsuitableLspError(Exception):
    """Async payments do not work with this LSP; the text says which, why, and what to do."""


def read_answer(lsp: NodeId, answer: Answer) -> LspInfo:
    """What `lsp` answered to `get_info`; UnsuitableLspError for anything but an offer of this version."""
    name = f"LSP {lsp.hex()}"
    try:
        info = _SCHEMA.validate_python(answer.result())
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
