"""The live page without a testbed: a watcher whose testbed is what a test says, and which may be down."""

import itertools
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from time import time
from typing import Any

from harness.checks.status import ChannelStatus, ComponentStatus, NodeStatus, PhoneStatus, Status
from harness.errors import TestbedError
from harness.inside.interface import Push
from harness.timeline import recording
from harness.timeline.model import Event, Lane
from harness.timeline.story import tell
from harness.ui.watcher import Watcher

RECORDING = Path(__file__).parents[1] / "unit/harness/timeline/recordings/mixed"
HOSTILE = "<img src=x onerror=alert(1)></script><script>alert(2)</script>\u202e{{7*7}}"
HASH = "a7" * 32
NODES = (("A", "payer"), ("LSP_a", "lsp"), ("router", "router"), ("LSP_b", "lsp"), ("B", "payee"))
IDS = {name: f"02{number:064x}" for number, (name, _) in enumerate(NODES, 1)}
APPS = tuple({"name": name, "pid": 7, "process_states": "S", "stays_down": False} for name in ("node", "wallet"))


def status(text: str = "") -> Status:
    """A line that holds a payment while A is asleep. text: put wherever somebody else chooses the words."""
    sent = {
        "payment_hash": HASH,
        "state": "held",
        "amount_msat": 25_000_000,
        "description": text or "a coffee, some day",
        "failure": text or None,
        "release_by_height": 200,
        "hold_until": time() + 3_000,
        "ended_at": None,
    }
    block = {
        "unblock_hash": "0b" * 32,
        "client": IDS["A"],
        "state": "held",
        "finished": False,
        "payment_hashes": [HASH],
        "amount_msat": 25_000_000,
        "release_by_height": 200,
        "hold_until": time() + 3_000,
        "parts": [{"gone": False, "age_seconds": 1.5}],
    }
    said = {
        "blocks": [block],
        "waiting_for_a_client": [],
        "mailbox": {IDS["B"]: {"messages": 2, "bytes": 2_600}},
        "webhooks": [{"client": IDS["A"], "app_name": text or "wallet", "url": f"https://push/{text or 'abc'}"}],
        "last_errors": [{"time": time(), "what": text or "notify", "because": text or "no answer"}],
    }
    nodes = [
        NodeStatus(
            name, role, "cln" if name == "LSP_b" else "lnd", "running", None, "0.21.2", IDS[name], 123, True, 7, 8_000
        )
        for name, role in NODES
    ]
    nodes[0] = NodeStatus(
        "A", "payer", "lnd", "running", problem=text or "its phone sleeps or is frozen", node_id=IDS["A"]
    )
    ends = [(one, other) for (one, _), (other, _) in itertools.pairwise(NODES)]
    channels = [
        ChannelStatus(f"{100 + number}x1x0", each, 5_000_000, (3_000_000_000, 2_000_000_000), number in (0, 3), True, 0)
        for number, each in enumerate(ends)
    ]
    channels[0] = replace(
        channels[0], balances_msat=(None, 2_000_000_000), htlcs=1, payment_hashes=(HASH,), active=False
    )
    phones = [
        PhoneStatus("A", "LSP_a", "asleep", text or "disconnected", wallet_runs=False),
        PhoneStatus("B", "LSP_b", "awake", "normal", True, APPS, {"sent": [sent], "announced": []}),
    ]
    components = [
        ComponentStatus("LSP_a-lsp", "LSP_a", "running", True, None, 1, said),
        ComponentStatus("LSP_b-lsp", "LSP_b", "running", False, problem=text or "LSP_b-lsp is not attached"),
    ]
    return Status("line", text or "line", 123, True, nodes, components, phones, channels)


def pushes(text: str = "") -> list[Push]:
    """One that was had, and one that was refused."""
    had = Push(
        time=1_795_800_000.0, phone="B", method="async_payments.payment_pending", body="", delivered=1_795_800_001
    )
    return [had, had.model_copy(update={"delivered": None, "refused": text or "not signed", "method": text or None})]


def recorded() -> tuple[Event, ...]:
    """The events of a real run."""
    return tell(recording.read(RECORDING)).events


def recorded_lanes() -> tuple[Lane, ...]:
    """The lanes of the same."""
    return tell(recording.read(RECORDING)).lanes


class PlayedGateway:
    """What `Testbed.push` is."""

    def __init__(self, pushes_: list[Push]) -> None:
        self._pushes = pushes_

    def pushes(self) -> list[Push]:
        return self._pushes


class PlayedTestbed:
    """As much of a testbed as the questions of the API need."""

    name = "line"

    def __init__(self, text: str) -> None:
        self.phones = {"A": None, "B": None}
        self.push = PlayedGateway(pushes(text))


class PlayedWatcher(Watcher):
    """`up`: whether there is a testbed. Nothing is followed: a test adds the events."""

    def __init__(self, text: str = "", events: Iterable[Event] = ()) -> None:
        super().__init__("line")
        self.text = text
        self.up = True
        self.looks = 0
        self.events.add(events)

    def is_up(self) -> bool:
        return self.up

    def attach(self) -> Any:
        if not self.up:
            raise TestbedError("there is no testbed named line (up: none)")
        return PlayedTestbed(self.text)

    def _look(self) -> Status:
        self.attach()
        self.looks += 1
        return status(self.text)

    def start(self) -> None: ...
