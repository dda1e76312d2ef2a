"""LSPS0 (bLIP-50): JSON-RPC 2.0 between a client and its LSP, one object in each custom message.

The LSP is the server, the wallet the client. Parameters are passed by name, there are no batches, and every request
has an id. This module only reads and writes the payloads; it does not send them as custom messages.
"""

import json
import secrets
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeAlias, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import from_json

MESSAGE_TYPE = 37913
"""The BOLT 1 message type of all LSPS messages, in both directions."""
MAX_PAYLOAD_BYTES = 65533

PARSE_ERROR = -32700
METHOD_NOT_FOUND = -32601
INVALID_PARAMS = -32602
INTERNAL_ERROR = -32603
CLIENT_REJECTED = 1

JsonObject: TypeAlias = dict[str, Any]
# Both are bounded, so that any answer with the id in it fits into a message.
RequestId: TypeAlias = Annotated[str, Field(max_length=256)] | Annotated[int, Field(ge=-(2**63), lt=2**63)]


class RpcError(Exception):
    """An error answer: a server's method raises it, and a client receives it as the answer to its call."""

    def __init__(self, code: int, message: str, data: JsonObject | None = None) -> None:
        super().__init__(f"{message} ({code})")
        self.code = code
        self.message = message
        self.data = data


class FormatError(ValueError):
    """An LSP sent a payload that is not a JSON-RPC answer. Ignore it, and send no request until it reconnects."""


class Params(BaseModel):
    """Base class of a method's parameters: passed by name, of the exact type; unknown ones are refused."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class NoParams(Params):
    """Parameters of a method that takes none."""


P = TypeVar("P", bound=Params)


class Request(BaseModel):
    """A request, as the server reads it. Parameters by position are refused later, when the id is known."""

    model_config = ConfigDict(strict=True, frozen=True)

    jsonrpc: Literal["2.0"]
    id: RequestId
    method: str
    params: JsonObject | list[Any] = Field(default_factory=dict)

    def read_params(self, kind: type[P]) -> P:
        """Return the parameters as `kind`; RpcError INVALID_PARAMS, which lists the unknown ones."""
        try:
            return kind.model_validate(self.params)
        except ValidationError as error:
            unrecognized = [str(each["loc"][0]) for each in error.errors() if each["type"] == "extra_forbidden"]
            raise RpcError(INVALID_PARAMS, "Invalid params", {"unrecognized": unrecognized}) from None


def read_request(payload: bytes) -> Request:
    """Parse a client's payload; RpcError PARSE_ERROR, to be answered with id None, if it is not a request."""
    try:
        return Request.model_validate(_read(payload))
    except ValueError:
        raise RpcError(PARSE_ERROR, "not one JSON-RPC 2.0 request as in LSPS0") from None


def is_complaint(payload: bytes) -> bool:
    """Return whether this is an error answer without an id: two servers must not send them to each other forever."""
    try:
        return _Response.model_validate(_read(payload)).is_complaint
    except ValueError:
        return False


def answer(request_id: str | int, result: JsonObject) -> bytes:
    """Return the payload that answers a request."""
    return _write({"jsonrpc": "2.0", "id": request_id, "result": result})


def refusal(request_id: str | int | None, error: RpcError) -> bytes:
    """Return the payload that answers a request with an error. request_id: None if the request could not be parsed."""
    said: JsonObject = {"code": error.code, "message": error.message}
    full = _write({"jsonrpc": "2.0", "id": request_id, "error": said | ({"data": error.data} if error.data else {})})
    if len(full) <= MAX_PAYLOAD_BYTES:
        return full
    return _write({"jsonrpc": "2.0", "id": request_id, "error": said})


@dataclass(frozen=True, slots=True)
class Call:
    """A request to send as `payload`; its answer will have the same id."""

    id: str
    payload: bytes


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer of an LSP to the call with this id: a result or an error."""

    id: str
    outcome: JsonObject | RpcError

    def result(self) -> JsonObject:
        """Return the result, or raise the RpcError. The caller ignores unknown keys in the result."""
        if isinstance(self.outcome, RpcError):
            raise self.outcome
        return self.outcome


class Calls:
    """A wallet's calls to one LSP, and the ids of those that are not answered yet."""

    def __init__(self) -> None:
        self._open: set[str] = set()

    def begin(self, method: str, params: JsonObject | None = None) -> Call:
        """Return a new call. ValueError if it does not fit into a message."""
        call_id = secrets.token_hex(16)
        payload = _write({"jsonrpc": "2.0", "id": call_id, "method": method, "params": params or {}})
        if len(payload) > MAX_PAYLOAD_BYTES:
            raise ValueError(f"{method}: {len(payload)} bytes, and a message can carry {MAX_PAYLOAD_BYTES}")
        self._open.add(call_id)
        return Call(call_id, payload)

    def forget(self, call: Call) -> None:
        """Stop waiting for the answer; a later one is ignored."""
        self._open.discard(call.id)

    def receive(self, payload: bytes) -> Answer | None:
        """Return the answer in an LSP's payload; None if it does not answer an open call. Raises FormatError."""
        try:
            said = _read(payload)
            if isinstance(said, dict) and "method" in said:
                return None  # a JSON-RPC notification; this protocol has none
            response = _Response.model_validate(said)
        except ValueError:
            raise FormatError(f"not a JSON-RPC 2.0 answer: {payload[:80]!r}") from None
        outcome = response.outcome()
        if not isinstance(response.id, str) or response.id not in self._open:
            return None
        self._open.remove(response.id)
        return Answer(response.id, outcome)


class _Error(BaseModel):
    model_config = ConfigDict(strict=True)

    code: Annotated[int, Field(ge=-(2**31), lt=2**31)]
    message: str
    data: Any = None

    def as_exception(self) -> RpcError:
        # The text is untrusted: no control characters or markup may reach a terminal, a log or a page.
        shown = "".join(char for char in self.message[:200] if char.isprintable() and char not in "<>")
        return RpcError(self.code, shown, self.data if isinstance(self.data, dict) else None)


class _Response(BaseModel):
    model_config = ConfigDict(strict=True)

    jsonrpc: Literal["2.0"]
    id: str | int | None
    result: JsonObject | None = None
    error: _Error | None = None

    @property
    def is_complaint(self) -> bool:
        return self.id is None and self.error is not None

    def outcome(self) -> JsonObject | RpcError:
        """Return the result or the error. FormatError unless there is exactly one of them."""
        if self.error is not None and self.result is None:
            return self.error.as_exception()
        if self.result is not None and self.error is None:
            return self.result
        raise FormatError("an answer needs either a result or an error")


def _read(payload: bytes) -> Any:
    """Parse a payload of exactly one JSON value. Raises ValueError. JSON allows no zero bytes."""
    if len(payload) > MAX_PAYLOAD_BYTES:
        raise ValueError("too long for a message")
    return from_json(payload, allow_inf_nan=False)


def _write(message: JsonObject) -> bytes:
    # LSPS0 requires unescaped characters wherever JSON does not need an escape.
    return json.dumps(message, ensure_ascii=False, separators=(",", ":")).encode()
