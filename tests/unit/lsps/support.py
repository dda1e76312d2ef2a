"""A client and an LSP that know each other, and node keys that sign."""

import json
from typing import Any

from coincurve import PrivateKey

from asyncpay.engine.lsp.records import Webhook
from asyncpay.engine.policy import LspPolicy, describe
from asyncpay.lsps.lsps5 import Client
from asyncpay.lsps.server import Server
from asyncpay.nodes.lnd.node import CAPABILITIES
from tests.support.keys import key_of, node_id, signmessage

LSP_KEY = key_of("LSP")
LSP, PHONE = node_id("LSP"), node_id("phone")

SERVER = Server(describe(LspPolicy(), CAPABILITIES), max_webhooks=3)


def sign(text: str, key: PrivateKey = LSP_KEY) -> bytes:
    """What the `signmessage` of the LSP's node returns, or of another's."""
    return signmessage(text, key)


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
