"""Where the testbed's data files are: in the checkout, or in the package where that was installed."""

from pathlib import Path

PACKAGE = Path(__file__).resolve().parent
CHECKOUT = PACKAGE.parent if (PACKAGE.parent / "docker" / "versions.env").is_file() else None
"""The checkout that this runs from; None where the testbed was installed from a wheel."""
_ROOT = CHECKOUT or PACKAGE / "data"
DOCKER = _ROOT / "docker"
"""A folder for each kind of image, and versions.env with all pins."""
TOPOLOGIES = _ROOT / "topologies"
