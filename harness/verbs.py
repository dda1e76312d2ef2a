"""The operations on a running testbed, one function each, for the command line and the HTTP API.

Each returns when its effect is visible, and raises TestbedError for an impossible request, NodeError or EngineError if
a node or a container refuses, and WaitTimeoutError if the effect does not become visible.
"""

from dataclasses import dataclass
from typing import Any

from asyncpay.amounts import parse_msat
from harness import bringup, channels
from harness.channels import Closed, Funded, Opened
from harness.checks import status
from harness.checks.status import PhoneStatus
from harness.errors import TestbedError
from harness.inside.interface import Behaviour
from harness.nodes.base import Payment
from harness.nodes.predicates import payment_gone
from harness.services import phone_verbs
from harness.services.toxiproxy import Direction
from harness.testbed import Testbed
from harness.waits import wait_for


@dataclass(frozen=True)
class Played:
    """A finished asynchronous payment: its preimage, and the change of each node's balance."""

    preimage: str
    moved_msat: dict[str, int]


def pay(testbed: Testbed, payer: str, payee: str, amount_msat: int) -> Payment:
    """Pay an invoice of `payee` from `payer`; return when none of its HTLCs is left. Also raises PaymentError."""
    payment = testbed.pay(payer, payee, amount_msat)
    wait_for(payment_gone(testbed.running(), payment.payment_hash))
    return payment


def mine(testbed: Testbed, blocks: int) -> int:
    """Mine blocks, wait until all running nodes are synced to them, and return the height."""
    return testbed.mine(blocks)


def fund(testbed: Testbed, node: str, amount_sat: int) -> Funded:
    """Send a node coins; return when they have one confirmation."""
    return channels.fund(testbed, node, amount_sat)


def open_channel(
    testbed: Testbed, opener: str, peer: str, capacity_sat: int, push_sat: int = 0, private: bool = False
) -> Opened:
    """Open a channel. push_sat: the initial balance of `peer`."""
    return channels.open_channel(testbed, opener, peer, capacity_sat, push_sat, private)


def close_channel(
    testbed: Testbed, closer: str, peer: str, short_channel_id: str | None = None, force: bool = False
) -> Closed:
    """Close a channel by agreement, or by force. short_channel_id: the channel, if the two have several."""
    return channels.close_channel(testbed, closer, peer, short_channel_id, force)


def do_to_phone(testbed: Testbed, phone: str, verb: str) -> PhoneStatus:
    """Apply a verb without arguments: see harness.services.phone_verbs."""
    found = testbed.phone(phone)
    if verb not in phone_verbs.WITHOUT_ARGUMENTS:
        raise TestbedError(f"there is no phone verb {verb!r}. Choose from: {', '.join(phone_verbs.WITHOUT_ARGUMENTS)}")
    getattr(found, verb)()
    return status.look_at_phone(found)


def blackhole(testbed: Testbed, phone: str, direction: str | None = None) -> PhoneStatus:
    """Drop all data on a phone's link, or only in the direction `upstream` (to the LSP) or `downstream`."""
    found = testbed.phone(phone)
    found.blackhole(*([Direction(direction)] if direction else []))
    return status.look_at_phone(found)


def latency(testbed: Testbed, phone: str, milliseconds: int) -> PhoneStatus:
    """Add latency to a phone's link in each direction."""
    found = testbed.phone(phone)
    found.latency(milliseconds)
    return status.look_at_phone(found)


def bandwidth(testbed: Testbed, phone: str, kilobytes: int) -> PhoneStatus:
    """Limit the kilobytes per second on a phone's link in each direction."""
    found = testbed.phone(phone)
    found.bandwidth(kilobytes)
    return status.look_at_phone(found)


def register(testbed: Testbed, phone: str) -> None:
    """Register a new webhook of this phone with its LSP."""
    bringup.register(testbed, testbed.phone(phone))


def wallet_receive(testbed: Testbed, phone: str, amount_msat: int, description: str = "") -> dict[str, Any]:
    """Make an invoice of a phone's wallet. Return the output of `asyncpay wallet receive --json`."""
    return testbed.phone(phone).wallet.receive(amount_msat, f"--description={description}")


def wallet_pay(testbed: Testbed, phone: str, invoice: str) -> dict[str, Any]:
    """Pay from a phone's wallet; return the output of `asyncpay wallet pay --json` when the phone may go offline, or
    the payment has failed."""
    return testbed.phone(phone).wallet.pay(invoice)


def wallet_cancel(testbed: Testbed, phone: str, payment_hash: str) -> dict[str, Any]:
    """Cancel a payment; return the output of `asyncpay wallet cancel --json`. The hash's first digits suffice."""
    return testbed.phone(phone).wallet.cancel(payment_hash)


def stop(testbed: Testbed, service: str | None) -> None:
    """Shut down a service cleanly; all of them if none is named."""
    testbed.stop(testbed.service_of(service)) if service else testbed.stop_all()


def start(testbed: Testbed, service: str | None) -> None:
    """Start a service that was stopped or killed, or all of them; return when everything that runs works again."""
    testbed.start_and_wait(testbed.service_of(service)) if service else testbed.start_all()


def restart(testbed: Testbed, service: str | None) -> None:
    """`stop` and `start`."""
    stop(testbed, service)
    start(testbed, service)


def kill(testbed: Testbed, service: str) -> None:
    """Kill a service (SIGKILL). It stays down until it is started."""
    testbed.kill(testbed.service_of(service))


def push_gateway(testbed: Testbed, answer: str) -> None:
    """Set how the push gateway answers LSPs from now on: normally, 500, hang or redirect."""
    testbed.push.answer(Behaviour(answer))


def demo(testbed: Testbed) -> Played:
    """Run the asynchronous payment of `testbed demo`, in eight steps: A and B are never online at the same time."""
    from harness.scenarios.async_payment import AsyncPayment

    payment = AsyncPayment(testbed)
    moved = payment.play()
    return Played(payment.preimage, moved)


def whole_sat(amount: str) -> int:
    """Parse an on-chain amount. Raises AmountError, or TestbedError for a fraction of a satoshi."""
    sat, rest_msat = divmod(parse_msat(amount), 1_000)
    if rest_msat:
        raise TestbedError(
            f"{amount!r} is not a valid on-chain amount: it has a fraction of {rest_msat} msat. Use whole satoshis"
        )
    return sat
