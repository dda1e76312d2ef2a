"""Sending the protocol's messages: each one is wrapped in its own onion, which is used once."""

import secrets
from collections.abc import Sequence

from asyncpay.lightning import NodeId
from asyncpay.nodes.base import MAX_LOOKUPS, Node, NodeError, NodeUnreachableError
from asyncpay.wire import blinding, ecdh, onion
from asyncpay.wire.blinding import BlindedPath, ChannelEnd, HopData
from asyncpay.wire.errors import WireError
from asyncpay.wire.messages import Message, release_path_id
from asyncpay.wire.onion import LARGE_ROOM, SMALL_ROOM, Final, OnionMessage, Payload

_KEY_BYTES = 32


async def send_to_peer(node: Node, peer: NodeId, message: Message) -> None:
    """Send a peer a message over a path that ends at it. NodeError if it is not connected."""
    route = await node.onion_route(peer)
    await node.send_onion(route[0], wrap(path_through(route), message))


async def send_along(
    node: Node,
    node_id: NodeId,
    path: BlindedPath,
    message: Message,
    reply_path: BlindedPath | None = None,
    max_lookups: int = MAX_LOOKUPS,
) -> None:
    """Send a message along a blinded path, over own hops to its first node if that is not a peer.

    node_id: our own. max_lookups: see Node.onion_route.
    If the path begins at this node, its first layer is peeled here. NodeError if there is no route.
    """
    first = introduction_node(path)
    if first == node_id:
        await node.forward_onion(wrap(path, message, reply_path))
        return
    *own, _ = route = await node.onion_route(first, max_lookups)
    hops = blinding.hops_through(own, HopData()) if own else []
    joined = blinding.join(hops, path, secrets.token_bytes(_KEY_BYTES))
    await node.send_onion(route[0], wrap(joined, message, reply_path))


def introduction_node(path: BlindedPath) -> NodeId:
    """Return the node at which a path begins. NodeError if the path names it by a channel."""
    first = path.first_node_id
    if isinstance(first, ChannelEnd):
        raise NodeError(f"a reply path that begins at a channel ({first.short_channel_id}) is not supported")
    return first


async def route_to(node: Node, destination: NodeId, hints: Sequence[Sequence[NodeId]] = ()) -> tuple[NodeId, ...]:
    """Return hops to a node by the graph, or else through the nodes in its invoice's hints. NodeError if none."""
    try:
        return await node.onion_route(destination)
    except NodeUnreachableError:
        raise
    except NodeError as unknown:
        for hint in hints:
            try:
                return (*await node.onion_route(hint[0]), *hint[1:], destination)
            except NodeUnreachableError:
                raise
            except NodeError:
                continue  # try the next hint
        tried = f"nor to the first node of any of {len(hints)} route hints" if hints else "no route hints are given"
        raise NodeError(f"{unknown}; {tried}") from None


def path_through(nodes: Sequence[NodeId], last: HopData | None = None, **second_last: bytes) -> BlindedPath:
    """Return a path over these nodes. last: the data of the last hop; second_last: more data for the hop before it."""
    hops = blinding.hops_through(list(nodes), last or HopData())
    if second_last:
        *before, relay, end = hops
        data = HopData(next_node_id=end.node_id, **second_last)  # type: ignore[arg-type]
        hops = [*before, blinding.Hop(relay.node_id, data), end]
    return blinding.build(hops, secrets.token_bytes(_KEY_BYTES))


def wrap_from_here(
    route: Sequence[NodeId], message: Message, reply_path: BlindedPath | None = None, *, rooms: Sequence[int]
) -> tuple[OnionMessage, OnionMessage]:
    """Return the onion along a route that begins at this node: as this node sends it, and as the next node receives it.

    The creator of an onion can peel its first layer without that node's key. WireError as in `wrap`.
    """
    path_key, onion_key = secrets.token_bytes(_KEY_BYTES), secrets.token_bytes(_KEY_BYTES)
    path = blinding.build(blinding.hops_through(list(route), HopData()), path_key)
    payload = Payload(async_payment=message.encode(), reply_path=reply_path)
    sent = onion.build(path, payload, onion_key, rooms=rooms)
    points = ((path_key, route[0]), (onion_key, path.hops[0].blinded_node_id))
    shared = (next(ecdh.chain(key, [point]))[1] for key, point in points)
    peeled = onion.peel(sent.packet, sent.path_key, lambda _: next(shared))
    if isinstance(peeled, Final):
        raise WireError("the route has no hop after this node")
    return sent, peeled.message


def wrap(
    path: BlindedPath,
    message: Message,
    reply_path: BlindedPath | None = None,
    rooms: Sequence[int] = (SMALL_ROOM, LARGE_ROOM),
) -> OnionMessage:
    """Return the onion for the path's first node. rooms: as in onion.build. WireError if the message does not fit."""
    payload = Payload(async_payment=message.encode(), reply_path=reply_path)
    return onion.build(path, payload, secrets.token_bytes(_KEY_BYTES), rooms=rooms)


def release_path(lsp: NodeId, payer: NodeId, pid: bytes, transit_release: bool) -> BlindedPath:
    """Return the payer's path for the release: it reveals to the payee the LSP, where it begins, and not the payer.

    If the LSP sees messages in transit (`transit_release`) the path continues to the payer, and the LSP's hop contains
    the pid; otherwise it ends at the LSP, which finds the pid in the path_id too.
    """
    if transit_release:
        return path_through([lsp, payer], HopData(path_id=release_path_id(pid)), payment_unblock=pid)
    return path_through([lsp], HopData(path_id=pid, payment_unblock=pid))


def literal_release_path(route_to_lsp: tuple[NodeId, ...], payer: NodeId, pid: bytes) -> BlindedPath:
    """Return the payee's path to a payer that revealed its node id and its LSP, which is the last node of the route."""
    return path_through([*route_to_lsp, payer], HopData(path_id=release_path_id(pid)), payment_unblock=pid)


def answer_path(lsp: NodeId, payee: NodeId, pid: bytes) -> BlindedPath:
    """Return the path for the answer to a release: through the payee's own LSP."""
    return path_through([lsp, payee], HopData(path_id=release_path_id(pid)))
