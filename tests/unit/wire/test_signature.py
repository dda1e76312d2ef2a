"""Node signatures: who signed is recovered, and a changed text or signature names nobody or somebody else."""

from hashlib import sha256

import pytest
from coincurve import PrivateKey
from hypothesis import given
from hypothesis import strategies as st
from pyln.proto import zbase32

from asyncpay.wire import signature
from asyncpay.wire.errors import WireError

from .support import LSP_A, A

TEXT = "async-payments:block_request:02:ab"


def sign(key: PrivateKey, text: str) -> bytes:
    """What a node's signmessage returns, before zbase32."""
    digest = sha256(sha256(b"Lightning Signed Message:" + text.encode()).digest()).digest()
    compact = key.sign_recoverable(digest, hasher=None)
    return bytes([31 + compact[64]]) + compact[:64]


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_the_signer_is_recovered(text: str) -> None:
    assert signature.recover(text, sign(A.key, text)) == A.id
    assert signature.recover(text, sign(LSP_A.key, text)) == LSP_A.id


def test_another_text_is_not_signed_by_the_same_key() -> None:
    assert signature.recover(TEXT + "c", sign(A.key, TEXT)) != A.id


def test_every_change_of_the_signature_is_refused_or_names_another_key() -> None:
    good = sign(A.key, TEXT)
    for position in range(len(good)):
        for change in (1, 2, 4, 8, 16, 32, 64, 128, 255):
            changed = bytearray(good)
            changed[position] ^= change
            try:
                assert signature.recover(TEXT, bytes(changed)) != A.id
            except WireError:
                continue


@pytest.mark.parametrize("header", [0, 26, 27, 30, 35, 255])
def test_only_headers_of_compressed_keys(header: int) -> None:
    with pytest.raises(WireError, match="not a node signature"):
        signature.recover(TEXT, bytes([header]) + sign(A.key, TEXT)[1:])


@pytest.mark.parametrize("size", [0, 64, 66])
def test_only_65_bytes(size: int) -> None:
    with pytest.raises(WireError):
        signature.recover(TEXT, bytes([31]) * size)
    with pytest.raises(WireError):
        signature.encode(bytes(size))


@given(st.binary(min_size=65, max_size=65))
def test_zbase32_as_core_lightning_writes_it(raw: bytes) -> None:
    text = signature.encode(raw)
    assert text == zbase32.encode(raw).decode()
    assert signature.decode(text) == raw


@pytest.mark.parametrize(
    "text",
    [
        "",
        "y" * 103,
        "y" * 105,
        "y" * 103 + "A",
        "y" * 103 + "l",
        "y" * 103 + "=",
        "Y" * 104,
        "y" * 103 + "\N{SNOWMAN}",
    ],
)
def test_zbase32_of_another_length_or_alphabet(text: str) -> None:
    with pytest.raises(WireError, match="zbase32"):
        signature.decode(text)
