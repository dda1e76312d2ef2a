"""The eight messages: their bytes, what is malformed, what is merely a bad value, and what is signed."""

from dataclasses import replace
from hashlib import sha256
from itertools import pairwise

import pytest
from hypothesis import given

from asyncpay.wire import messages as m
from asyncpay.wire import tlv
from asyncpay.wire.errors import WireError

from .strategies import messages

HASH, OTHER_HASH, PID = bytes([0xAA]) * 32, bytes([0xBB]) * 32, bytes([0x11]) * 32
LSP, PAYER = b"\2" + bytes(32), b"\3" + bytes(32)
SIGNATURE = bytes([31]) + bytes([0x77]) * 64
COURIER = m.Courier(path_key=b"\2" + bytes([5]) * 32, onion=bytes([6]) * 1366)

BLOCK_REQUEST = m.BlockRequest(
    unblock_hash=HASH,
    courier=COURIER,
    payment_hashes=(OTHER_HASH,),
    invoice="lnbcrt1",
    amount_msat=100_000,
    release_by_height=700,
    hold_until=0x65000000,
    signature=SIGNATURE,
)
PAYMENT_PENDING = m.PaymentPending(
    pid=PID,
    payer_lsp_node_id=LSP,
    payment_hashes=(OTHER_HASH, HASH),
    payer_node_id=PAYER,
    amount_msat=0,
    release_by_height=1,
    hold_until=256,
)
# Each message beside the bytes that the protocol's table prescribes, put together by hand.
EXAMPLES = [
    (
        BLOCK_REQUEST,
        b"\1\x00\x20" + HASH + b"\x01\xfd\x05\x77" + COURIER.path_key + COURIER.onion
        + b"\x02\x20" + OTHER_HASH + b"\x03\x07lnbcrt1" + b"\x04\x03\x01\x86\xa0" + b"\x06\x02\x02\xbc"
        + b"\x08\x04\x65\0\0\0" + b"\x0a\x41" + SIGNATURE,
    ),
    (
        m.BlockReply(unblock_hash=HASH, reason="später", status=m.BlockStatus.CONFLICT),
        b"\2\x00\x20" + HASH + b"\x01\x07sp\xc3\xa4ter" + b"\x02\x01\x06",
    ),
    (
        m.BlockUpdate(unblock_hash=HASH, state=m.BlockState.HELD, parts=3),
        b"\3\x00\x20" + HASH + b"\x02\x01\x01" + b"\x04\x01\x03",
    ),
    (
        PAYMENT_PENDING,
        b"\4\x00\x20" + PID + b"\x01\x21" + LSP + b"\x02\x40" + OTHER_HASH + HASH + b"\x03\x21" + PAYER
        + b"\x04\x00" + b"\x06\x01\x01" + b"\x08\x02\x01\x00",
    ),
    (m.PaymentRelease(pid=PID), b"\5\x00\x20" + PID),
    (
        m.ReleaseReply(unblock_hash=HASH, status=m.ReleaseStatus.TOO_LATE),
        b"\6\x00\x20" + HASH + b"\x02\x01\x02",
    ),
    (m.CancelRequest(unblock_hash=HASH, signature=SIGNATURE), b"\7\x00\x20" + HASH + b"\x0a\x41" + SIGNATURE),
    (m.PaymentRefused(pid=PID, reason="no"), b"\x08\x00\x20" + PID + b"\x01\x02no"),
]  # fmt: skip
BY_NAME = pytest.mark.parametrize(("message", "encoded"), EXAMPLES, ids=[type(e[0]).__name__ for e in EXAMPLES])


@BY_NAME
def test_bytes_of_the_table(message: m.Message, encoded: bytes) -> None:
    assert message.encode() == encoded
    assert m.decode(encoded) == message


@given(messages)
def test_round_trip(message: m.Message) -> None:
    assert m.decode(message.encode()) == message


@BY_NAME
def test_every_change_of_one_byte_is_refused_or_seen(message: m.Message, encoded: bytes) -> None:
    for position in range(len(encoded)):
        for change in (1, 2, 4, 8, 16, 32, 64, 128, 255):
            changed = bytearray(encoded)
            changed[position] ^= change
            try:
                assert m.decode(bytes(changed)) != message
            except WireError:
                continue


@BY_NAME
def test_every_truncation_is_refused_or_seen(message: m.Message, encoded: bytes) -> None:
    for size in range(len(encoded)):
        try:
            assert m.decode(encoded[:size]) != message
        except WireError:
            continue


def with_records(message: m.Message, changes: dict[int, bytes | None]) -> bytes:
    """The message with some records replaced, added, or (None) taken out."""
    records = {**message.to_records(), **changes}
    stream = tlv.encode({number: value for number, value in records.items() if value is not None})
    return bytes([message.kind]) + stream


def test_numbers_of_the_table() -> None:
    status, state, release = m.BlockStatus, m.BlockState, m.ReleaseStatus
    too_much = [status.TOO_MANY_HOLDS, status.AMOUNT_TOO_LARGE, status.HOLD_TOO_LONG]
    assert [status.ACCEPTED, *too_much] == [0, 3, 4, 5]
    assert [status.CONFLICT, status.BAD_VALUE, status.UNAVAILABLE] == [6, 7, 8]
    assert [state.HELD, state.RELEASED, state.SETTLED, state.FAILED_BACK] == [1, 2, 3, 4]
    assert [release.RELEASED, release.UNKNOWN, release.TOO_LATE] == [0, 1, 2]


class TestMalformed:
    """Dropped and counted, nobody is answered."""

    @pytest.mark.parametrize(
        ("changes", "why"),
        [
            ({12: b""}, "record 12 is even"),
            ({14: b"x"}, "record 14 is even"),
            ({11: b"x"}, "record 11 is after the signature"),
            ({0: None}, "unblock_hash. is missing"),
            ({2: None}, "payment_hashes. is missing"),
            ({4: None}, "amount_msat. is missing"),
            ({6: None}, "release_by_height. is missing"),
            ({8: None}, "hold_until. is missing"),
            ({10: None}, "signature. is missing"),
            ({0: HASH[1:]}, "unblock_hash: 31 bytes"),
            ({0: HASH + b"x"}, "unblock_hash: 33 bytes"),
            ({1: bytes(1398)}, "courier: 1398 bytes"),
            ({1: b""}, "courier: 0 bytes"),
            ({2: b""}, "payment_hashes: 0 bytes"),
            ({2: bytes(5 * 32)}, "payment_hashes: 160 bytes"),
            ({2: bytes(33)}, "payment_hashes: 33 bytes"),
            ({3: b"ln\xff"}, "UTF-8"),
            ({3: b"l" * (m.MAX_INVOICE_BYTES + 1)}, "the maximum is 7089"),
            ({4: b"\0\1"}, "not minimal"),
            ({4: b"\0"}, "not minimal"),
            ({4: bytes([1] * 9)}, "too long"),
            ({6: bytes([1] * 5)}, "too long"),
            ({8: bytes([1] * 9)}, "too long"),
            ({10: SIGNATURE[1:]}, "signature: 64 bytes"),
        ],
    )
    def test_block_request(self, changes: dict[int, bytes | None], why: str) -> None:
        with pytest.raises(WireError, match=why):
            m.decode(with_records(BLOCK_REQUEST, changes))

    @pytest.mark.parametrize(
        ("encoded", "why"),
        [
            (b"", "0 bytes"),
            (b"\0", "kind 0"),
            (b"\x09", "kind 9"),
            (b"\xff", "kind 255"),
            (b"\5" + bytes(m.MAX_MESSAGE_BYTES), "32769 bytes"),
            (b"\5" + tlv.encode({0: PID}) * 2, "never repeat"),
            (b"\5" + tlv.encode({1: b""}) + tlv.encode({0: PID}), "ascend"),
            (b"\5" + tlv.encode({0: PID})[:-1], "announces 32"),
            (b"\5" + tlv.encode({0: PID}) + b"\1", "ends"),
            (b"\5" + tlv.encode({0: PID, 2: b""}), "record 2 is even"),
            (b"\5" + b"\x00\xfd\x00\x20" + PID, "not minimal"),
            (b"\2" + tlv.encode({0: HASH, 2: b"\1"}), "1 is not a BlockStatus"),
            (b"\2" + tlv.encode({0: HASH, 2: b"\x09"}), "9 is not a BlockStatus"),
            (b"\2" + tlv.encode({0: HASH, 2: b""}), "status: 0 bytes"),
            (b"\2" + tlv.encode({0: HASH, 2: b"\0\0"}), "status: 2 bytes"),
            (b"\2" + tlv.encode({0: HASH, 1: b"\x80", 2: b"\0"}), "UTF-8"),
            (b"\2" + tlv.encode({0: HASH, 1: b"x" * 1025, 2: b"\0"}), "the maximum is 1024"),
            (b"\3" + tlv.encode({0: HASH, 2: b"\0", 4: b""}), "0 is not a BlockState"),
            (b"\6" + tlv.encode({0: HASH, 2: b"\3"}), "3 is not a ReleaseStatus"),
            (b"\4" + with_records(PAYMENT_PENDING, {1: LSP[1:]})[1:], "payer_lsp_node_id: 32 bytes"),
            (b"\7" + tlv.encode({0: HASH, 10: SIGNATURE, 11: b""}), "after the signature"),
        ],
    )
    def test_others(self, encoded: bytes, why: str) -> None:
        with pytest.raises(WireError, match=why):
            m.decode(encoded)


@pytest.mark.parametrize(
    "bad",
    [
        {"amount_msat": 0},
        {"release_by_height": 0},
        {"hold_until": 0},
        {"payment_hashes": (HASH, HASH)},
        {"payment_hashes": (HASH, OTHER_HASH), "invoice": "lnbcrt1"},
        {"invoice": ""},
        {"invoice": "not an invoice \N{SNOWMAN}"},
        {"courier": m.Courier(path_key=bytes(33), onion=bytes(1366))},
    ],
)
def test_bad_values_are_left_to_the_engine(bad: dict[str, object]) -> None:
    """The LSP answers these with status 7, so they must be readable."""
    request = replace(BLOCK_REQUEST, **bad)  # type: ignore[arg-type]
    assert m.decode(request.encode()) == request


@pytest.mark.parametrize(
    "message",
    [
        replace(BLOCK_REQUEST, unblock_hash=HASH[1:]),
        replace(BLOCK_REQUEST, payment_hashes=()),
        replace(BLOCK_REQUEST, payment_hashes=(HASH,) * 5),
        replace(BLOCK_REQUEST, payment_hashes=(HASH + b"x", HASH[1:])),
        replace(BLOCK_REQUEST, amount_msat=2**64),
        replace(BLOCK_REQUEST, amount_msat=-1),
        replace(BLOCK_REQUEST, release_by_height=2**32),
        replace(BLOCK_REQUEST, invoice="\ud800"),
        replace(BLOCK_REQUEST, courier=m.Courier(path_key=b"", onion=bytes(1399))),
        replace(BLOCK_REQUEST, signature=m.UNSIGNED),
        replace(PAYMENT_PENDING, unknown_records=((6, b""),)),
        replace(PAYMENT_PENDING, unknown_records=((10, b""),)),
        replace(PAYMENT_PENDING, unknown_records=((1, b""),)),
    ],
)
def test_what_could_not_be_read_cannot_be_written(message: m.Message) -> None:
    with pytest.raises(WireError):
        message.encode()


class TestSignedText:
    def test_it_is_over_the_raw_bytes_before_the_signature(self) -> None:
        """Unknown odd records included, wherever they stand."""
        encoded = with_records(BLOCK_REQUEST, {5: b"five", 7: b"", 9: b"nine"})
        raw = encoded[1 : encoded.index(b"\x0a\x41" + SIGNATURE)]
        request = m.decode(encoded)
        assert isinstance(request, m.BlockRequest)
        assert request.digest == sha256(raw).digest()
        expected = f"async-payments:block_request:{LSP.hex()}:{sha256(raw).hexdigest()}"
        assert request.signed_text(LSP) == expected

    def test_it_names_the_request_it_is_for(self) -> None:
        block = replace(BLOCK_REQUEST, signature=m.UNSIGNED)
        cancel = m.CancelRequest(unblock_hash=HASH, signature=m.UNSIGNED)
        assert block.signed_text(LSP).startswith("async-payments:block_request:02000")
        assert cancel.signed_text(LSP).startswith("async-payments:cancel_request:02000")

    def test_signing_does_not_change_it_and_any_other_change_does(self) -> None:
        drafts = [
            replace(BLOCK_REQUEST, signature=m.UNSIGNED),
            replace(BLOCK_REQUEST, courier=None),
            replace(BLOCK_REQUEST, invoice=None),
            replace(BLOCK_REQUEST, payment_hashes=(HASH,)),
            replace(BLOCK_REQUEST, amount_msat=1),
            replace(BLOCK_REQUEST, release_by_height=1),
            replace(BLOCK_REQUEST, hold_until=1),
            replace(BLOCK_REQUEST, unblock_hash=OTHER_HASH),
            replace(BLOCK_REQUEST, unknown_records=((5, b""),)),
        ]
        assert drafts[0].digest == BLOCK_REQUEST.digest
        digests = sorted(draft.digest for draft in drafts)
        assert all(one != other for one, other in pairwise(digests))

    def test_an_lsp_is_named_by_a_whole_node_id(self) -> None:
        with pytest.raises(WireError, match="32 bytes"):
            BLOCK_REQUEST.signed_text(LSP[1:])


def test_names_derived_from_a_pid() -> None:
    assert m.unblock_hash(PID) == sha256(PID).digest()
    assert m.release_path_id(PID) == sha256(b"async-payments:path" + PID).digest()
