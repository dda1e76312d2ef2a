"""Configuration files for components."""

import json
from collections.abc import Mapping
from typing import Any


def render(sections: Mapping[str, Mapping[str, Any]]) -> str:
    """TOML of sections with strings, numbers, booleans, and lists of them: as JSON writes them, so does TOML."""
    return "\n".join(
        "\n".join([f"[{section}]", *(f"{name} = {json.dumps(value)}" for name, value in values.items()), ""])
        for section, values in sections.items()
    )
