"""The steps of a payment, found in the components' journals."""

from types import SimpleNamespace
from typing import Any, cast

from harness.testbed import Testbed
from harness.timeline import steps
from harness.timeline.steps import Roles

HASH, BLOCK, OTHER = "aa" * 32, "bb" * 32, "cc" * 32


def journal(*events: dict[str, Any]) -> Any:
    return SimpleNamespace(events=lambda: list(events))


def test_steps_are_those_of_this_payment_each_when_it_was_first_reached() -> None:
    phones = {
        "A": journal(
            {"time": 1.0, "what": "requested", "payment_hash": HASH},
            {"time": 0.5, "what": "requested", "payment_hash": OTHER},
            {"time": 4.0, "what": "handed over", "payment_hash": HASH},
        ),
        "B": journal(
            {"time": 6.0, "what": "releasing", "block": BLOCK, "payment_hashes": [HASH]},
            {"time": 7.0, "what": "sent PaymentRelease", "block": BLOCK},
            {"time": 9.0, "what": "sent PaymentRelease", "block": BLOCK},
        ),
    }
    lsps = {
        "LSP_a": journal(
            {"time": 2.0, "what": "accepted", "block": BLOCK, "payment_hashes": [HASH]},
            {"time": 3.0, "what": "held", "block": BLOCK, "payment_hashes": [HASH]},
            {"time": 8.0, "what": "paying", "block": BLOCK, "payment_hashes": [HASH]},
            {"time": 8.5, "what": "released", "block": OTHER, "payment_hashes": [OTHER]},
        ),
        "LSP_b": journal({"time": 5.0, "what": "notify lsps5.onion_message_incoming"}),
    }
    testbed = cast("Testbed", SimpleNamespace(phone=phones.__getitem__, lsp=lsps.__getitem__))
    found = steps.of_payment(testbed, Roles("A", "LSP_a", "LSP_b", "B"), HASH, BLOCK)
    assert [(each.step.number, each.node, each.time) for each in found] == [
        (1, "A", 1.0),
        (2, "LSP_a", 2.0),
        (3, "LSP_a", 3.0),
        (4, "A", 4.0),
        (5, "B", 6.0),
        (6, "B", 7.0),
        (7, "LSP_a", 8.0),
    ]
