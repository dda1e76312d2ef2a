"""The verbs of a phone, and the parsers of their quantities, for the command line and the API.

This module imports none of the testbed's packages, so that `testbed --help` does not load them.
"""

import re
from decimal import Decimal

from harness.errors import TestbedError

WITHOUT_ARGUMENTS = {
    "sleep": "Shut node and wallet down cleanly. A push wakes the phone.",
    "wake": "Start node and wallet.",
    "freeze": "Suspend node and wallet: the LSP regards the connection as alive, and gets no answer.",
    "unfreeze": "Resume a frozen phone.",
    "disconnect": "Cut the link, also for pushes; both ends see it.",
    "reconnect": "Restore a link that was cut.",
    "reset": "Break the connection, and reset every later one (TCP RST) as soon as something is sent through it.",
    "restore": "Undo everything: the phone is awake, all of its apps run, and its link works normally.",
}
"""The verbs that take no argument, with their help; each is a method of harness.services.phone.Phone."""


def milliseconds(text: str) -> int:
    """Parse a delay such as 300ms or 0.5s. Raises TestbedError."""
    return _quantity(text, {"ms": 1, "s": 1_000}, "a delay: write it like 300ms or 0.5s")


def kilobytes(text: str) -> int:
    """Parse a rate per second such as 1kB or 1MB. Raises TestbedError."""
    return _quantity(text, {"kb": 1, "mb": 1_000}, "a rate: write it like 1kB or 1MB, for each second")


def _quantity(text: str, units: dict[str, int], wanted: str) -> int:
    match = re.fullmatch(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)\s*([a-z]+)", text.strip().lower())
    value = Decimal(match[1]) * units.get(match[2], 0) if match else Decimal()
    if value != int(value) or value <= 0:
        raise TestbedError(f"{text!r} is not {wanted}")
    return int(value)
