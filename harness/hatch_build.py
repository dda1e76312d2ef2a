"""Hatchling's build hook for the testbed's data files, which are outside this folder."""

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

DATA = {
    "sdist": {"docker": "docker", "topologies": "topologies", "LICENSE": "LICENSE"},
    "wheel": {"docker": "data/docker", "topologies": "data/topologies"},
}
"""The data of each kind of distribution, and its location; in a wheel it is within the package."""


class Data(BuildHookInterface[Any]):
    """Include the data, which a checkout has next to this folder, and a source distribution within it."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Called before each build."""
        if version == "editable":
            return
        root = Path(self.root)
        source = root if (root / "docker").exists() else root.parent
        build_data["force_include"] |= {str(source / name): place for name, place in DATA[self.target_name].items()}
