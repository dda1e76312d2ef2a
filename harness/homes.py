"""Where the testbed keeps things on this machine."""

import os
from pathlib import Path


def state_home() -> Path:
    """The running testbeds' compose files and sockets: $TESTBED_STATE, else the user's state directory."""
    return _home("TESTBED_STATE", "XDG_STATE_HOME", ".local/state")


def cache_home() -> Path:
    """What can be made again: $TESTBED_CACHE, else the user's cache directory."""
    return _home("TESTBED_CACHE", "XDG_CACHE_HOME", ".cache")


def _home(own: str, xdg: str, default: str) -> Path:
    if os.environ.get(own):
        return Path(os.environ[own]).resolve()
    base = Path(os.environ[xdg]) if os.environ.get(xdg) else Path.home() / default
    return base / "lightning-testbed"
