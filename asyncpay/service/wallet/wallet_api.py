"""The requests of the user to the running wallet: one method for each verb of the command line."""

from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields
from typing import Any

from asyncpay.engine.payer import interface as payer_io
from asyncpay.engine.payer.planning import OrderRefused, PayOptions
from asyncpay.engine.payer.states import FINISHED, State
from asyncpay.engine.policy import PayerPolicy
from asyncpay.lsps import lsps5
from asyncpay.lsps.info import UnsuitableLspError
from asyncpay.lsps.jsonrpc import RpcError
from asyncpay.nodes.base import Node, NodeError, check_invoice
from asyncpay.service.common.clock import SteadyClock
from asyncpay.service.common.control import Progress, Verb
from asyncpay.service.common.control_client import Plain, RefusedError
from asyncpay.service.common.event_log import EventLog
from asyncpay.service.common.loop import NotStoredError
from asyncpay.service.wallet import orders, view
from asyncpay.service.wallet.lsp_link import LspLink, NoLspError
from asyncpay.service.wallet.orders import PayRequest
from asyncpay.service.wallet.own_node import WalletNodeView
from asyncpay.service.wallet.view import View

Stored = Callable[[payer_io.PayerEvent], Awaitable[None]]

HANDED_OVER = frozenset({State.HANDED_OVER, *FINISHED})
"""States in which the phone may go offline."""


class WalletApi:
    """Every verb may raise RefusedError, with the reason. stored: lets the engine handle an event, and stores it."""

    def __init__(
        self,
        node: Node,
        node_view: WalletNodeView,
        link: LspLink,
        policy: PayerPolicy,
        view_of_store: View,
        event_log: EventLog,
        stored: Stored,
        clock: SteadyClock,
        hurry: Callable[[], None],
    ) -> None:
        self._node = node
        self._node_view = node_view
        self._link = link
        self._policy = policy
        self._view = view_of_store
        self._event_log = event_log
        self._stored = stored
        self._clock = clock
        self._hurry = hurry

    def verbs(self) -> dict[str, Verb]:
        """Return the verbs, by their names in asyncpay.service.common.control."""
        verbs: dict[str, Verb] = {
            "status": self._status,
            "register": self._register,
            "webhooks": self._webhooks,
            "unregister": self._unregister,
            "receive": self._receive,
            "pay": self._pay,
            "payments": self._payments,
            "cancel": self._cancel,
            "reconnect": self._reconnect,
        }
        return {name: _in_words(verb) for name, verb in verbs.items()}

    async def _status(self, _: Mapping[str, Any], __: Progress) -> Plain:
        seen = self._node_view
        try:
            lsp = self._link.node_id
        except NoLspError:
            lsp = None
        return {
            "healthy": seen.attached,
            "node": {
                "attached": seen.attached,
                "attached_at": seen.attached_at,
                "node_id": seen.node_id.hex() or None,
                "network": seen.network or None,
                "height_blocks": seen.height or None,
            },
            "lsp": {
                "node_id": None if lsp is None else lsp.hex(),
                "connected": lsp in seen.online,
                "channel_usable": lsp is not None and seen.channel_usable(lsp),
            },
            "unfinished_payments": sum(p.state not in FINISHED for p in self._view.payments.values()),
            "last_errors": list(self._event_log.errors),
        }

    async def _reconnect(self, _: Mapping[str, Any], __: Progress) -> Plain:
        """Return without waiting for the connection: a push handler has little time."""
        self._hurry()
        return {"connected": self._link.node_id in self._node_view.online}

    async def _register(self, said: Mapping[str, Any], _: Progress) -> Plain:
        params = {"app_name": said["app_name"], "webhook": said["url"]}
        return await self._link.call(lsps5.SET_WEBHOOK, params)

    async def _webhooks(self, _: Mapping[str, Any], __: Progress) -> Plain:
        return await self._link.call(lsps5.LIST_WEBHOOKS)

    async def _unregister(self, said: Mapping[str, Any], _: Progress) -> Plain:
        return await self._link.call(lsps5.REMOVE_WEBHOOK, {"app_name": said["app_name"]})

    async def _receive(self, said: Mapping[str, Any], _: Progress) -> Plain:
        """Create an invoice. The LSP's channel must be usable: nodes omit unusable channels from the hints."""
        check_invoice(said["amount_msat"], said["expiry_seconds"])
        lsp = self._link.node_id
        if not self._node_view.channel_usable(lsp):
            raise RefusedError(
                f"the channel with the LSP {lsp.hex()} is not usable now, and an invoice without it has no route to "
                "this phone: try again once it is online"
            )
        invoice = await self._node.create_invoice(said["amount_msat"], said["description"], said["expiry_seconds"])
        return {
            "invoice": invoice.text,
            "payment_hash": invoice.payment_hash.hex(),
            "amount_msat": invoice.amount_msat,
            "expires_at": invoice.expires_at,
        }

    async def _pay(self, said: Mapping[str, Any], progress: Progress) -> Plain:
        """Pay an invoice. wait: until the payment is decided, not only until the phone may go offline."""
        wishes = PayOptions(**{field.name: said[field.name] for field in fields(PayOptions)})
        wanted = PayRequest(said["invoice"], wishes, private=said["private"], literal_release=said["literal_release"])
        until = FINISHED if said["wait"] else HANDED_OVER
        order = await orders.prepare(
            self._node, self._node_view.own_node(), self._link, self._policy, wanted, self._clock
        )
        known = self._view.payments.get(order.payment_hash)
        if known is not None and not known.may_be_ordered_again:
            raise RefusedError(
                f"this invoice was paid before: payment {order.payment_hash.hex()} is {known.state.value}. "
                "An invoice can be paid only once; ask the payee for another"
            )
        await self._stored(payer_io.Ordered(order))
        async for payment in self._view.follow(order.payment_hash):
            if payment == known:  # the earlier order, which failed before anything was sent
                continue
            await progress(view.payment(payment))
            if payment.state in until:
                return view.payment(payment)
        raise AssertionError("a view is followed for ever")

    async def _payments(self, _: Mapping[str, Any], __: Progress) -> Plain:
        return {
            "sent": [view.payment(each) for each in self._view.payments.values()],
            "announced": [view.claim(each) for each in self._view.claims.values()],
        }

    async def _cancel(self, said: Mapping[str, Any], _: Progress) -> Plain:
        """Cancel a payment. payment_hash: its first digits, enough to identify it."""
        first_digits = str(said["payment_hash"])
        meant = [each for each in self._view.payments.values() if each.payment_hash.hex().startswith(first_digits)]
        if not meant:
            raise RefusedError(f"there is no payment {first_digits}; `asyncpay wallet payments` lists them")
        if len(meant) > 1:
            raise RefusedError(f"{len(meant)} payment hashes begin with {first_digits}: write more digits")
        (known,) = meant
        payment_hash = known.payment_hash
        if known.state in FINISHED:
            raise RefusedError(f"payment {payment_hash.hex()} is {known.state.value}: there is nothing to cancel")
        await self._stored(payer_io.CancelOrdered(payment_hash))
        return view.payment(self._view.payments[payment_hash])


def _in_words(verb: Verb) -> Verb:
    async def call(said: Mapping[str, Any], progress: Progress) -> Plain:
        with _reasons():
            return await verb(said, progress)

    return call


@contextmanager
def _reasons() -> Iterator[None]:
    """Turn every expected error into a RefusedError."""
    try:
        yield
    except RpcError as error:
        raise RefusedError(f"the LSP refuses: {error} (code {error.code})") from None
    except (OrderRefused, NoLspError, UnsuitableLspError, NodeError, NotStoredError) as error:
        raise RefusedError(str(error)) from None
