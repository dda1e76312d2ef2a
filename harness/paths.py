"""The locations of the testbed's files: data in the checkout or the package, state and caches on this machine."""

import os
from collections.abc import Callable
from pathlib import Path

import platformdirs

from harness.errors import TestbedError

NAME = "lightning-testbed"
PACKAGE = Path(__file__).resolve().parent
CHECKOUT = PACKAGE.parent if (PACKAGE.parent / "docker" / "versions.env").is_file() else None
"""The checkout that contains this module; None if the testbed was installed from a wheel."""
_ROOT = CHECKOUT or PACKAGE / "data"
DOCKER = _ROOT / "docker"
"""A folder for each kind of image, and versions.env with the pins."""
TOPOLOGIES = _ROOT / "topologies"


def state_home() -> Path:
    """Return the parent of all testbeds' folders: $TESTBED_STATE, else the user's state directory.

    Raises TestbedError if this user has no home directory and TESTBED_STATE is not set.
    """
    if named := os.environ.get("TESTBED_STATE"):
        return Path(named).resolve()
    return _of_user(platformdirs.user_state_path, "TESTBED_STATE")


def cache_folder(name: str = "") -> Path:
    """Return the folder of logs and fetched tools: $TESTBED_CACHE, else .cache of the checkout, else the user's cache.

    name: a subfolder of it. The folder is created if necessary. Raises TestbedError if that fails.
    """
    if named := os.environ.get("TESTBED_CACHE"):
        folder = Path(named).resolve()
    elif CHECKOUT:
        folder = CHECKOUT / ".cache"
    else:
        folder = _of_user(platformdirs.user_cache_path, "TESTBED_CACHE")
    folder /= name
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise TestbedError(
            f"{folder} cannot be made: {error.strerror}. Set TESTBED_CACHE to a folder that you may write to"
        ) from None
    return folder


def _of_user(place: Callable[[str], Path], variable: str) -> Path:
    try:
        Path.home()
    except RuntimeError:  # this user has no entry in /etc/passwd, as in some containers
        raise TestbedError(f"this user has no home directory. Set HOME, or {variable} to a folder of yours") from None
    return place(NAME)
