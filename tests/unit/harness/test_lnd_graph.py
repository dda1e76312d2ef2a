"""What an LND says of its graph, which it caches without regard to what it was asked for."""

import pytest

from asyncpay.nodes.proto import lightning_pb2 as ln
from harness.nodes.lnd import LndNode
from harness.nodes.lnd_connection import LndConnection
from harness.topology import NodeSpec, Role
from tests.unit.harness.played_engine import PlayedEngine

ANNOUNCED = ln.ChannelEdge(channel_id=1 << 40, node1_pub="02aa", node1_policy=ln.RoutingPolicy(fee_base_msat=1))
PRIVATE = ln.ChannelEdge(channel_id=2 << 40, node1_pub="02aa", node1_policy=ln.RoutingPolicy(fee_base_msat=2))


class CachingLnd:
    """Its cache never ends."""

    def __init__(self) -> None:
        self._cached: ln.ChannelGraph | None = None
        self.DescribeGraph = self._describe_graph

    def _describe_graph(self, request: ln.ChannelGraphRequest, **_: float) -> ln.ChannelGraph:
        if self._cached is None:
            edges = [ANNOUNCED, PRIVATE] if request.include_unannounced else [ANNOUNCED]
            nodes = [ln.LightningNode(pub_key="02aa", features={9: ln.Feature()})]
            self._cached = ln.ChannelGraph(edges=edges, nodes=nodes)
        return self._cached


def test_private_channels_are_there_also_just_after_another_question(monkeypatch: pytest.MonkeyPatch) -> None:
    node = LndNode("A", NodeSpec(role=Role.PAYER), PlayedEngine({}))
    monkeypatch.setattr(LndConnection, "lightning", CachingLnd())
    assert node.announced_nodes() == {"02aa"}
    assert {scid for scid, _ in node.policies()} == {"1x0x0", "2x0x0"}
