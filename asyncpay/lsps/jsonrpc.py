"""LSPS0 (bLIP-50): JSON-RPC 2.0 between a client and its LSP, one object in each custom message.

The LSP is the server, the wallet the client. Parameters go by name, there are no batches, and every request
has an id. Reading and writing only: who sends the payloads as custom messages is not said here.
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
    """An error answer: raised by a server's methods, and handed to a client whose call it answers."""

    def __init__(self, code: int, message: str, data: JsonObject | None = None) -> None:
        super().__init__(f"{message} ({code})")
        self.code = code
        self.message = message
        self.data = data


class FormatError(ValueError):
    """An LSP sent what is no JSON-RPC answer. Ignore it, and ask it nothing more until it is connected anew."""


class Params(BaseModel):
    """Base of a method's parameters: named, of the exact type, and no others."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class NoParams(Params):
    """Parameters of a method that takes none."""


P = TypeVar("P", bound=Params)


class Request(BaseModel):
    """A call, as the server reads it. By-position parameters are refused only later, when the id is known."""

    model_config = ConfigDict(strict=True, frozen=True)

    jsonrpc: Literal["2.0"]
    id: RequestId
    method: str
    params: JsonObject | list[Any] = Field(default_factory=dict)

    def read_params(self, kind: type[P]) -> P:
        """The parameters as `kind`; RpcError INVALID_PARAMS, naming those that are unknown."""
        try:
            return kind.model_validate(self.params)
        except ValidationError as error:
            unrecognized = [str(each["loc"][0]) for each in error.errors() if each["type"] == "extra_forbidden"]
            raise RpcError(INVALID_PARAMS, "Invalid params", {"unrecognized": unrecognized}) from None


def read_request(payload: bytes) -> Request:
    """Read what a client sent; RpcError PARSE_ERROR, to be answered with id None, if it is no request."""
    try:
        return Request.model_validate(_read(payload))
    except ValueError:
        raise RpcError(PARSE_ERROR, "not one JSON-RPC 2.0 request as in LSPS0") from None


def is_complaint(payload: bytes) -> bool:
    """Whether this is an error answer to no request: two servers must not complain to each other forever."""
    try:
        return _Response.model_validate(_read(payload)).is_complaint
    except ValueError:
        return False


def answer(request_id: str | int, result: JsonObject) -> bytes:
    """The payload that answers a request."""
    return _write({"jsonrpc": "2.0", "id": request_id, "result": result})


def refusal(request_id: str | int | None, error: RpcError) -> bytes:
    """The payload that answers a request with an error. None: the request could not be read."""
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
    """What an LSP answered to the call of this id: a result or an error."""

    id: str
    outcome: JsonObject | RpcError

    def result(self) -> JsonObject:
        """The result; raises the RpcError if it is one. Unknown keys in it are to be ignored."""
        if isinstance(self.outcome, RpcError):
            raise self.outcome
        return self.outcome


class Calls:
    """A wallet's calls to one LSP, and which of them are still to be answered."""

    def __init__(self) -> None:
        self._open: set[str] = set()

    def begin(self, method: str, params: JsonObject | None = None) -> Call:
        """A new call. ValueError if it does not fit into a message."""
        call_id = secrets.token_hex(16)
        payload = _write({"jsonrpc": "2.0", "id": call_id, "method": method, "params": params or {}})
        if len(payload) > MAX_PAYLOAD_BYTES:
            raise ValueError(f"{method}: {len(payload)} bytes, and a message takes {MAX_PAYLOAD_BYTES}")
        self._open.add(call_id)
        return Call(call_id, payload)

    def forget(self, call: Call) -> None:
        """Wait no longer for the answer; one that comes later is ignored."""
        self._open.discard(call.id)

    def receive(self, payload: bytes) -> Answer | None:
        """The answer that an LSP sent; None for what answers no open call. FormatError."""
        try:
            said = _read(payload)
            if isinstance(said, dict) and "method" in said:
                return None  # a notification; this protocol has none of these
            response = _Response.model_validate(said)
        except ValueError:
            raise FormatError(f"no JSON-RPC 2.0 answer: {payload[:80]!r}") from None
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
        # The text is the LSP's: nothing in it may play tricks on a terminal, a log or a page.
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
        """FormatError unless there is either a result or an error."""
        if self.error is not None and self.result is None:
            return self.error.as_exception()
        if self.result is not None and self.error is None:
            return self.result
        raise FormatError("an answer needs either a result or an error")


def _read(payload: bytes) -> Any:
    """One JSON value and nothing after it; ValueError. Zero bytes are nowhere allowed in JSON."""
    if len(payload) > MAX_PAYLOAD_BYTES:
        raise ValueError("too long for a message")
    return from_json(payload, allow_inf_nan=False)


def _write(message: JsonObject) -> bytes:
    # LSPS0 wants characters as they are wherever JSON does not need an escape.
    return json.dumps(message, ensure_ascii=False, separators=(",", ":")).encode()
