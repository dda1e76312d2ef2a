"""The official vectors, and nodes whose keys are known."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from coincurve import PrivateKey

PROJECT_ROOT = Path(__file__).parents[3]


def bolt04(name: str) -> Any:
    """A BOLT 4 vector file, from $BOLT_VECTORS or beside the project; the calling test skips without it."""
    folder = Path(os.environ.get("BOLT_VECTORS", PROJECT_ROOT / ".." / "shared" / "vectors"))
    file = folder / "bolt04" / name
    if not file.exists():
        pytest.skip(f"no BOLT vectors: {file} is not there, and $BOLT_VECTORS names no other folder")
    return json.loads(file.read_text())


class Node:
    """A node as the wire sees one: an id, and a signer that does ECDH."""

    def __init__(self, secret: bytes) -> None:
        self.key = PrivateKey(secret)
        self.id = self.key.public_key.format()
        self.ecdh = self.key.ecdh


# By the names that the protocol gives them; secrets as in the BOLTs, so easy to tell apart in a dump.
A, LSP_A, ROUTER, LSP_B, B = (Node(bytes([byte]) * 32) for byte in (0x41, 0x42, 0x43, 0x44, 0x45))

PID = bytes(range(32))
PATH_KEY, OTHER_PATH_KEY, ONION_KEY = (bytes([byte]) * 32 for byte in (1, 2, 3))
