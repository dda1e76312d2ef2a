"""What the protocol puts into which packet."""

from dataclasses import replace

import pytest

from asyncpay.wire import blinding, onion
from asyncpay.wire import messages as m
from asyncpay.wire.blinding import BlindedPath, Hop, HopData
from asyncpay.wire.onion import SMALL_ROOM, Payload

from .support import LSP_A, LSP_B, ONION_KEY, OTHER_PATH_KEY, PATH_KEY, PID, ROUTER, A, B

LARGEST_PENDING = m.PaymentPending(
    pid=PID,
    payment_hashes=(PID,) * m.MAX_PAYMENT_HASHES,
    amount_msat=2**64 - 1,
    release_by_height=2**32 - 1,
    hold_until=2**64 - 1,
    invoice_proof=bytes(32),
)
TO_B = blinding.build(
    blinding.hops_through([LSP_A.id, ROUTER.id, LSP_B.id, B.id], HopData(path_id=PID)), OTHER_PATH_KEY
)


def release_path(*between: bytes) -> BlindedPath:
    """The transit form: LSP_a is told the pid and passes the message on towards A."""
    last = Hop(A.id, HopData(path_id=m.release_path_id(PID)))
    onwards = blinding.hops_through([LSP_A.id, *between], HopData(next_node_id=A.id))
    onwards[0] = replace(onwards[0], data=replace(onwards[0].data, payment_unblock=PID))
    return blinding.build([*onwards, last], PATH_KEY)


@pytest.mark.parametrize("between", [[], [ROUTER.id, LSP_B.id]], ids=["release over 2 hops", "over 4"])
def test_payment_pending_with_its_release_path_fits_the_small_packet_over_4_hops(
    between: list[bytes],
) -> None:
    payload = Payload(reply_path=release_path(*between), async_payment=LARGEST_PENDING.encode())
    message = onion.build(TO_B, payload, ONION_KEY, rooms=(SMALL_ROOM,))
    assert len(message.packet) == 1366


def test_block_request_with_courier_and_the_longest_invoice_fits_the_large_packet() -> None:
    courier = onion.build(TO_B, Payload(async_payment=LARGEST_PENDING.encode()), ONION_KEY)
    request = m.BlockRequest(
        unblock_hash=PID,
        courier=m.Courier(path_key=courier.path_key, onion=courier.packet),
        payment_hashes=(PID,),
        invoice="l" * m.MAX_INVOICE_BYTES,
        amount_msat=2**64 - 1,
        release_by_height=2**32 - 1,
        hold_until=2**64 - 1,
        signature=bytes(65),
    )
    to_lsp = blinding.build([Hop(LSP_A.id, HopData())], PATH_KEY)
    message = onion.build(to_lsp, Payload(async_payment=request.encode()), ONION_KEY)
    assert len(message.packet) == 32834
    end = onion.peel(message.packet, message.path_key, LSP_A.ecdh)
    assert isinstance(end, onion.Final)
    assert m.decode(end.payload.async_payment or b"") == request
