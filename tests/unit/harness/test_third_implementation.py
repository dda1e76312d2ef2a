"""Another node software is one file in harness/nodes and one folder in docker/: nothing else is edited."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from harness import paths
from harness.nodes import node_class
from harness.topology import IMPLEMENTATIONS

NODE = '''
"""Eclair, as far as a topology needs it."""

from harness.nodes.base import Node


class EclairNode(Node):
    implementation = "eclair"
    lists_channels_unsorted = True
'''
DOCKER = {
    "image.toml": '[install_tree]\ndaemon = "eclair-node"\nneeded = ["bin/eclair-node"]\nprograms = ["eclair*"]\n',
    "versions.env": "ECLAIR_OFFICIAL=acinq/eclair:release-0.13.0\nECLAIR_HOMEMADE=async-testbed/eclair:v0.13.0\n",
    "Dockerfile": "ARG BASE\nFROM ${BASE}\nCOPY root /\n",
}


def test_every_implementation_has_its_class_and_nothing_else_is_one() -> None:
    assert set(IMPLEMENTATIONS) == {"lnd", "cln", "ldk"}
    assert [node_class(name).implementation for name in IMPLEMENTATIONS] == list(IMPLEMENTATIONS)


SEEN = """
import json
from harness import bringup, doctor
from harness.images import kinds, store
from harness.nodes import node_class
from harness.scenarios import matrix
from harness.topology import load

line = load("line-mixed", {"A": "eclair", "router": "eclair"})
print(json.dumps({
    "implementations": sorted(line.implementations),
    "node": node_class("eclair").__name__,
    "combinations": len(list(matrix.combinations())),
    "routers": sorted({each["router"] for each in matrix.combinations()}),
    "image": store.ways("eclair")[0].reference,
    "remedy": store.remedy("eclair"),
    "looked for": doctor._installed("eclair").name,
    "rounds": len(bringup._rounds(line)),
}))
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of the testbed with a third implementation."""
    ignored = shutil.ignore_patterns("__pycache__")
    for folder in ("harness", "docker", "topologies"):
        shutil.copytree(paths.PACKAGE.parent / folder, tmp_path / folder, ignore=ignored)
    (tmp_path / "harness/nodes/eclair.py").write_text(NODE)
    (tmp_path / "docker/eclair").mkdir()
    for name, content in DOCKER.items():
        (tmp_path / "docker/eclair" / name).write_text(content)
    return tmp_path


def test_two_new_places_are_all(checkout: Path) -> None:
    environment = os.environ | {"PYTHONPATH": str(checkout), "PATH": "/usr/bin:/bin"}
    done = subprocess.run(
        [sys.executable, "-c", SEEN], cwd=checkout, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    known = len(seen["routers"])
    assert "eclair" in seen["routers"]
    assert seen["combinations"] == known**4
    assert {"eclair", "lnd"} <= set(seen["implementations"])
    assert (seen["node"], seen["image"]) == ("EclairNode", "acinq/eclair:release-0.13.0")
    assert "put eclair-node release-0.13.0 on PATH, or name its install tree by ECLAIR_PREFIX" in seen["remedy"]
    assert seen["looked for"] == "eclair-node"
    assert seen["rounds"] > 1  # an LND would refuse its lists of channels
