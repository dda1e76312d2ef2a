"""What the node last said, folded from its events."""

from dataclasses import replace

from asyncpay.engine.context import NodeView
from asyncpay.engine.core import Detached, Tick
from asyncpay.node_events import Attached, BlockConnected, LinkChanged, LinkClosed, PeerConnected, PeerDisconnected
from tests.support.keys import node_id

from .factories import CHANNEL_A, CHANNEL_B, A, B, link


def attached_view() -> NodeView:
    view = NodeView()
    links = (link(CHANNEL_A, A), link(CHANNEL_B, B))
    assert view.fold(
        Attached(node_id=node_id("LSP"), network="regtest", height=500, links=links, online=frozenset({A}))
    )
    return view


def test_it_knows_nothing_before_the_node_was_attached() -> None:
    view = NodeView()
    assert not view.attached
    assert view.height is None
    assert not view.is_above(0)
    assert not view.channels.any_usable


def test_a_height_is_past_from_the_next_block_on() -> None:
    view = attached_view()
    assert view.is_above(499)
    assert not view.is_above(500)
    view.fold(BlockConnected(501))
    assert view.is_above(500)


def test_a_peer_that_is_connected_already_is_no_news() -> None:
    view = attached_view()
    assert not view.fold(PeerConnected(A))
    assert view.fold(PeerConnected(B))
    assert view.online == {A, B}
    assert view.fold(PeerDisconnected(A))
    assert view.fold(PeerConnected(A))


def test_channels_follow_the_node() -> None:
    view = attached_view()
    assert view.channels.reaches(A)
    view.fold(LinkChanged(replace(link(CHANNEL_A, A), usable=False)))
    assert not view.channels.reaches(A)
    assert view.channels.has(A)
    assert view.channels.any_usable
    view.fold(LinkClosed(link(CHANNEL_B, B).channel_id))
    assert not view.channels.has(B)
    assert not view.channels.any_usable


def test_a_break_ends_connections_and_the_next_attachment_replaces_everything() -> None:
    view = attached_view()
    view.fold(Detached())
    assert not view.attached
    assert view.online == set()
    assert view.height == 500
    assert view.channels.has(A)
    view.fold(Attached(node_id=node_id("LSP"), network="regtest", height=499, links=(), online=frozenset({B})))
    assert view.attached
    assert view.height == 499
    assert view.online == {B}
    assert not view.channels.has(A)


def test_what_says_nothing_of_the_node_changes_nothing() -> None:
    view = attached_view()
    before = repr(view)
    assert view.fold(Tick())
    assert repr(view) == before
