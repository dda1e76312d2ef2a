"""What hatchling cannot know of `asyncpay` from pyproject.toml: LND's gRPC modules, and where the testbed is."""

import os
import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface
from hatchling.metadata.plugin.interface import MetadataHookInterface

RELEASE = "ASYNCPAY_RELEASE"
"""In the environment where distributions are built for others (`make dist`): they name no folder of this machine."""


class Stubs(BuildHookInterface[Any]):
    """Generate the gRPC modules that are missing or older than their .proto."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Called before each build."""
        protos = sorted(Path(self.root, "asyncpay/nodes/proto").glob("*.proto"))
        if not all(map(_has_stubs, protos)):
            from grpc_tools import protoc

            out = [f"--{kind}_out={self.root}" for kind in ("python", "grpc_python")]
            if protoc.main(["protoc", f"--proto_path={self.root}", *out, *map(str, protos)]):
                sys.exit("the gRPC modules of LND cannot be generated")


def _has_stubs(proto: Path) -> bool:
    stubs = [proto.with_name(f"{proto.stem}_pb2{kind}.py") for kind in ("", "_grpc")]
    return all(stub.exists() and stub.stat().st_mtime >= proto.stat().st_mtime for stub in stubs)


class Extras(MetadataHookInterface):
    """`asyncpay[testbed]` is the testbed of this checkout, or the release of the same version."""

    PLUGIN_NAME = "custom"

    def update(self, metadata: dict[str, Any]) -> None:
        """Add the extra to those of pyproject.toml."""
        folder = Path(self.root, "harness")
        here = (folder / "pyproject.toml").exists() and RELEASE not in os.environ
        testbed = f"asyncpay-testbed @ {folder.as_uri()}" if here else f"asyncpay-testbed=={metadata['version']}"
        metadata["optional-dependencies"] = self.config["extras"] | {"testbed": [testbed]}
