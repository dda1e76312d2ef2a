"""The LSP's side of LSPS0: the methods, and the answer to each request."""

from collections.abc import Callable
from dataclasses import asdict, dataclass

from asyncpay.engine.lsp.interface import WebhookRemoved, WebhookSet
from asyncpay.lsp_info import LspInfo
from asyncpay.lsps import jsonrpc, lsps5
from asyncpay.lsps.info import GET_INFO
from asyncpay.lsps.jsonrpc import NoParams, Request, RpcError
from asyncpay.lsps.lsps5 import Client, Outcome, RemoveWebhook, SetWebhook

LIST_PROTOCOLS = "lsps0.list_protocols"
DEFAULT_MAX_WEBHOOKS = 10


@dataclass(frozen=True, slots=True)
class Handled:
    """The steps that a request requires, in this order.

    1. `event`, if any, is passed to the engine, and its changes are stored.
    2. `payload` is sent to the client, in a custom message of jsonrpc.MESSAGE_TYPE.
    3. After a WebhookSet, notifications.WEBHOOK_REGISTERED is sent to that webhook only.

    request_id: the id of the request, for an error in place of `payload` if the event cannot be stored.
    """

    payload: bytes
    event: WebhookSet | WebhookRemoved | None = None
    request_id: str | int | None = None


class Server:
    """Answer requests. info: the offer of this LSP."""

    def __init__(self, info: LspInfo, max_webhooks: int = DEFAULT_MAX_WEBHOOKS) -> None:
        self._info = asdict(info)
        self._max_webhooks = max_webhooks
        self._methods: dict[str, Callable[[Client, Request], Outcome]] = {
            LIST_PROTOCOLS: self._list_protocols,
            GET_INFO: self._get_info,
            lsps5.SET_WEBHOOK: self._set_webhook,
            lsps5.LIST_WEBHOOKS: self._list_webhooks,
            lsps5.REMOVE_WEBHOOK: self._remove_webhook,
        }

    def handle(self, client: Client, payload: bytes) -> Handled | None:
        """Handle a payload of any content. The answer always fits into a message; None: do not answer."""
        try:
            request = jsonrpc.read_request(payload)
        except RpcError as error:
            return None if jsonrpc.is_complaint(payload) else Handled(jsonrpc.refusal(None, error))
        try:
            outcome = self._call(client, request)
        except RpcError as error:
            return Handled(jsonrpc.refusal(request.id, error))
        return Handled(jsonrpc.answer(request.id, outcome.result), outcome.event, request.id)

    def _call(self, client: Client, request: Request) -> Outcome:
        method = self._methods.get(request.method)
        if method is None:
            raise RpcError(jsonrpc.METHOD_NOT_FOUND, "Method not found")
        return method(client, request)

    def _list_protocols(self, _: Client, request: Request) -> Outcome:
        request.read_params(NoParams)
        return Outcome({"protocols": [5]})

    def _get_info(self, _: Client, request: Request) -> Outcome:
        request.read_params(NoParams)
        return Outcome(self._info)

    def _set_webhook(self, client: Client, request: Request) -> Outcome:
        return lsps5.set_webhook(client, request.read_params(SetWebhook), self._max_webhooks)

    def _list_webhooks(self, client: Client, request: Request) -> Outcome:
        request.read_params(NoParams)
        return lsps5.list_webhooks(client, self._max_webhooks)

    def _remove_webhook(self, client: Client, request: Request) -> Outcome:
        return lsps5.remove_webhook(client, request.read_params(RemoveWebhook))
