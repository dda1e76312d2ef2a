"""LSPS5 notifications (bLIP-55): the posts of an LSP to a webhook, and the receiver's checks.

The body is a JSON-RPC notification. It states the reason for the notification and nothing more: no hash, no amount, no
node id. The LSP's node key signs it together with the time (see asyncpay.wire.signature).
"""

import json
import math
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from asyncpay.lightning import NodeId
from asyncpay.wire import signature
from asyncpay.wire.errors import WireError

WEBHOOK_REGISTERED = "lsps5.webhook_registered"
"""Sent once to a newly set webhook; the other methods are asyncpay.engine.lsp.records.Method."""

TIMESTAMP_HEADER = "x-lsps5-timestamp"
SIGNATURE_HEADER = "x-lsps5-signature"
MAX_AGE_SECONDS = 600

_MAX_REMEMBERED = 100
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Notification(BaseModel):
    """The body of a notification."""

    model_config = ConfigDict(frozen=True, strict=True)

    jsonrpc: Literal["2.0"] = "2.0"
    method: str
    params: dict[str, Any] = {}

    @classmethod
    def of(cls, method: str, timeout: int | None = None) -> Self:
        """Return a notification. timeout: the block height of lsps5.expiry_soon; the other methods have no params."""
        return cls(method=method, params={} if timeout is None else {"timeout": timeout})

    def body(self) -> str:
        """Return the JSON text that is signed and posted."""
        return self.model_dump_json()


class RefusedNotificationError(Exception):
    """A post that must be ignored: not from the LSP, too old, a replay, or not a notification."""


def timestamp(milliseconds: int) -> str:
    """Format Unix time in milliseconds as in LSPS0, for example 2023-05-04T10:52:58.395Z."""
    moment = _EPOCH + timedelta(milliseconds=milliseconds)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def signed_text(when: str, body: str) -> str:
    """Return the text that the LSP's node signs. It warns users not to sign it manually (bLIP-55)."""
    return f"LSPS5: DO NOT SIGN THIS MESSAGE MANUALLY: LSP: At {when} I notify {body}"


def signed_by_cln(text: str) -> str:
    """Return the text that Core Lightning signs in place of a text: its JSON encoding, with quotes escaped.

    Its `signmessage` does not decode the parameter (CLN's common/json_param.c, param_string).
    """
    return json.dumps(text, ensure_ascii=False)[1:-1]


def headers(when: str, signed: bytes) -> dict[str, str]:
    """Return the HTTP headers of a post. signed: the node's signature over `signed_text`, 65 bytes."""
    return {
        "content-type": "application/json",
        TIMESTAMP_HEADER: when,
        SIGNATURE_HEADER: signature.encode(signed),
    }


class Receiver:
    """Check the posts to one webhook, registered with one LSP, and detect replays.

    The memory of earlier posts is lost with the process: after a restart an attacker who has seen a post of the last
    ten minutes could replay it. The webhook's HTTPS prevents attackers from seeing posts.
    """

    def __init__(self, lsp: NodeId) -> None:
        self._lsp = lsp
        self._seen: dict[bytes, float] = {}
        self._forgotten_until = -math.inf

    def accept(self, headers: Mapping[str, str], body: bytes, now: float) -> Notification:
        """Return the notification posted at Unix time `now`; RefusedNotificationError, with the reason.

        Header names are case-insensitive. The method may be unknown: the caller ignores such a notification.
        """
        given = {name.lower(): value for name, value in headers.items()}
        when = given.get(TIMESTAMP_HEADER, "")
        text = self._signed_by_lsp(when, body, given.get(SIGNATURE_HEADER, ""))
        sent_at = _seconds(when)
        if abs(now - sent_at) > MAX_AGE_SECONDS:
            raise RefusedNotificationError(f"sent at {when}, more than {MAX_AGE_SECONDS} s from now")
        try:
            notification = Notification.model_validate_json(body)
        except ValidationError as error:
            raise RefusedNotificationError("the body is not a JSON-RPC 2.0 notification") from error
        self._remember(signature.digest(text), sent_at, now)
        return notification

    def _signed_by_lsp(self, when: str, body: bytes, signed: str) -> str:
        try:
            text = signed_text(when, body.decode())
            signers = [signature.recover(each, signature.decode(signed)) for each in (text, signed_by_cln(text))]
        except (UnicodeDecodeError, WireError) as error:
            raise RefusedNotificationError(f"not signed: {error}") from error
        if self._lsp not in signers:
            raise RefusedNotificationError(f"not signed by LSP {self._lsp.hex()}")
        return text

    def _remember(self, digest: bytes, sent_at: float, now: float) -> None:
        """Remember the digest of the signed text, not the signature: a second valid signature can be derived."""
        if digest in self._seen or sent_at <= self._forgotten_until:
            raise RefusedNotificationError("a replay of an earlier notification")
        self._seen[digest] = sent_at
        for oldest, at in sorted(self._seen.items(), key=lambda item: item[1]):
            if at >= now - MAX_AGE_SECONDS and len(self._seen) <= _MAX_REMEMBERED:
                break
            del self._seen[oldest]
            self._forgotten_until = at


def _seconds(when: str) -> float:
    """Return the Unix time of a `timestamp`; RefusedNotificationError for any other form."""
    try:
        moment = datetime.strptime(when, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC)
    except ValueError:
        moment = _EPOCH
    if timestamp((moment - _EPOCH) // timedelta(milliseconds=1)) != when:
        raise RefusedNotificationError(f"{TIMESTAMP_HEADER} {when!r:.60} is not of the form {timestamp(0)}")
    return moment.timestamp()
