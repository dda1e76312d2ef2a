"""Where the testbed's files are: its data in the checkout or the package, its state and caches on this machine."""

import os
from pathlib import Path

from harness.errors import TestbedError

PACKAGE = Path(__file__).resolve().parent
CHECKOUT = PACKAGE.parent if (PACKAGE.parent / "docker" / "versions.env").is_file() else None
"""The checkout that this runs from; None where the testbed was installed from a wheel."""
_ROOT = CHECKOUT or PACKAGE / "data"
DOCKER = _ROOT / "docker"
"""A folder for each kind of image, and versions.env with the pins."""
TOPOLOGIES = _ROOT / "topologies"


def state_home() -> Path:
    """The running testbeds' compose files and sockets: $TESTBED_STATE, else the user's state directory.

    Raises TestbedError if this user has no home directory and TESTBED_STATE is not set.
    """
    return _home("TESTBED_STATE", "XDG_STATE_HOME", ".local/state")


def cache_home() -> Path:
    """What can be made again: $TESTBED_CACHE, else the user's cache directory. Raises TestbedError likewise."""
    return _home("TESTBED_CACHE", "XDG_CACHE_HOME", ".cache")


def _home(own: str, xdg: str, default: str) -> Path:
    if os.environ.get(own):
        return Path(os.environ[own]).resolve()
    try:
        base = Path(os.environ[xdg]) if os.environ.get(xdg) else Path.home() / default
    except RuntimeError:  # this user has no entry in /etc/passwd, as in some containers
        raise TestbedError(f"this user has no home directory. Set HOME, or {own} to a folder that is yours") from None
    return base / "lightning-testbed"
