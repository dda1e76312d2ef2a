"""The wallet's side of `async_payments.get_info` over LSPS0; asyncpay.lsp_info defines the schema."""

from pydantic import TypeAdapter, ValidationError

from asyncpay.lightning import NodeId
from asyncpay.lsp_info import VERSION, LspInfo
from asyncpay.lsps.jsonrpc import METHOD_NOT_FOUND, Answer, RpcError

GET_INFO = "async_payments.get_info"

_SCHEMA = TypeAdapter(LspInfo)


class UnsuitableLspError(Exception):
    """Async payments do not work with this LSP; the text names the LSP, the reason and a remedy."""


def read_answer(lsp: NodeId, answer: Answer) -> LspInfo:
    """Return the offer in an answer of `lsp` to `get_info`; UnsuitableLspError unless it is of this version."""
    name = f"LSP {lsp.hex()}"
    try:
        info = _SCHEMA.validate_python(answer.result())
    except RpcError as error:
        if error.code == METHOD_NOT_FOUND:
            why = "does not offer async payments: use another LSP, or ask this one to install it"
        else:
            why = f"did not answer {GET_INFO}: {error}"
        raise UnsuitableLspError(f"{name} {why}") from error
    except ValidationError as error:
        fields = ", ".join(sorted({str(each["loc"][0]) for each in error.errors()}))
        raise UnsuitableLspError(
            f"{name} sent an invalid answer to {GET_INFO} (missing or wrong: {fields}). "
            "Report it to the operator of the LSP, or use another LSP"
        ) from None
    if VERSION not in info.versions:
        raise UnsuitableLspError(
            f"{name} supports versions {list(info.versions)} of async payments, this wallet version {VERSION}. "
            "Update the older one"
        )
    return info
