"""The registration of webhooks by LSPS5 (bLIP-55): the webhooks that a client may set, and the LSP's answers."""

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
    """The client that sent a request, with its current state at the LSP.

    webhooks: its registered webhooks. has_channel: whether it has an open channel, usable or not.
    """

    node_id: NodeId
    webhooks: Sequence[Webhook] = ()
    has_channel: bool = True


class SetWebhook(Params):
    """Parameters of `lsps5.set_webhook`: app_name is for users, webhook is an https URL."""

    app_name: str
    webhook: str


class RemoveWebhook(Params):
    """Parameters of `lsps5.remove_webhook`."""

    app_name: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of a call, and the event that the engine must store before the result is sent."""

    result: JsonObject
    event: WebhookSet | WebhookRemoved | None = None


def set_webhook(client: Client, params: SetWebhook, max_webhooks: int) -> Outcome:
    """Register a webhook, or replace the URL of a registered app_name. Raises RpcError.

    A node without a channel is refused, because otherwise any node could make an LSP store data and post to URLs.
    A registration remains after the last channel closes, until the engine deletes it.
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
    """Return the names under which webhooks are registered."""
    return Outcome({"app_names": [webhook.app_name for webhook in client.webhooks], "max_webhooks": max_webhooks})


def remove_webhook(client: Client, params: RemoveWebhook) -> Outcome:
    """Remove a registration. Raises RpcError."""
    if params.app_name not in {webhook.app_name for webhook in client.webhooks}:
        raise RpcError(APP_NAME_NOT_FOUND, "app_name_not_found")
    return Outcome({}, WebhookRemoved(client.node_id, params.app_name))


def _check_lengths(params: SetWebhook) -> None:
    # The length of the name is that of its JSON encoding: a line feed, which needs an escape, counts as two bytes.
    app_name_bytes = len(json.dumps(params.app_name, ensure_ascii=False).encode()) - len('""')
    if app_name_bytes > MAX_APP_NAME_BYTES:
        raise RpcError(TOO_LONG, f"too_long: app_name may have at most {MAX_APP_NAME_BYTES} bytes")
    if len(params.webhook) > MAX_URL_CHARACTERS:
        raise RpcError(TOO_LONG, f"too_long: webhook may have at most {MAX_URL_CHARACTERS} characters")


def _check_url(text: str) -> None:
    """Check a URL by RFC 1738, so without user and password. Its address is checked at each post."""
    try:
        url, host = parse_url(text)
    except UrlError:
        url, host = httpx.URL(), ""
    if not _VISIBLE_ASCII.fullmatch(text) or not url.scheme:
        raise RpcError(URL_PARSE_ERROR, "url_parse_error: webhook is not a URL of ASCII characters")
    if url.scheme != "https":
        raise RpcError(UNSUPPORTED_PROTOCOL, "unsupported_protocol: webhook must begin with https://")
    if not host or url.userinfo or not 0 < (443 if url.port is None else url.port) < 2**16:
        raise RpcError(URL_PARSE_ERROR, "url_parse_error: https needs a host, may have a port, no user or password")
