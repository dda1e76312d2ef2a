"""What `testbed status` and `testbed pushes` show: whole at the 80 columns that a terminal has at least, with names."""

import time
from dataclasses import replace
from typing import Any

import pytest
from rich.console import Console

from harness.checks import status
from harness.checks.status import ChannelStatus, ComponentStatus, NodeStatus, PhoneStatus, Status
from harness.cli import push as push_commands
from harness.cli import tables
from harness.inside.interface import Push
from harness.nodes.base import Channel

NODE = NodeStatus(
    name="LSP_a",
    role="router",
    implementation="lnd",
    container="running",
    version="0.21.2-beta",
    node_id="02" * 33,
    height_blocks=12345,
    synced=True,
    onchain_sat=4_999_999_999,
    channel_balance_msat=335_544_300_123,
)
CHANNEL = ChannelStatus(
    short_channel_id="12345x12x1",
    ends=("LSP_a", "router"),
    capacity_sat=16_777_215,
    balances_msat=(16_000_000_123, 777_214_877),
    private=False,
    active=False,
    htlcs=12,
)


def seen(*nodes: NodeStatus, channels: tuple[ChannelStatus, ...] = (CHANNEL,)) -> Status:
    components = [ComponentStatus("LSP_a-lsp", "LSP_a", "running", attached=True, held_payments=3)]
    phones = [PhoneStatus("A", "LSP_a", "asleep", "latency 300 ms, 1 kB/s", wallet_runs=False)]
    return Status("line", "line", 12345, True, list(nodes), components, phones, list(channels))


def shown(*what: Any) -> str:
    console = Console(width=80, force_terminal=False)
    with console.capture() as capture:
        console.print(*what)
    return capture.get()


def test_amounts_are_whole_at_80_columns() -> None:
    said = shown(tables.nodes_table(seen(NODE)))
    for text in ("LSP_a", "lnd 0.21.2-beta", "12345", "4 999 999 999", "335 544 300.123"):
        assert text in said
    assert "…" not in said


def test_so_are_channels() -> None:
    said = shown(tables.channels_table(seen(NODE)))
    for text in ("16 000 000.123", "777 214.877", "12345x12x1"):
        assert text in said
    assert "usable" in said
    assert "12 HTLC" in " ".join(said.split())
    assert "…" not in said


def test_a_problem_is_told_below_the_table() -> None:
    problem = "A (LND) did not report its identity: failed to connect to all addresses [last error: timeout]"
    ill = replace(NODE, name="A", problem=problem)
    said = shown(tables.nodes_table(seen(ill, NODE)))
    assert f"A: {problem}" in " ".join(said.split())
    assert "4 999 999 999" in said


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, "yes"),
        ({"refused": "not signed by LSP 02ab"}, "no: not signed by LSP 02ab"),
        ({"refused": "the gateway was told to answer: 500", "checked": False}, "not checked: the gateway was told"),
        ({"refused": "[/x]"}, "no: [/x]"),
    ],
)
def test_a_push_is_shown_whole(changes: dict[str, Any], said: str) -> None:
    method = "async_payments.settlement_pending"
    push = Push(time=0.5, phone="B", method=method, body="", delivered=12345.678, **changes)
    table = " ".join(shown(push_commands._table([push])).split())
    assert "settlement_pending" in table
    assert push.refused or time.strftime("%H:%M:%S", time.localtime(12345)) + ".678" in table
    assert "…" not in table
    assert all(word in table for word in said.split())


def test_a_sleeping_peer_has_its_name() -> None:
    ids = {"02" * 33: "LSP_b", "03" * 33: "B"}
    view = Channel("7x1x0", "aa:0", "03" * 33, 100_000, 60_000_000, True, True, 0, 0)
    (channel,) = status._channels(ids, ["LSP_b", "B"], [[view], []])
    assert channel.ends == ("LSP_b", "B")
    assert channel.balances_msat == (60_000_000, None)
