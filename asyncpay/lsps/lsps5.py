"""LSPS5 (bLIP-55), the registration: which webhooks a client may set, and what it is told."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass

import httpx

from asyncpay.engine.lsp.interface import WebhookRemoved, WebhookSet
from asyncpay.engine.lsp.records import Webhook
from asyncpay.lightning import NodeId
from asyncpay.lsps.addresses import UrlError, parse_url
from asyncpay.lsps.jsonrpc import CLIENT_REJECTED, JsonObject, Params, RpcError

SET_WEBHOOK = "lsps5.set_webhook"
LIST_WEBHOOKS = "lsps5.list_webhooks"
REMOVE_WEBHOOK = "lsps5.remove_webhook"

TOO_LONG = 500
URL_PARSE_ERROR = 501
UNSUPPORTED_PROTOCOL = 502
TOO_MANY_WEBHOOKS = 503
APP_NAME_NOT_FOUND = 1010

MAX_APP_NAME_BYTES = 64
MAX_URL_CHARACTERS = 1024

_VISIBLE_ASCII = re.compile(r"[\x21-\x7e]+")


@dataclass(frozen=True, slots=True)
class Client:
    """Who asks, as the LSP knows it now.

    webhooks: those that it has registered. has_channel: an open channel, usable or not.
    """

    node_id: NodeId
    webhooks: Sequence[Webhook] = ()
    has_channel: bool = True


class SetWebhook(Params):
    """Parameters of `lsps5.set_webhook`: app_name for people, webhook an https URL."""

    app_name: str
    webhook: str


class RemoveWebhook(Params):
    """Parameters of `lsps5.remove_webhook`."""

    app_name: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of a call, and what the engine must store before the client gets to see it."""

    result: JsonObject
    event: WebhookSet | WebhookRemoved | None = None


def set_webhook(client: Client, params: SetWebhook, max_webhooks: int) -> Outcome:
    """Register a webhook, or give a registered app_name another address. RpcError.

    A node without a channel is refused, because otherwise any node could make an LSP remember things and call
    addresses. What is registered stays so after the last channel, until the engine lets it lapse.
    """
    if not client.has_channel:
        raise RpcError(CLIENT_REJECTED, "Client rejected", {"message": "webhooks are for peers with a channel"})
    _check_lengths(params)
    _check_url(params.webhook)
    registered = {webhook.app_name: webhook.url for webhook in client.webhooks}
    if params.app_name not in registered and len(registered) >= max_webhooks:
        raise RpcError(TOO_MANY_WEBHOOKS, "too_many_webhooks", {"max_webhooks": max_webhooks})
    no_change = registered.get(params.app_name) == params.webhook
    result = {
        "num_webhooks": len(registered | {params.app_name: params.webhook}),
        "max_webhooks": max_webhooks,
        "no_change": no_change,
    }
    return Outcome(result, None if no_change else WebhookSet(client.node_id, params.app_name, params.webhook))


def list_webhooks(client: Client, max_webhooks: int) -> Outcome:
    """The names under which webhooks are registered."""
    return Outcome({"app_names": [webhook.app_name for webhook in client.webhooks], "max_webhooks": max_webhooks})


def remove_webhook(client: Client, params: RemoveWebhook) -> Outcome:
    """Take a registration back. RpcError."""
    if params.app_name not in {webhook.app_name for webhook in client.webhooks}:
        raise RpcError(APP_NAME_NOT_FOUND, "app_name_not_found")
    return Outcome({}, WebhookRemoved(client.node_id, params.app_name))


def _check_lengths(params: SetWebhook) -> None:
    # The bytes of the name count as JSON writes them: a line feed, which needs an escape, is two.
    app_name_bytes = len(json.dumps(params.app_name, ensure_ascii=False).encode()) - len('""')
    if app_name_bytes > MAX_APP_NAME_BYTES:
        raise RpcError(TOO_LONG, f"too_long: app_name takes at most {MAX_APP_NAME_BYTES} bytes")
    if len(params.webhook) > MAX_URL_CHARACTERS:
        raise RpcError(TOO_LONG, f"too_long: webhook takes at most {MAX_URL_CHARACTERS} characters")


def _check_url(text: str) -> None:
    """As RFC 1738 has it, so without user and password. Where it points is looked at when it is called."""
    try:
        url, host = parse_url(text)
    except UrlError:
        url, host = httpx.URL(), ""
    if not _VISIBLE_ASCII.fullmatch(text) or not url.scheme:
        raise RpcError(URL_PARSE_ERROR, "url_parse_error: webhook is no URL of ASCII characters")
    if url.scheme != "https":
        raise RpcError(UNSUPPORTED_PROTOCOL, "unsupported_protocol: webhook must begin with https://")
    if not host or url.userinfo or not 0 < (443 if url.port is None else url.port) < 2**16:
        raise RpcError(URL_PARSE_ERROR, "url_parse_error: https takes a host, perhaps a port, no user or password")
