"""The compose file of a testbed is self-contained: Docker Compose alone starts the nodes from it."""

import os
import subprocess
from pathlib import Path

from harness.nodes.predicates import ready
from harness.testbed import PROJECT_PREFIX, Testbed
from harness.topology import Topology
from harness.waits import wait_for


def test_compose_alone_starts_the_nodes(pair: Topology, tmp_path: Path) -> None:
    testbed = Testbed.prepare(pair, f"alone-{os.getpid()}")
    copy = tmp_path / "compose.yaml"
    copy.write_bytes(testbed.engine.compose_file.read_bytes())
    compose = ["docker", "compose", "-p", PROJECT_PREFIX + testbed.name, "-f", str(copy)]
    try:
        subprocess.run([*compose, "up", "--detach"], check=True, capture_output=True)
        for node in testbed.nodes.values():
            wait_for(ready(node), 90)
            assert node.info().height_blocks == testbed.chain.height_blocks > 100
    finally:
        testbed.down()
