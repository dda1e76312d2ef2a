"""How long the builds of images took on this machine the last time, to estimate the time left of a build."""

import json
import math
from pathlib import Path

from harness.paths import cache_folder

MOST_SECONDS = 1_000_000
"""A longer duration in the file is ignored."""


def _file() -> Path:
    return cache_folder() / "image-seconds.json"


def last_seconds(name: str) -> float | None:
    """Return the duration of the last build of this image; None if it is unknown."""
    return _read().get(name)


def record(name: str, seconds: float) -> None:
    """Store the duration of a build. Only the process that holds the lock of images.store calls this."""
    file = _file()
    written = file.with_suffix(".new")
    written.write_text(json.dumps(_read() | {name: round(seconds, 1)}, indent=1, sort_keys=True))
    written.replace(file)


def _read() -> dict[str, float]:
    """Return all durations by image; a damaged file has none."""
    try:
        content = json.loads(_file().read_text())
    except (OSError, ValueError, RecursionError):
        return {}
    if not isinstance(content, dict):
        return {}
    return {name: float(seconds) for name, seconds in content.items() if _is_duration(seconds)}


def _is_duration(value: object) -> bool:
    return type(value) in (int, float) and math.isfinite(value) and 0 <= value <= MOST_SECONDS  # type: ignore[arg-type,operator]
