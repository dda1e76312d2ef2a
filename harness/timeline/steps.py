"""The protocol's eight steps, from the components' event logs: which were reached, by which node, and when.

The components' event logs show decisions and messages; whether the money moved must be checked on the nodes
(harness.checks.balances).
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Any

from harness.testbed import Testbed

Event = dict[str, Any]


class Role(Enum):
    """The role of the component that writes an event log."""

    PAYER = "payer"
    PAYER_LSP = "payer's LSP"
    PAYEE_LSP = "payee's LSP"
    PAYEE = "payee"


@dataclass(frozen=True)
class Step:
    """A step of the protocol; `seen_as`: the events of a role's event log that show that it is reached."""

    number: int
    sentence: str
    seen_as: dict[Role, tuple[str, ...]]


STEPS = (
    Step(1, "generates the pid, a random secret", {Role.PAYER: ("requested",)}),
    Step(2, "accepts to hold the coming payment", {Role.PAYER_LSP: ("accepted",)}),
    Step(3, "holds every part of the payment", {Role.PAYER_LSP: ("held",)}),
    Step(4, "hands over: payment_pending is on its way, the phone may go offline", {Role.PAYER: ("handed over",)}),
    Step(5, "receives payment_pending, and accepts it", {Role.PAYEE: ("releasing",)}),
    Step(6, "sends payment_release, through the payer's LSP", {Role.PAYEE: ("sent PaymentRelease",)}),
    Step(7, "releases the payment", {Role.PAYER_LSP: ("released", "paying")}),
    Step(8, "has the preimage: the payment is settled", {Role.PAYER: ("settled",)}),
)


@dataclass(frozen=True)
class Reached:
    """A step that was reached: by which node, and when (Unix seconds)."""

    step: Step
    node: str
    time: float


@dataclass(frozen=True)
class Roles:
    """The node of each role in a payment."""

    payer: str
    payer_lsp: str
    payee_lsp: str
    payee: str

    def node(self, role: Role) -> str:
        """The node's name."""
        return {
            Role.PAYER: self.payer,
            Role.PAYER_LSP: self.payer_lsp,
            Role.PAYEE_LSP: self.payee_lsp,
            Role.PAYEE: self.payee,
        }[role]


def of_payment(testbed: Testbed, roles: Roles, payment_hash: str, unblock_hash: str) -> list[Reached]:
    """Return the steps that this payment has reached, in the protocol's order, each with its first time."""
    journals = {role: list(_about(_events(testbed, roles, role), payment_hash, unblock_hash)) for role in Role}
    found = []
    for step in STEPS:
        times = [
            Reached(step, roles.node(role), event["time"])
            for role, words in step.seen_as.items()
            for event in journals[role]
            if event["what"] in words
        ]
        if times:
            found.append(min(times, key=lambda reached: reached.time))
    return found


def _events(testbed: Testbed, roles: Roles, role: Role) -> list[Event]:
    node = roles.node(role)
    if role in (Role.PAYER, Role.PAYEE):
        return testbed.phone(node).events()
    return testbed.lsp(node).events()


def _about(events: Iterable[Event], payment_hash: str, unblock_hash: str) -> Iterator[Event]:
    """Yield the events that name the payment, by its payment hash or unblock_hash."""
    for event in events:
        names = (event.get("payment_hash"), event.get("block"), *event.get("payment_hashes", ()))
        if payment_hash in names or unblock_hash in names:
            yield event
