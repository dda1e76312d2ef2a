"""Blinded paths: every hop reads its own part and nobody else's."""

import asyncio
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncpay.wire import blinding, ecdh, tlv
from asyncpay.wire.blinding import BlindedHop, BlindedPath, ChannelEnd, Hop, HopData
from asyncpay.wire.errors import WireError

from .strategies import blinded_paths, hop_data, secrets
from .support import LSP_A, LSP_B, OTHER_PATH_KEY, PATH_KEY, PID, ROUTER, A, B, Node

NODES = [LSP_A, ROUTER, LSP_B, B, A]
NO_POINT = b"\2" + b"\xff" * 32


def walk(path: BlindedPath, nodes: list[Node]) -> list[HopData]:
    """What each node reads, each getting its path key from the one before."""
    read, path_key = [], path.first_path_key
    for node, hop in zip(nodes, path.hops, strict=True):
        opened = blinding.open_hop(path_key, hop.encrypted_recipient_data, node.ecdh)
        read.append(opened.data)
        path_key = opened.next_path_key
    return read


def without_override(data: HopData) -> HopData:
    return replace(data, next_path_key_override=None)


@given(st.lists(hop_data.map(without_override), min_size=1, max_size=5), secrets)
def test_every_hop_reads_its_own_part(told: list[HopData], session_key: bytes) -> None:
    nodes = NODES[: len(told)]
    path = blinding.build([Hop(node.id, data) for node, data in zip(nodes, told, strict=True)], session_key)
    assert path.first_node_id == LSP_A.id
    assert walk(path, nodes) == told


def test_nobody_else_reads_it() -> None:
    path = blinding.build(blinding.hops_through([LSP_A.id, A.id], HopData(path_id=PID)), PATH_KEY)
    with pytest.raises(WireError, match="not encrypted for this node"):
        blinding.open_hop(path.first_path_key, path.hops[0].encrypted_recipient_data, A.ecdh)
    with pytest.raises(WireError, match="not encrypted for this node"):
        blinding.open_hop(path.first_path_key, path.hops[1].encrypted_recipient_data, A.ecdh)
    assert len({LSP_A.id, A.id} | {hop.blinded_node_id for hop in path.hops}) == 4


def test_every_change_of_one_byte_is_refused() -> None:
    path = blinding.build([Hop(A.id, HopData(path_id=PID))], PATH_KEY)
    encrypted = path.hops[0].encrypted_recipient_data
    for position in range(len(encrypted)):
        changed = bytearray(encrypted)
        changed[position] ^= 1
        with pytest.raises(WireError):
            blinding.open_hop(path.first_path_key, bytes(changed), A.ecdh)


def test_plain_way_through_nodes() -> None:
    hops = blinding.hops_through([LSP_A.id, ROUTER.id, A.id], HopData(path_id=PID))
    assert [hop.data for hop in hops] == [
        HopData(next_node_id=ROUTER.id),
        HopData(next_node_id=A.id),
        HopData(path_id=PID),
    ]


class TestJoin:
    @pytest.fixture
    def foreign(self) -> BlindedPath:
        to_lsp = Hop(LSP_A.id, HopData(next_node_id=A.id, payment_unblock=PID))
        return blinding.build([to_lsp, Hop(A.id, HopData(path_id=b"A's"))], PATH_KEY)

    def test_own_hops_lead_into_the_foreign_path(self, foreign: BlindedPath) -> None:
        own = blinding.hops_through([LSP_B.id, ROUTER.id], HopData())
        path = blinding.join(own, foreign, OTHER_PATH_KEY)
        assert path.first_node_id == LSP_B.id
        assert path.hops[2:] == foreign.hops
        into = HopData(next_node_id=LSP_A.id, next_path_key_override=foreign.first_path_key)
        assert walk(path, [LSP_B, ROUTER, LSP_A, A]) == [
            HopData(next_node_id=ROUTER.id),
            into,
            HopData(next_node_id=A.id, payment_unblock=PID),
            HopData(path_id=b"A's"),
        ]

    def test_without_own_hops_it_is_the_foreign_path(self, foreign: BlindedPath) -> None:
        assert blinding.join([], foreign, OTHER_PATH_KEY) == foreign

    def test_an_introduction_by_channel_must_be_looked_up(self, foreign: BlindedPath) -> None:
        by_channel = replace(foreign, first_node_id=ChannelEnd(0, 1729))
        with pytest.raises(WireError, match="channel 1729: look up"):
            blinding.join([Hop(ROUTER.id, HopData())], by_channel, OTHER_PATH_KEY)
        path = blinding.join([Hop(ROUTER.id, HopData(next_node_id=LSP_A.id))], by_channel, OTHER_PATH_KEY)
        assert walk(path, [ROUTER, LSP_A, A])[0].next_node_id == LSP_A.id

    def test_together_they_are_no_longer_than_a_path_may_be(self, foreign: BlindedPath) -> None:
        longest = replace(foreign, hops=foreign.hops[:1] * blinding.MAX_HOPS)
        with pytest.raises(WireError, match="not 256"):
            blinding.join([Hop(ROUTER.id, HopData())], longest, OTHER_PATH_KEY)


class TestReplyPathBytes:
    @given(blinded_paths)
    def test_round_trip(self, path: BlindedPath) -> None:
        assert BlindedPath.decode(path.encode()) == path

    @pytest.mark.parametrize(("hops", "size"), [(1, 154), (2, 240), (3, 328), (4, 414)])
    def test_size_as_a_record(self, hops: int, size: int) -> None:
        ids = [node.id for node in NODES[:hops]]
        path = blinding.build(blinding.hops_through(ids, HopData(path_id=PID)), PATH_KEY)
        assert len(tlv.encode({2: path.encode()})) == size

    def test_introduction_by_channel(self) -> None:
        hop = BlindedHop(A.id, b"data")
        encoded = b"\1" + bytes([0, 0, 7, 0, 0, 3, 0, 1]) + LSP_A.id + b"\1" + A.id + b"\0\4data"
        path = BlindedPath(ChannelEnd(1, (7 << 40) + (3 << 16) + 1), LSP_A.id, (hop,))
        assert BlindedPath.decode(encoded) == path
        assert path.encode() == encoded

    def test_every_change_of_one_byte_is_refused_or_seen(self) -> None:
        path = blinding.build(blinding.hops_through([LSP_A.id, A.id], HopData(path_id=PID)), PATH_KEY)
        encoded = path.encode()
        for position in range(len(encoded)):
            for change in (1, 2, 4, 8, 16, 32, 64, 128, 255):
                changed = bytearray(encoded)
                changed[position] ^= change
                try:
                    assert BlindedPath.decode(bytes(changed)) != path
                except WireError:
                    continue

    @pytest.mark.parametrize(
        ("encoded", "why"),
        [
            (b"", "ends where 1 bytes"),
            (b"\4" + LSP_A.id[1:] + LSP_A.id + b"\1" + A.id + b"\0\0", "from 0 to 3, not 4"),
            (LSP_A.id + LSP_A.id + b"\0", "1 to 255 hops, not 0"),
            (LSP_A.id + LSP_A.id + b"\2" + A.id + b"\0\0", "ends where 33"),
            (LSP_A.id + LSP_A.id + b"\1" + A.id + b"\0\1", "ends where 1 "),
            (LSP_A.id + LSP_A.id + b"\1" + A.id + b"\0\0\0", "1 bytes follow"),
            (NO_POINT + LSP_A.id + b"\1" + A.id + b"\0\0", "not a valid secp256k1 point"),
            (LSP_A.id + NO_POINT + b"\1" + A.id + b"\0\0", "not a valid secp256k1 point"),
            (LSP_A.id + LSP_A.id + b"\1" + NO_POINT + b"\0\0", "not a valid secp256k1 point"),
        ],
    )
    def test_malformed(self, encoded: bytes, why: str) -> None:
        with pytest.raises(WireError, match=why):
            BlindedPath.decode(encoded)

    @pytest.mark.parametrize(
        "path",
        [
            BlindedPath(ChannelEnd(2, 1), A.id, (BlindedHop(A.id, b""),)),
            BlindedPath(ChannelEnd(0, 2**64), A.id, (BlindedHop(A.id, b""),)),
            BlindedPath(A.id[1:], A.id, (BlindedHop(A.id, b""),)),
            BlindedPath(A.id, NO_POINT, (BlindedHop(A.id, b""),)),
            BlindedPath(A.id, A.id, (BlindedHop(A.id, bytes(65536)),)),
        ],
    )
    def test_what_could_not_be_read_cannot_be_written(self, path: BlindedPath) -> None:
        with pytest.raises(WireError):
            path.encode()


class TestHopData:
    @given(hop_data)
    def test_round_trip(self, data: HopData) -> None:
        assert HopData.decode(data.encode()) == data

    @pytest.mark.parametrize(
        "records",
        [
            {2: bytes(7)},
            {4: NO_POINT},
            {8: NO_POINT},
            {16: b""},
            {blinding.PAYMENT_UNBLOCK: PID[1:]},
            {blinding.PAYMENT_UNBLOCK + 1: PID},
        ],
    )
    def test_malformed(self, records: dict[int, bytes]) -> None:
        with pytest.raises(WireError):
            HopData.decode(tlv.encode(records))

    def test_payment_unblock_is_type_180001(self) -> None:
        assert HopData(payment_unblock=PID).encode() == bytes.fromhex("fe0002bf2120") + PID


@pytest.mark.parametrize("session_key", [bytes(32), b"\xff" * 32, b"\1" * 31, b""])
def test_session_keys_that_are_none(session_key: bytes) -> None:
    with pytest.raises(WireError, match="session key"):
        blinding.build([Hop(A.id, HopData())], session_key)


@pytest.mark.parametrize("node_id", [NO_POINT, A.id[:32], A.key.public_key.format(compressed=False)])
def test_node_ids_that_are_none(node_id: bytes) -> None:
    with pytest.raises(WireError):
        blinding.build([Hop(node_id, HopData())], PATH_KEY)


def test_a_path_of_no_hops() -> None:
    with pytest.raises(WireError, match="at least one hop"):
        blinding.build([], PATH_KEY)


def test_a_signer_that_is_awaited_gives_the_same() -> None:
    path = blinding.build([Hop(A.id, HopData(path_id=PID))], PATH_KEY)
    asked = []

    async def sign(point: bytes) -> bytes:
        asked.append(point)
        return A.ecdh(point)

    steps = blinding.open_hop_steps(path.first_path_key, path.hops[0].encrypted_recipient_data)
    assert asyncio.run(ecdh.run_async(steps, sign)).data == HopData(path_id=PID)
    assert asked == [path.first_path_key]
