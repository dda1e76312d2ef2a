"""A client and an LSP that know each other, and node keys that sign."""

import json
from typing import Any

from coincurve import PrivateKey

from asyncpay.engine.lsp.policy import LspPolicy, describe
from asyncpay.engine.lsp.records import Webhook
from asyncpay.lightning import Capabilities, Capability
from asyncpay.lsps.lsps5 import Client
from asyncpay.lsps.server import Server
from asyncpay.wire import signature

LSP_KEY = PrivateKey(bytes([0x44]) * 32)
LSP = LSP_KEY.public_key.format()
PHONE = PrivateKey(bytes([0x45]) * 32).public_key.format()

CAPABILITIES = Capabilities(
    transit_release=Capability(True, ""),
    forwards_with_payer_offline=Capability(False, ""),
    reoffers_without_payer=Capability(False, ""),
    pays_on_behalf=Capability(True, ""),
    metadata_with_slack=Capability(True, "not asked for here"),
    keeps_settlements=Capability(False, ""),
    cutoff_blocks=19,
)
SERVER = Server(describe(LspPolicy(), CAPABILITIES), max_webhooks=3)


def sign(text: str, key: PrivateKey = LSP_KEY) -> bytes:
    """What a node's signmessage returns, before zbase32."""
    compact = key.sign_recoverable(signature.digest(text), hasher=None)
    return bytes([31 + compact[64]]) + compact[:64]


def webhook(app_name: str = "phone", url: str = "https://push.example/x", client: bytes = PHONE) -> Webhook:
    return Webhook(client=client, app_name=app_name, url=url, used_at=0)


def request(method: str, params: Any = None, call_id: Any = "a call") -> bytes:
    return json.dumps({"jsonrpc": "2.0", "id": call_id, "method": method, "params": params or {}}).encode()


def ask(client: Client, method: str, params: Any = None) -> tuple[dict[str, Any], Any]:
    """The answer's JSON, and the event that goes with it."""
    handled = SERVER.handle(client, request(method, params))
    assert handled is not None
    said = json.loads(handled.payload)
    assert said["id"] == "a call"
    return said, handled.event
