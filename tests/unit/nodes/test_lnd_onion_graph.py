"""LND's graph."""

from asyncpay.nodes.lnd import onions
from asyncpay.nodes.proto import lightning_pb2 as ln

US = b"us"


def test_a_channel_that_both_ends_disabled_does_not_count() -> None:
    def channel(other: bytes, *, one: bool, two: bool) -> ln.ChannelEdge:
        return ln.ChannelEdge(
            node1_pub=US.hex(),
            node2_pub=other.hex(),
            node1_policy=ln.RoutingPolicy(disabled=one),
            node2_policy=ln.RoutingPolicy(disabled=two),
        )

    channels = [
        channel(b"a", one=False, two=True),
        channel(b"b", one=True, two=True),
        channel(b"c", one=False, two=False),
    ]
    assert onions.neighbours(US, channels) == {b"a", b"c"}
