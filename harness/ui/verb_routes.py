"""The API's POST requests. Each one calls one function of harness.verbs, like the command line.

A request returns when the effect is visible, which may take a minute; other requests are handled meanwhile. So they run
in threads of their own, up to a maximum: slow ones keep neither the page from being read nor others from being refused.
"""

import functools
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

import anyio.to_thread
from anyio import CapacityLimiter
from fastapi import APIRouter
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException

from asyncpay.amounts import parse_msat
from harness import verbs
from harness.channels import Closed, Funded, Opened
from harness.checks.status import PhoneStatus
from harness.nodes.base import Payment
from harness.services import phone_verbs
from harness.ui import requests
from harness.ui.requests import Nothing
from harness.ui.watcher import Watcher
from harness.verbs import Played

Done = dict[str, bool]
DONE: Done = {"done": True}
SERVICE_VERBS = ("stop", "start", "restart", "kill")
MOST_AT_ONCE = 20
"""The most operations that run at a time; a further one is refused."""


def routes(watcher: Watcher) -> APIRouter:
    """Return all routes. Each request attaches to the testbed anew, like a command."""
    router = APIRouter(prefix="/api", tags=["do"], route_class=_in_threads(CapacityLimiter(MOST_AT_ONCE)))
    _add_payments(router, watcher)
    _add_channels(router, watcher)
    _add_phones(router, watcher)
    _add_wallets(router, watcher)
    _add_services(router, watcher)
    return router


def _in_threads(limiter: CapacityLimiter) -> type[APIRoute]:
    """Return the class of routes whose functions run in threads that the limiter counts, and no others."""

    class Route(APIRoute):
        def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
            @functools.wraps(endpoint)
            async def run(**arguments: Any) -> Any:
                if not limiter.available_tokens:
                    said = f"{MOST_AT_ONCE} operations are in progress. Try again when one of them has ended"
                    raise HTTPException(HTTPStatus.SERVICE_UNAVAILABLE, said)
                return await anyio.to_thread.run_sync(functools.partial(endpoint, **arguments), limiter=limiter)

            super().__init__(path, run, **options)

    return Route


def _add_payments(router: APIRouter, watcher: Watcher) -> None:
    @router.post("/pay")
    def pay(body: requests.Pay) -> Payment:
        """Pay an invoice of one node from another; return the output of `testbed pay --json`."""
        return verbs.pay(watcher.attach(), body.payer, body.payee, parse_msat(body.amount))

    @router.post("/demo")
    def demo(body: Nothing) -> Played:
        """Run the asynchronous payment of `testbed demo`: A pays B, never online at the same time."""
        return verbs.demo(watcher.attach())

    @router.post("/mine")
    def mine(body: requests.Mine) -> dict[str, int]:
        """Mine blocks, wait until all running nodes are synced, and return `height_blocks`: `testbed mine`."""
        return {"height_blocks": verbs.mine(watcher.attach(), body.blocks)}


def _add_channels(router: APIRouter, watcher: Watcher) -> None:
    @router.post("/fund")
    def fund(body: requests.Fund) -> Funded:
        """Send a node coins: `testbed fund`."""
        return verbs.fund(watcher.attach(), body.node, verbs.whole_sat(body.amount))

    @router.post("/open-channel")
    def open_channel(body: requests.OpenChannel) -> Opened:
        """Open a channel, and mine the necessary blocks: `testbed open-channel`."""
        capacity_sat, push_sat = verbs.whole_sat(body.capacity), 0 if body.push is None else verbs.whole_sat(body.push)
        return verbs.open_channel(watcher.attach(), body.opener, body.peer, capacity_sat, push_sat, body.private)

    @router.post("/close-channel")
    def close_channel(body: requests.CloseChannel) -> Closed:
        """Close a channel: `testbed close-channel`."""
        return verbs.close_channel(watcher.attach(), body.closer, body.peer, body.channel, body.force)


def _add_phones(router: APIRouter, watcher: Watcher) -> None:
    def add(verb: str, help_: str) -> None:
        def do(phone: str, body: Nothing) -> PhoneStatus:
            return verbs.do_to_phone(watcher.attach(), phone, verb)

        router.post(f"/phones/{{phone}}/{verb}", description=help_, summary=verb, operation_id=f"phone_{verb}")(do)

    for verb, help_ in phone_verbs.WITHOUT_ARGUMENTS.items():
        add(verb, help_)

    @router.post("/phones/{phone}/blackhole")
    def blackhole(phone: str, body: requests.Blackhole) -> PhoneStatus:
        """Drop all data, while both ends stay connected."""
        return verbs.blackhole(watcher.attach(), phone, body.direction)

    @router.post("/phones/{phone}/latency")
    def latency(phone: str, body: requests.Latency) -> PhoneStatus:
        """Add latency in each direction."""
        return verbs.latency(watcher.attach(), phone, phone_verbs.milliseconds(body.delay))

    @router.post("/phones/{phone}/bandwidth")
    def bandwidth(phone: str, body: requests.Bandwidth) -> PhoneStatus:
        """Limit the throughput in each direction."""
        return verbs.bandwidth(watcher.attach(), phone, phone_verbs.kilobytes(body.rate))

    @router.post("/phones/{phone}/register")
    def register(phone: str, body: Nothing) -> Done:
        """Register a new webhook of this phone with its LSP."""
        verbs.register(watcher.attach(), phone)
        return DONE


def _add_wallets(router: APIRouter, watcher: Watcher) -> None:
    @router.post("/wallets/{phone}/receive")
    def receive(phone: str, body: requests.Receive) -> dict[str, Any]:
        """Make an invoice; return the output of `asyncpay wallet receive --json`."""
        return verbs.wallet_receive(watcher.attach(), phone, parse_msat(body.amount), body.description)

    @router.post("/wallets/{phone}/pay")
    def pay(phone: str, body: requests.PayInvoice) -> dict[str, Any]:
        """Pay asynchronously; return when the phone may go offline, or the payment has failed (`failure` says why)."""
        return verbs.wallet_pay(watcher.attach(), phone, body.invoice)

    @router.post("/wallets/{phone}/cancel")
    def cancel(phone: str, body: requests.Cancel) -> dict[str, Any]:
        """Cancel a payment: request it back."""
        return verbs.wallet_cancel(watcher.attach(), phone, body.payment_hash)


def _add_services(router: APIRouter, watcher: Watcher) -> None:
    def add(verb: str) -> None:
        def do(service: str, body: Nothing) -> Done:
            getattr(verbs, verb)(watcher.attach(), service)
            return DONE

        help_ = f"`testbed {verb} SERVICE`: {getattr(verbs, verb).__doc__}"
        router.post(f"/services/{{service}}/{verb}", description=help_, summary=verb, operation_id=f"service_{verb}")(
            do
        )

    for verb in SERVICE_VERBS:
        add(verb)

    @router.post("/push-gateway")
    def push_gateway(body: requests.PushGateway) -> Done:
        """Answer LSPs normally, or like a broken gateway: `testbed push-gateway`."""
        verbs.push_gateway(watcher.attach(), body.answer)
        return DONE
