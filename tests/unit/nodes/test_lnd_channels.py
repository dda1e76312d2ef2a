"""LND's channels as links."""

from asyncpay.lightning import ChannelId, Link, ShortChannelId
from asyncpay.nodes.lnd.channels import link_of
from asyncpay.nodes.proto import lightning_pb2 as ln

PEER = bytes(33)


def test_every_name_of_a_channel_is_known() -> None:
    """A channel without confirmations keeps its alias as its main name when it has got a real one."""
    channel = ln.Channel(
        chan_id=5, alias_scids=[5, 6], zero_conf_confirmed_scid=7, remote_pubkey=PEER.hex(), active=True
    )
    assert link_of(channel) == Link(
        channel_id=ChannelId.from_name(5),
        short_channel_id=ShortChannelId(5),
        aliases=frozenset({ShortChannelId(6), ShortChannelId(7)}),
        peer=PEER,
        usable=True,
    )


def test_a_confirmed_channel_without_aliases_has_none() -> None:
    assert link_of(ln.Channel(chan_id=5, remote_pubkey=PEER.hex())).aliases == frozenset()
