"""Only who has the invoices can announce a payment of them: the bytes, and everything that is no proof."""

import hmac
from dataclasses import replace

import pytest

from asyncpay.wire import messages as m
from asyncpay.wire.errors import WireError

PID = bytes([0x11]) * 32
HASHES = tuple(bytes([0xA0 + number]) * 32 for number in range(4))
SECRETS = tuple(bytes([0x50 + number]) * 32 for number in range(4))

KNOWN = "a48322af11ec9548721318f0c36ee5ac13436b2a35ba078074a384333099a7d1"


def pending(count: int = 1, proof: bytes | None = None) -> m.PaymentPending:
    return m.PaymentPending(
        pid=PID,
        payment_hashes=HASHES[:count],
        amount_msat=1,
        release_by_height=2,
        hold_until=3,
        invoice_proof=m.invoice_proof(PID, HASHES[:count], SECRETS[:count]) if proof is None else proof,
    )


@pytest.mark.parametrize("count", [1, 2, 4])
def test_the_bytes_as_the_protocol_writes_them(count: int) -> None:
    text = b"async-payments:pending:" + PID + b"".join(HASHES[:count])
    proof = hmac.new(b"".join(SECRETS[:count]), text, "sha256").digest()
    message = pending(count)
    assert message.invoice_proof == proof
    assert message.encode().endswith(b"\x08\x01\x03" + b"\x09\x20" + proof)
    assert m.decode(message.encode()) == message
    assert message.is_proven_by(SECRETS[:count])


def test_known_bytes() -> None:
    """So that another implementation can compare; made with `openssl dgst -sha256 -mac HMAC`."""
    assert m.invoice_proof(PID, HASHES[:1], SECRETS[:1]).hex() == KNOWN


def test_without_a_proof_it_is_read_as_before() -> None:
    message = replace(pending(), invoice_proof=None)
    assert m.decode(message.encode()) == message
    assert not message.is_proven_by(SECRETS[:1])


@pytest.mark.parametrize(
    ("count", "secrets"),
    [
        (1, (SECRETS[1],)),
        (1, (None,)),
        (1, ()),
        (1, SECRETS[:2]),
        (2, (SECRETS[1], SECRETS[0])),
        (2, (SECRETS[0], None)),
        (2, (SECRETS[0],)),
        (4, (*SECRETS[:3], None)),
    ],
)
def test_other_secrets_prove_nothing(count: int, secrets: tuple[bytes | None, ...]) -> None:
    assert not pending(count).is_proven_by(secrets)


@pytest.mark.parametrize("proof", [bytes(32), bytes([0xFF]) * 32, HASHES[0]])
def test_made_up_proofs(proof: bytes) -> None:
    assert not pending(proof=proof).is_proven_by(SECRETS[:1])


def test_a_proof_is_for_one_pid_and_for_these_hashes() -> None:
    message = pending(2)
    assert not replace(message, pid=bytes(32)).is_proven_by(SECRETS[:2])
    assert not replace(message, payment_hashes=HASHES[1::-1]).is_proven_by(SECRETS[1::-1])
    assert not replace(message, payment_hashes=HASHES[:1]).is_proven_by(SECRETS[:1])
    # The keys are concatenated: what lies between two secrets cannot be moved, because each has 32 bytes.
    assert not message.is_proven_by((SECRETS[0][:31], SECRETS[0][31:] + SECRETS[1]))
    with pytest.raises(WireError, match="31 bytes"):
        m.invoice_proof(PID, HASHES[:2], (SECRETS[0][:31], SECRETS[0][31:] + SECRETS[1]))


@pytest.mark.parametrize("size", [0, 31, 33])
def test_a_proof_of_another_length_is_malformed(size: int) -> None:
    with pytest.raises(WireError, match="invoice_proof"):
        replace(pending(), invoice_proof=bytes(size)).encode()
