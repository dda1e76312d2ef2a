"""Node signatures over text, as LND's SignMessage and CLN's signmessage make them.

A signature has 65 bytes, a header of 31 + recovery id and the compact ECDSA signature, encoded in zbase32. It signs the
double SHA256 of "Lightning Signed Message:" and the text. The key is recovered from the signature: a modified text
gives another key, so always compare the result with the expected node id.
"""

from base64 import b32decode, b32encode
from hashlib import sha256

from coincurve import PublicKey

from asyncpay.wire.errors import WireError

SIGNATURE_BYTES = 65
_TEXT_LENGTH = 104  # 65 bytes are exactly 104 characters of 5 bits

_PREFIX = b"Lightning Signed Message:"
_FIRST_HEADER = 31  # 27, plus 4 for "the key is compressed"

_ZBASE32 = b"ybndrfg8ejkmcpqxot1uwisza345h769"
_BASE32 = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
_TO_ZBASE32 = bytes.maketrans(_BASE32, _ZBASE32)
_TO_BASE32 = bytes.maketrans(_ZBASE32, _BASE32)


def encode(signature: bytes) -> str:
    """Return the 104 characters of zbase32 for 65 bytes."""
    if len(signature) != SIGNATURE_BYTES:
        raise WireError(f"a signature of {len(signature)} bytes; it must have {SIGNATURE_BYTES}")
    return b32encode(signature).translate(_TO_ZBASE32).decode()


def decode(text: str) -> bytes:
    """Return the 65 bytes of a zbase32 signature; WireError for any other length or alphabet."""
    if len(text) != _TEXT_LENGTH or not set(text) <= set(_ZBASE32.decode()):
        raise WireError(
            f"a zbase32 signature has {_TEXT_LENGTH} characters of {_ZBASE32.decode()!r}, not {text!r:.120}"
        )
    return b32decode(text.encode().translate(_TO_BASE32))


def digest(text: str) -> bytes:
    """Return the 32 bytes that a node signs for `text`."""
    return sha256(sha256(_PREFIX + text.encode()).digest()).digest()


def recover(text: str, signature: bytes) -> bytes:
    """Return the node id (33 bytes) of the key that made this signature (65 bytes) over `text`.

    WireError if no key can have made it.
    """
    if len(signature) != SIGNATURE_BYTES or not 0 <= signature[0] - _FIRST_HEADER <= 3:
        raise WireError(f"{len(signature)} bytes beginning with {signature[:1].hex()} are not a node signature")
    compact = signature[1:] + bytes([signature[0] - _FIRST_HEADER])
    try:
        return PublicKey.from_signature_and_message(compact, digest(text), hasher=None).format()
    except ValueError as error:
        raise WireError("no key can have made this signature over this text") from error
