"""Channels that there cannot be, or that cannot be closed, are refused in one sentence and before anything is done."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest

from harness import channels
from harness.errors import NodeError, TestbedError
from harness.nodes.base import Channel
from harness.testbed import Testbed

CHANNEL = Channel(
    "103x1x0", "aa:0", "B-id", 1_000_000, 500_000_000, private=False, active=True, htlcs=0, htlcs_locked_in=0
)


class PlayedNode:
    """A node that must not be asked to open anything."""

    def __init__(self, name: str, *listed: Channel) -> None:
        self.name = name
        self.node_id = f"{name}-id"
        self.listed = list(listed)
        self.asked: list[str] = []

    def channels(self) -> list[Channel]:
        return self.listed

    def close_channel(self, channel: Channel) -> None:
        self.asked.append(f"close {channel.short_channel_id}")
        self.listed.remove(channel)

    def force_close(self, channel: Channel) -> None:
        self.asked.append(f"force-close {channel.short_channel_id}")
        self.listed.remove(channel)


class PlayedTestbed:
    name = "x"

    def __init__(self, *nodes: PlayedNode, down: str = "") -> None:
        self.nodes = {node.name: node for node in nodes}
        self.phones = {"A": SimpleNamespace(lsp=SimpleNamespace(name="LSP"))}
        self.down = down
        self.mined: list[int] = []
        self.chain = SimpleNamespace(call=lambda *_: [{"spendingtxid": "cc"}])

    def __getitem__(self, name: str) -> PlayedNode:
        if name not in self.nodes:
            raise TestbedError(f"testbed x has no node {name}")
        return self.nodes[name]

    def running(self) -> list[PlayedNode]:
        return [node for node in self.nodes.values() if node.name != self.down]

    def mine(self, blocks: int) -> None:
        self.mined.append(blocks)


def played(*nodes: PlayedNode, down: str = "") -> Testbed:
    return cast(Testbed, PlayedTestbed(*nodes, down=down))


@pytest.mark.parametrize(
    ("ends", "amounts", "said"),
    [
        (("B", "B"), (1_000_000, 0), "B cannot have a channel to itself"),
        (("B", "C"), (99_999, 0), "the channel cannot be opened: capacity_sat: Input should be greater than or equal"),
        (("B", "C"), (16_777_216, 0), "the channel cannot be opened: capacity_sat"),
        (("B", "C"), (1_000_000, 950_001), "B cannot push 950001 sat of 1000000 sat"),
        (("B", "A"), (1_000_000, 0), "the phone A cannot have a channel with B: it connects only to its LSP. Use LSP"),
        (("A", "B"), (1_000_000, 0), "the phone A cannot have a channel with B"),
        (("B", "D"), (1_000_000, 0), "testbed x has no node D"),
        (("B", "LSP"), (1_000_000, 0), "LSP cannot be called: it does not run"),
    ],
)
def test_a_channel_that_there_cannot_be(ends: tuple[str, str], amounts: tuple[int, int], said: str) -> None:
    testbed = played(*(PlayedNode(name) for name in ("A", "B", "C", "LSP")), down="LSP")
    with pytest.raises(TestbedError, match=said):
        channels.open_channel(testbed, *ends, *amounts)


def test_a_grain_of_dust_is_not_sent() -> None:
    with pytest.raises(TestbedError, match="Send 1000 sat or more"):
        channels.fund(played(PlayedNode("B")), "B", 999)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"htlcs": 1}, r"it has 1 HTLC in flight. Wait \(`testbed wait no-htlcs`\), or close it with --force"),
        ({"active": False}, r"it is not usable now. Wait \(`testbed wait channels-usable C`\)"),
    ],
)
def test_a_close_that_cannot_be_agreed_upon_now(change: dict[str, Any], said: str) -> None:
    closer = PlayedNode("C", replace(CHANNEL, **change))
    with pytest.raises(TestbedError, match=said):
        channels.close_channel(played(closer, PlayedNode("B")), "C", "B")
    assert closer.asked == []
    closed = channels.close_channel(played(closer, PlayedNode("B")), "C", "B", force=True)
    assert (closer.asked, closed.closing_txid, closed.forced) == (["force-close 103x1x0"], "cc", True)


def test_of_several_channels_one_is_named() -> None:
    other = replace(CHANNEL, short_channel_id="104x1x0", funding="bb:0")
    elsewhere = replace(CHANNEL, short_channel_id="105x1x0", funding="cc:0", peer_id="D-id")
    closer = PlayedNode("C", CHANNEL, other, elsewhere)
    testbed = played(closer, PlayedNode("B"), PlayedNode("D"))
    with pytest.raises(TestbedError, match=r"have several channels. Choose one with --channel: 103x1x0, 104x1x0$"):
        channels.close_channel(testbed, "C", "B")
    with pytest.raises(TestbedError, match=r"have no channel 105x1x0"):
        channels.close_channel(testbed, "C", "B", "105x1x0")
    channels.close_channel(testbed, "C", "B", "104x1x0")
    channels.close_channel(testbed, "C", "D")
    assert closer.asked == ["close 104x1x0", "close 105x1x0"]
    with pytest.raises(TestbedError, match="C and D have no open channel"):
        channels.close_channel(testbed, "C", "D")


def test_by_force_the_peer_need_not_run() -> None:
    closer, peer = PlayedNode("C", CHANNEL), PlayedNode("B", CHANNEL)
    with pytest.raises(NodeError, match="B cannot be called: it does not run"):
        channels.close_channel(played(closer, peer, down="B"), "C", "B")
    assert channels.close_channel(played(closer, peer, down="B"), "C", "B", force=True).ends == ("C", "B")
