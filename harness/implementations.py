"""The names of the node softwares that a testbed can run: a file of harness/nodes each. Nothing of them is imported."""

import pkgutil

from harness.paths import PACKAGE

DEFAULT = "lnd"
"""The implementation of a node for which the topology names none."""
_OTHER_FILES = ("base", "predicates")
IMPLEMENTATIONS: tuple[str, ...] = tuple(
    sorted(
        (module.name for module in pkgutil.iter_modules([str(PACKAGE / "nodes")]) if module.name not in _OTHER_FILES),
        key=lambda name: (name != DEFAULT, name),
    )
)
"""All of them, the default first."""
