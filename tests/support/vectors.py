"""The test vectors (tests/vectors/README.md)."""

import json
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parents[1] / "vectors"


def bolt04(name: str) -> Any:
    """A BOLT 4 vector file, parsed."""
    return json.loads((FOLDER / "bolt04" / name).read_text(encoding="utf-8"))


def async_payments() -> Any:
    """The vectors of this protocol, parsed."""
    return json.loads((FOLDER / "async_payments.json").read_text(encoding="utf-8"))
