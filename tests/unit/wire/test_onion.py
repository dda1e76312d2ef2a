"""Onion messages: what arrives, how large it is, and what must be ignored."""

import asyncio
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyln.proto.onion import RoutingOnion
from pyln.proto.wire import PrivateKey as PylnKey

from asyncpay.wire import bigsize, blinding, ecdh, onion
from asyncpay.wire.blinding import BlindedHop, BlindedPath, Hop, HopData
from asyncpay.wire.errors import WireError
from asyncpay.wire.onion import LARGE_ROOM, SMALL_ROOM, Final, Forward, OnionMessage, Payload

from .strategies import blinded_paths, payloads, secrets
from .support import LSP_A, LSP_B, ONION_KEY, PATH_KEY, PID, ROUTER, A, B, Node

NODES = [LSP_A, ROUTER, LSP_B, B, A]
LAST = HopData(path_id=PID)


def path_through(nodes: list[Node], last: HopData = LAST) -> BlindedPath:
    return blinding.build(blinding.hops_through([node.id for node in nodes], last), PATH_KEY)


def deliver(message: OnionMessage, nodes: list[Node]) -> Final:
    """Peel on every node in turn; all but the last must forward to the next."""
    for node, following in pairwise(nodes):
        peeled = onion.peel(message.packet, message.path_key, node.ecdh)
        assert isinstance(peeled, Forward)
        assert peeled.data.next_node_id == following.id
        assert len(peeled.message.packet) == len(message.packet)
        message = peeled.message
    end = onion.peel(message.packet, message.path_key, nodes[-1].ecdh)
    assert isinstance(end, Final)
    return end


contents = st.builds(Payload, reply_path=st.none() | blinded_paths, async_payment=st.binary(max_size=3000))


@given(st.integers(1, 5), contents, secrets)
def test_what_is_sent_arrives(hops: int, payload: Payload, session_key: bytes) -> None:
    nodes = NODES[:hops]
    path = path_through(nodes)
    end = deliver(onion.build(path, payload, session_key), nodes)
    data = path.hops[-1].encrypted_recipient_data
    assert end == Final(LAST, replace(payload, encrypted_recipient_data=data))


@given(payloads)
def test_payload_round_trip(payload: Payload) -> None:
    assert Payload.decode(payload.encode()) == payload


def test_async_payment_is_type_180003() -> None:
    assert Payload(async_payment=b"x").encode() == bytes.fromhex("fe0002bf2301") + b"x"


def test_a_packet_of_an_unusual_size_is_peeled_too() -> None:
    """BOLT 4 recommends two sizes and allows others."""
    message = onion.build(path_through(NODES), Payload(async_payment=b"x"), ONION_KEY, rooms=(2000,))
    assert len(message.packet) == 2066
    assert deliver(message, NODES).payload.async_payment == b"x"


def test_joined_paths_deliver() -> None:
    """B's own hops, then the release path that A made: what a payment_release does."""
    to_lsp = Hop(LSP_A.id, HopData(next_node_id=A.id, payment_unblock=PID))
    foreign = blinding.build([to_lsp, Hop(A.id, LAST)], PATH_KEY)
    path = blinding.join(blinding.hops_through([LSP_B.id, ROUTER.id], HopData()), foreign, b"\7" * 32)
    message = onion.build(path, Payload(async_payment=b"release"), ONION_KEY)
    assert deliver(message, [LSP_B, ROUTER, LSP_A, A]).payload.async_payment == b"release"


class TestRoom:
    # The last hop's 95: 3 length + 52 encrypted data with a 32-byte path_id + 8 type and length + 32 HMAC.
    # Each hop before it 86: 1 length + 53 encrypted data with a next_node_id + 32 HMAC.
    @pytest.mark.parametrize(("hops", "largest"), [(1, 1205), (2, 1119), (3, 1033), (4, 947), (6, 775)])
    def test_the_small_packet_holds(self, hops: int, largest: int) -> None:
        path = path_through((NODES * 2)[:hops])
        small = onion.build(path, Payload(async_payment=bytes(largest)), ONION_KEY)
        assert len(small.packet) == 1366
        large = onion.build(path, Payload(async_payment=bytes(largest + 1)), ONION_KEY)
        assert len(large.packet) == 32834
        with pytest.raises(WireError, match="needs 1301 bytes; the maximum is 1300"):
            onion.build(path, Payload(async_payment=bytes(largest + 1)), ONION_KEY, rooms=(SMALL_ROOM,))

    def test_the_large_packet_is_filled_to_the_last_byte(self) -> None:
        path = path_through(NODES)
        need = len(Payload(async_payment=bytes(32000)).encode())
        spare = LARGE_ROOM - 5 * 32 - sum(len(hop.encrypted_recipient_data) + 3 for hop in path.hops[:-1])
        spare -= need + 3 + 2 + len(path.hops[-1].encrypted_recipient_data)
        full = Payload(async_payment=bytes(32000 + spare))
        message = onion.build(path, full, ONION_KEY)
        assert len(message.packet) == 32834
        assert deliver(message, NODES).payload.async_payment == full.async_payment
        with pytest.raises(WireError, match="needs 32769 bytes; the maximum is 32768"):
            onion.build(path, Payload(async_payment=bytes(32001 + spare)), ONION_KEY)


@given(st.integers(1, 5), st.binary(max_size=800), secrets)
def test_second_opinion(hops: int, content: bytes, session_key: bytes) -> None:
    """pyln-proto unwraps every layer of a 1300-byte onion to the same payload and the same next packet."""
    nodes = NODES[:hops]
    message = onion.build(path_through(nodes), Payload(async_payment=content), session_key)
    assert len(message.packet) == 1366
    for node in nodes:
        ours = onion.peel(message.packet, message.path_key, node.ecdh)
        blinded_key = node.key.multiply(ecdh.derive(b"blinded_node_id", node.ecdh(message.path_key)))
        payload, following = RoutingOnion.from_bin(message.packet).unwrap(PylnKey(blinded_key.secret), None)
        theirs = payload.to_bytes(include_prefix=False)
        if isinstance(ours, Final):
            assert following is None
            assert theirs == ours.payload.encode()
            break
        assert following.to_bin() == ours.message.packet
        assert Payload.decode(theirs).to_records().keys() == {4}
        message = ours.message
    assert node is nodes[-1]


class TestRefused:
    """Not for this node, or changed on its way."""

    @pytest.fixture
    def message(self) -> OnionMessage:
        return onion.build(path_through([LSP_A, A]), Payload(async_payment=b"hello"), ONION_KEY)

    def test_by_another_node(self, message: OnionMessage) -> None:
        with pytest.raises(WireError, match="HMAC"):
            onion.peel(message.packet, message.path_key, ROUTER.ecdh)

    def test_with_any_byte_changed(self, message: OnionMessage) -> None:
        for position in range(len(message.packet)):
            changed = bytearray(message.packet)
            changed[position] ^= 1
            with pytest.raises(WireError):
                onion.peel(bytes(changed), message.path_key, LSP_A.ecdh)

    def test_with_another_path_key(self, message: OnionMessage) -> None:
        for path_key in (A.id, message.path_key[:32], b"\2" + b"\xff" * 32, b""):
            with pytest.raises(WireError):
                onion.peel(message.packet, path_key, LSP_A.ecdh)

    @pytest.mark.parametrize("size", [67, 1365, 1367, 65498])
    def test_shortened_or_lengthened(self, message: OnionMessage, size: int) -> None:
        with pytest.raises(WireError, match="HMAC"):
            onion.peel(message.packet.ljust(size, b"\0")[:size], message.path_key, LSP_A.ecdh)

    @pytest.mark.parametrize("size", [0, 1, 65, 66, 65499])
    def test_of_a_size_that_no_onion_message_has(self, message: OnionMessage, size: int) -> None:
        with pytest.raises(WireError, match="not an onion message packet"):
            onion.peel(message.packet.ljust(size, b"\0")[:size], message.path_key, LSP_A.ecdh)


class TestIgnored:
    """Sealed for this node by a sender that does not keep to BOLT 4."""

    def peel(self, payload: bytes, *, more_hops: bool, framed_as: int | None = None) -> Forward | Final:
        path = path_through([LSP_A, A])
        frame = bigsize.encode(len(payload) if framed_as is None else framed_as) + payload
        points = [hop.blinded_node_id for hop in path.hops]
        frames = [frame, b"\0"] if more_hops else [frame]
        packet = onion._wrap(points[: len(frames)], frames, ONION_KEY, SMALL_ROOM)
        return onion.peel(packet, path.first_path_key, LSP_A.ecdh)

    def sealed(self, data: HopData) -> bytes:
        return blinding.build([Hop(LSP_A.id, data)], PATH_KEY).hops[0].encrypted_recipient_data

    def test_what_is_well_formed_passes(self) -> None:
        onward = Payload(encrypted_recipient_data=self.sealed(HopData(next_node_id=A.id)))
        assert isinstance(self.peel(onward.encode(), more_hops=True), Forward)
        last = Payload(encrypted_recipient_data=self.sealed(HopData()), invoice=b"x")
        assert isinstance(self.peel(last.encode(), more_hops=False), Final)

    @pytest.mark.parametrize(
        ("data", "why"),
        [
            (HopData(), "names neither a next node nor a channel"),
            (HopData(next_node_id=A.id, path_id=b""), "path_id"),
            (HopData(next_node_id=A.id, allowed_features=b"\1"), "features"),
        ],
    )
    def test_a_hop_told_nonsense(self, data: HopData, why: str) -> None:
        payload = Payload(encrypted_recipient_data=self.sealed(data))
        with pytest.raises(WireError, match=why):
            self.peel(payload.encode(), more_hops=True)

    @pytest.mark.parametrize(
        "extra",
        [{"async_payment": b""}, {"reply_path": path_through([A])}, {"unknown_records": ((1, b""),)}],
    )
    def test_content_for_a_hop_on_the_way(self, extra: dict[str, Any]) -> None:
        payload = Payload(encrypted_recipient_data=self.sealed(HopData(next_node_id=A.id)), **extra)
        with pytest.raises(WireError, match="more than encrypted_recipient_data"):
            self.peel(payload.encode(), more_hops=True)

    @pytest.mark.parametrize(
        "extra", [{"invoice": b"", "async_payment": b""}, {"invoice": b"", "unknown_records": ((71, b""),)}]
    )
    def test_two_contents(self, extra: dict[str, Any]) -> None:
        payload = Payload(encrypted_recipient_data=self.sealed(HopData()), **extra)
        with pytest.raises(WireError, match="one field of type 64 or above"):
            self.peel(payload.encode(), more_hops=False)
        with pytest.raises(WireError, match="one field of type 64 or above"):
            onion.build(path_through([A]), payload, ONION_KEY)

    def test_features_asked_of_the_last_hop(self) -> None:
        payload = Payload(encrypted_recipient_data=self.sealed(HopData(allowed_features=b"\0\2")))
        with pytest.raises(WireError, match="features"):
            self.peel(payload.encode(), more_hops=False)

    @pytest.mark.parametrize("payload", [b"", Payload(invoice=b"x").encode()])
    def test_no_data_for_the_hop(self, payload: bytes) -> None:
        with pytest.raises(WireError, match="no encrypted_recipient_data"):
            self.peel(payload, more_hops=False)

    def test_unknown_even_record(self) -> None:
        payload = Payload(encrypted_recipient_data=self.sealed(HopData())).encode() + bytes([70, 0])
        with pytest.raises(WireError, match="record 70 is even"):
            self.peel(payload, more_hops=False)

    @pytest.mark.parametrize("size", [SMALL_ROOM - 34, SMALL_ROOM, 65535, 2**64 - 1])
    def test_a_payload_longer_than_the_packet(self, size: int) -> None:
        with pytest.raises(WireError, match="more than the packet holds"):
            self.peel(b"", more_hops=False, framed_as=size)


def test_points_of_a_path_are_checked_before_sending() -> None:
    no_point = b"\2" + b"\xff" * 32
    for path in (
        BlindedPath(A.id, no_point, (BlindedHop(A.id, b""),)),
        BlindedPath(A.id, A.id, (BlindedHop(no_point, b""),)),
    ):
        with pytest.raises(WireError, match="not a valid secp256k1 point"):
            onion.build(path, Payload(), ONION_KEY)


def test_a_signer_that_is_awaited_gives_the_same() -> None:
    message = onion.build(path_through([LSP_A, A]), Payload(async_payment=b"x"), ONION_KEY)
    asked = []

    async def sign(point: bytes) -> bytes:
        asked.append(point)
        return LSP_A.ecdh(point)

    peeled = asyncio.run(ecdh.run_async(onion.peel_steps(message.packet, message.path_key), sign))
    assert peeled == onion.peel(message.packet, message.path_key, LSP_A.ecdh)
    assert len(asked) == 2
