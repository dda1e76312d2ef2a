"""What hatchling cannot know of the testbed's distribution from pyproject.toml: its data lie beside this folder."""

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

DATA = {
    "sdist": {"docker": "docker", "topologies": "topologies", "LICENSE": "LICENSE"},
    "wheel": {"docker": "data/docker", "topologies": "data/topologies"},
}
"""What each kind of distribution has, and where; in a wheel below the package."""


class Data(BuildHookInterface[Any]):
    """Take along what a checkout has beside this folder, and a source distribution in it."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Called before each build."""
        if version == "editable":
            return
        root = Path(self.root)
        source = root if (root / "docker").exists() else root.parent
        build_data["force_include"] |= {str(source / name): place for name, place in DATA[self.target_name].items()}
