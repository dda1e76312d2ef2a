"""The names of what can be done to a phone, and the quantities that some of it takes: for the command line and the API.

Nothing else is imported, so that `testbed --help` does not wait for a testbed's packages.
"""

import re
from decimal import Decimal

from harness.errors import TestbedError

WITHOUT_ARGUMENTS = {
    "sleep": "Stop node and wallet in good order. A push wakes the phone.",
    "wake": "Start node and wallet.",
    "freeze": "Suspend node and wallet: the LSP believes in the connection, and nothing answers it.",
    "unfreeze": "Let a frozen phone continue.",
    "disconnect": "Cut the link: both ends see it, and no push gets through either.",
    "reconnect": "Restore a link that was cut.",
    "reset": "Break the connection, and reset every later one (TCP RST) as soon as something is sent through it.",
    "restore": "Undo everything: the phone is awake, all of its apps run, and its link is whole.",
}
"""The verbs that take no argument, with their help; each is a method of harness.services.phone.Phone."""


def milliseconds(text: str) -> int:
    """A delay such as 300ms or 0.5s. Raises TestbedError."""
    return _quantity(text, {"ms": 1, "s": 1_000}, "a delay: write it like 300ms or 0.5s")


def kilobytes(text: str) -> int:
    """A rate such as 1kB or 1MB, for each second. Raises TestbedError."""
    return _quantity(text, {"kb": 1, "mb": 1_000}, "a rate: write it like 1kB or 1MB, for each second")


def _quantity(text: str, units: dict[str, int], wanted: str) -> int:
    match = re.fullmatch(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)\s*([a-z]+)", text.strip().lower())
    value = Decimal(match[1]) * units.get(match[2], 0) if match else Decimal()
    if value != int(value) or value <= 0:
        raise TestbedError(f"{text!r} is not {wanted}")
    return int(value)
